//! Putting it together: what is opened first, what listens, what ends with what.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::identity::{ClientCertificate, IdentitySource, server_config};
use tokio::net::TcpListener;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::server::Router;

use super::acceptor::{AcceptLimits, Admission, Connection, accept_all, connections};
use super::certificates::Certificates;
use super::counters::{Counters, Event};
use super::credentials::{OwnCredentials, OwnCredentialsError};
use super::options::Options;
use super::pipeline::{Pipeline, PipelineError, Sources};
use super::plain;
use super::registration::Registration;
use super::view::View;
use crate::admin::{Administration, Parts};
use crate::ca::{Authority, AuthorityFileError, LifetimePolicy, open_authority};
use crate::grant::Ledger;
use crate::peer::{Peer, Unauthorized};
use crate::registry::{Registrar, RegistrarError};
use crate::store::{EmbeddedStore, OpenError, Retention, Store};
use crate::xds::{AdsService, Authenticate, Hub, Limits, StreamCaller};

/// How long open calls may go on after the signal to end.
const DRAIN: Duration = Duration::from_secs(5);
/// How often certificates and records are looked after.
const HOUSEKEEPING: Duration = Duration::from_secs(10 * 60);
const CONCURRENT_STREAMS_MAX: u32 = 1024;
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// A control plane that listens.
pub struct Server {
    address: SocketAddr,
    plain: SocketAddr,
    router: Router,
    connections: ReceiverStream<io::Result<Connection>>,
    hub: Arc<Hub>,
    ending: CancellationToken,
    // Ended, in this order, when the server is dropped.
    _tasks: Vec<AbortOnDropHandle<()>>,
}

/// Why the control plane does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The store cannot be used.
    #[error("store: {0}")]
    Store(#[from] OpenError),
    /// The certificate authority cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityFileError),
    /// A port cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Stored documents or grants cannot be read.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// Stored registrations cannot be read.
    #[error(transparent)]
    Registrar(#[from] RegistrarError),
    /// Our own certificate or credential.
    #[error(transparent)]
    Credentials(#[from] OwnCredentialsError),
    /// Serving failed.
    #[error("serving failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

impl Server {
    /// Opens everything and listens; connections wait until [`run`](Self::run).
    ///
    /// # Errors
    /// Names what could not be opened, and the next step.
    pub async fn start(options: Options) -> Result<Self, ServeError> {
        // The ports first: a start that fails for them leaves no authority and no store behind.
        let listener = listen(options.listen).await?;
        let plain_listener = listen(options.plain).await?;
        let now = SystemTime::now();
        let authority = Arc::new(open_authority(&options.authority(), &options.trust_domain, now)?);
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&options.store(), Retention::default())?);
        let (address, plain_address) =
            (bound(&listener, options.listen)?, bound(&plain_listener, options.plain)?);

        let own = OwnCredentials {
            authority: authority.clone(),
            lifetimes: LifetimePolicy::default(),
            addresses: options.advertised(address),
            file: Options::credential_in(&options.data),
            copy: options.credential.clone(),
        };
        let source = IdentitySource::new(own.identity(now)?);
        own.refresh(now)?;

        let ledger = Ledger::new(store.clone());
        let registrar = Arc::new(Registrar::start(store.clone(), options.lease).await?);
        let sources = Sources {
            store: store.clone(),
            ledger: ledger.clone(),
            instances: registrar.instances(),
            trust_domain: options.trust_domain.clone(),
        };
        let pipeline = Pipeline::load(sources).await?;
        let first = pipeline.published();
        let hub = Hub::new(first.world.clone(), Limits::default());
        let counters = Arc::new(Counters::default());
        let view = View::new(
            hub.clone(),
            first,
            registrar.instances(),
            source.clone(),
            ledger.clone(),
            counters.clone(),
        );
        let view = Arc::new(view);

        let parts = Parts {
            store,
            instances: registrar.instances(),
            published: view.revision(),
            addresses: own.addresses.clone(),
            root: authority.root_fingerprint(),
            trust_domain: options.trust_domain,
            view: view.clone(),
        };
        let services = Services { authority, ledger: ledger.clone(), registrar, counters: counters.clone() };
        let router = services.router(&hub, parts);
        let admission = Admission {
            tls: server_config(&source, ClientCertificate::Optional),
            ledger: ledger.clone(),
            counters,
        };
        let (sender, receiver) = connections();
        let publisher = view.clone();
        let ending = CancellationToken::new();
        let tasks = vec![
            spawn(accept_all(listener, admission, AcceptLimits::default(), sender)),
            spawn(serve_plain(plain_listener, plain::router(view, plain_address.ip()), ending.clone())),
            spawn(pipeline.run(move |published| publisher.publish(published))),
            spawn(keep_house(own, source, ledger)),
        ];
        let connections = ReceiverStream::new(receiver);
        Ok(Self { address, plain: plain_address, router, connections, hub, ending, _tasks: tasks })
    }

    /// Where xDS, certificates, registry and administration are.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where health, metrics and service discovery are.
    pub fn plain(&self) -> SocketAddr {
        self.plain
    }

    /// Serves until `shutdown`, then lets open calls end.
    ///
    /// # Errors
    /// When serving fails.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        let Self { router, connections, hub, ending, _tasks: tasks, .. } = self;
        let ended = ending.clone();
        let serving = router.serve_with_incoming_shutdown(connections, ended.cancelled_owned());
        let mut serving = Box::pin(serving);
        tokio::select! {
            result = &mut serving => return Ok(result?),
            () = shutdown => {}
        }
        tracing::info!("ending: open calls have {} s", DRAIN.as_secs());
        hub.close();
        ending.cancel();
        // What is still open then is cut; clients go to another control plane, or on with what they have.
        let drained = timeout(DRAIN, serving).await;
        drop(tasks);
        drained.unwrap_or(Ok(())).map_err(ServeError::from)
    }
}

