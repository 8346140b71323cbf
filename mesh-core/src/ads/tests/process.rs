//! The client's side of a process: its view, and the stream that keeps it current.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::ads::{Config, ConfigStream, LinkState, SavedConfig, View};
use crate::saved::{Loaded, SavedItem, SavedState};
use crate::snapshot::{HostState, Snapshot};

pub(crate) struct Process {
    pub(crate) view: Arc<View>,
    stream: JoinHandle<()>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stream.abort();
    }
}

impl Process {
    pub(crate) fn start(connect: impl Fn() -> Channel + Send + Sync + 'static) -> Self {
        Self::start_with(connect, Arc::new(SavedState::off()), Duration::from_secs(600))
    }

    /// As a mesh does: from what was saved, if something was.
    pub(crate) fn start_with(
        connect: impl Fn() -> Channel + Send + Sync + 'static,
        saved: Arc<SavedState>,
        host_idle: Duration,
    ) -> Self {
        let (config, snapshot) = match saved.load(SavedItem::Config) {
            Loaded::Found(content) => Config::restore(SavedConfig::decode(&content).unwrap()).unwrap(),
            _ => (Config::default(), Snapshot::default()),
        };
        let view = Arc::new(View::new(snapshot, 100));
        let mut stream = ConfigStream::new(view.clone(), config, saved, host_idle, "test");
        let stream = tokio::spawn(async move {
            let channels = watch::Sender::new(connect());
            stream.run(connect, &channels).await;
        });
        Self { view, stream }
    }

    /// The ports of a host's endpoints; none where it is absent.
    pub(crate) fn ports(&self, host: &str) -> Option<Vec<u16>> {
        Some(match self.view.snapshot().hosts.get(host)? {
            HostState::Ready(config) => {
                let clusters = config.clusters.iter().flatten();
                clusters
                    .flat_map(|cluster| cluster.endpoints.iter())
                    .map(|one| one.spec.address.port())
                    .collect()
            }
            HostState::Absent | HostState::Refused => vec![],
        })
    }

    /// Waits until a host's endpoints have these ports.
    pub(crate) async fn has(&self, host: &str, ports: &[u16]) {
        patiently(host, || self.ports(host).as_deref() == Some(ports)).await;
    }

    pub(crate) async fn is_away(&self) {
        patiently("the stream is away", || matches!(self.view.link(), LinkState::Away(_))).await;
    }
}

/// Waits until it is so.
pub(crate) async fn patiently(what: &str, wished: impl Fn() -> bool) {
    let reached = async {
        while !wished() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached)
        .await
        .unwrap_or_else(|_| panic!("waited for: {what}"));
}
