//! The stream itself: open it on whichever of the control plane's addresses answers, exchange until it breaks, wait, again.
//!
//! Whatever happens here, what has been published stays. What is idle is given up only while connected, since what is given
//! up while the control plane is away could not be had back.

use std::sync::Arc;
use std::time::Duration;

use discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::config::core::v3::{Node, node::UserAgentVersionType};
use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::config::Config;
use super::resolver::Resolver;
use super::{LinkState, View};
use crate::backoff::Backoff;
use crate::join::innermost;
use crate::saved::{SavedItem, SavedState};
use crate::snapshot::Snapshot;
use crate::subscription::wire;

/// Keeps a process's configuration current.
#[derive(Debug)]
pub(crate) struct ConfigStream {
    view: Arc<View>,
    config: Config,
    resolver: Resolver,
    saved: Arc<SavedState>,
    host_idle: Duration,
    node: Node,
    save_at: Option<Instant>,
    sweep_at: Instant,
}

/// The writing half of an open stream.
type Outgoing = mpsc::Sender<discovery::DeltaDiscoveryRequest>;

impl ConfigStream {
    /// A stream that goes on from `config`, whose wishes become `view`'s; `instance` names this process to people.
    pub(crate) fn new(
        view: Arc<View>,
        config: Config,
        saved: Arc<SavedState>,
        host_idle: Duration,
        instance: &str,
    ) -> Self {
        for host in config.hosts() {
            // More than the limit cannot have been saved, unless it was lowered; then the rest is asked for again.
            let _ = view.demand.want(host);
        }
        config.inbound().iter().for_each(|name| view.demand.restore_inbound(name));
        let sweep_at = Instant::now() + host_idle;
        let node = node(instance);
        let mut resolver = Resolver::default();
        resolver.follow(config.names());
        Self { view, config, resolver, saved, host_idle, node, save_at: None, sweep_at }
    }

    /// Exchanges over the channel in `channels`, then over new ones, which it puts there for whoever else speaks to the control
    /// plane; never ends. May be dropped at any time.
    pub(crate) async fn run(&mut self, connect: impl Fn() -> Channel, channels: &watch::Sender<Channel>) {
        let mut failures = 0;
        loop {
            let channel = channels.borrow().clone();
            let ended = self.exchange(channel, &mut failures).await;
            // Never the old connection again: it shows the certificate that we had when it was made, and a stream ends when that
            // one runs out.
            channels.send_replace(connect());
            let (reason, wait) = (innermost(&ended), RECONNECT.wait(failures, fastrand::f64()));
            failures += 1;
            tracing::warn!(reason, retry_in = ?wait, "no control plane; the last good configuration goes on");
            self.view.set_link(LinkState::Away(reason.into()));
            let mut over = std::pin::pin!(sleep(wait));
            loop {
                tokio::select! {
                    () = &mut over => break,
                    () = self.attend(None) => {}
                }
            }
        }
    }

    /// Saves what has not been saved.
    pub(crate) fn save(&mut self) {
        self.save_at = None;
        let Some(config) = self.config.take_unsaved() else { return };
        if let Err(error) = self.saved.store(SavedItem::Config, &config.encode()) {
            tracing::warn!(%error, "the configuration could not be saved; a restart will need the control plane");
        }
    }

    /// Exchanges requests and responses until the stream ends. Once it is open, the `failures` in a row are over.
    async fn exchange(&mut self, channel: Channel, failures: &mut u32) -> Status {
        let (outgoing, requests) = mpsc::channel(REQUESTS_MAX);
        self.config.connected();
        self.sweep_at = Instant::now() + self.host_idle;
        let mut node = Some(self.node.clone());
        self.send(&outgoing, &mut node);
        let mut responses = match self.open(channel, requests, &outgoing, &mut node).await {
            Ok(responses) => responses,
            Err(status) => return status,
        };
        tracing::info!("configuration stream is open");
        *failures = 0;
        self.view.set_link(LinkState::Connected);
        loop {
            tokio::select! {
                response = responses.message() => match response {
                    Ok(Some(response)) => self.received(response),
                    Ok(None) => return Status::unavailable("closed by the control plane"),
                    Err(status) => return status,
                },
                () = self.attend(Some(&outgoing)) => {}
            }
            self.send(&outgoing, &mut node);
        }
    }