/// What the gRPC services stand on.
struct Services {
    authority: Arc<Authority>,
    ledger: Ledger,
    registrar: Arc<Registrar>,
    counters: Arc<Counters>,
}

impl Services {
    fn router(self, hub: &Arc<Hub>, parts: Parts) -> Router {
        let Self { authority, ledger, registrar, counters } = self;
        tonic::transport::Server::builder()
            .max_concurrent_streams(CONCURRENT_STREAMS_MAX)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .add_service(AdsService::server(hub.clone(), authenticate(counters.clone())))
            .add_service(Certificates::new(authority, LifetimePolicy::default(), ledger, counters.clone()))
            .add_service(Registration::new(registrar, counters))
            .add_service(Administration::server(parts))
    }
}

/// Who may open an ADS stream: workloads with a grant, as what that grant says.
fn authenticate(counters: Arc<Counters>) -> Authenticate {
    Authenticate::new(move |extensions| {
        let peer = extensions
            .get::<Peer>()
            .ok_or_else(|| tonic::Status::internal("a request without its connection"))?;
        let (leaf, grant) = peer.workload(SystemTime::now()).map_err(|unauthorized: Unauthorized| {
            counters.add(Event::CallerRefused);
            unauthorized.refuse("xds", peer)
        })?;
        Ok(StreamCaller {
            identity: leaf.id.as_str().into(),
            caller: grant.caller(),
            address: Some(peer.remote.to_string().into()),
            expires: Some(leaf.not_after),
        })
    })
}

async fn keep_house(own: OwnCredentials, source: Arc<IdentitySource>, ledger: Ledger) {
    // The start has just seen to the certificates.
    let mut ticks = interval_at(Instant::now() + HOUSEKEEPING, HOUSEKEEPING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = SystemTime::now();
        if let Err(error) = own.renew(&source, now).and_then(|()| own.refresh(now)) {
            tracing::error!(%error, "certificates could not be renewed, trying again");
        }
        if let Err(error) = ledger.sweep(now).await {
            tracing::error!(%error, "ended grants could not be forgotten, trying again");
        }
    }
}

async fn serve_plain(listener: TcpListener, router: axum::Router, ending: CancellationToken) {
    let served = axum::serve(listener, router).with_graceful_shutdown(ending.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the plain port failed");
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })
}

fn bound(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, ServeError> {
    listener.local_addr().map_err(|source| ServeError::Listen { address, source })
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}