    /// Waits for the control plane to take the stream, which some do only after the first request.
    async fn open(
        &mut self,
        channel: Channel,
        requests: mpsc::Receiver<discovery::DeltaDiscoveryRequest>,
        outgoing: &Outgoing,
        node: &mut Option<Node>,
    ) -> Result<Streaming<discovery::DeltaDiscoveryResponse>, Status> {
        let client = AggregatedDiscoveryServiceClient::new(channel);
        let mut client = client.max_decoding_message_size(RESPONSE_BYTES_MAX);
        let mut opening = std::pin::pin!(client.delta_aggregated_resources(ReceiverStream::new(requests)));
        loop {
            tokio::select! {
                opened = &mut opening => return Ok(opened?.into_inner()),
                () = self.attend(Some(outgoing)) => self.send(outgoing, node),
            }
        }
    }

    /// Waits for one event of this process and sees to it. May be dropped while it waits.
    async fn attend(&mut self, outgoing: Option<&Outgoing>) {
        let never = Instant::now() + Duration::from_secs(86_400);
        let backlog = async {
            match outgoing {
                // The channel was full when requests were due.
                Some(outgoing) if outgoing.capacity() == 0 => drop(outgoing.reserve().await),
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.view.demand.changed() => self.wish(),
            () = sleep_until(self.save_at.unwrap_or(never)) => self.save(),
            () = sleep_until(self.sweep_at), if outgoing.is_some() => self.sweep(),
            (name, answer) = self.resolver.next() => {
                let snapshot = self.config.resolved(name, answer);
                self.publish(snapshot);
            }
            () = backlog => {}
        }
    }

    fn wish(&mut self) {
        let hosts = self.view.demand.hosts().into_iter().collect();
        let inbound = self.view.demand.inbound().into_iter().collect();
        let snapshot = self.config.want(hosts, inbound);
        self.publish(snapshot);
    }

    fn received(&mut self, response: discovery::DeltaDiscoveryResponse) {
        let snapshot = self.config.received(response);
        self.publish(snapshot);
    }

    fn sweep(&mut self) {
        self.sweep_at = Instant::now() + self.host_idle;
        self.view.demand.sweep();
        self.wish();
    }

    fn publish(&mut self, snapshot: Option<Snapshot>) {
        self.view.take(&self.config, snapshot);
        self.resolver.follow(self.config.names());
        if self.config.is_unsaved() {
            self.save_at.get_or_insert_with(|| Instant::now() + SAVE_DELAY);
        }
    }

    /// Sends what is due as far as there is room; `node` goes with the first request.
    fn send(&mut self, outgoing: &Outgoing, node: &mut Option<Node>) {
        while let Ok(room) = outgoing.try_reserve() {
            let Some(request) = self.config.next_request() else { return };
            room.send(wire::encode_request(request, node.take()));
        }
    }
}

/// What this process says of itself; the control plane believes none of it, and shows it in `mesh status`.
fn node(instance: &str) -> Node {
    Node {
        id: instance.into(),
        user_agent_name: "proxyless-mesh".into(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentVersion(
            env!("CARGO_PKG_VERSION").into(),
        )),
        ..Node::default()
    }
}

/// How attempts to reach the control plane follow each other, the registrar's too.
pub(crate) const RECONNECT: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
/// Requests that wait for the transport; more are made when there is room.
const REQUESTS_MAX: usize = 16;
/// The largest response that is taken.
const RESPONSE_BYTES_MAX: usize = 64 << 20;
/// Changes within this time are saved together.
const SAVE_DELAY: Duration = Duration::from_secs(1);
