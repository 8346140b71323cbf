//! What all four have in common: a name, a root page, a count of what they received, and how they are served.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Json, Response};
use axum::routing::get;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use mesh_core::Mesh;
use mesh_server::Server;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::counts::{self, Counts};
use crate::output;

/// One running copy of a service.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Instance {
    pub(crate) service: &'static str,
    pub(crate) version: Arc<str>,
    pub(crate) instance: Arc<str>,
}

impl Instance {
    pub(crate) fn new(service: &'static str, version: String, instance: Option<String>) -> Self {
        let instance = instance.unwrap_or_else(|| format!("{service}-{version}-{}", std::process::id()));
        Self { service, version: version.into(), instance: instance.into() }
    }

    /// Tells the caller who answered, whatever the answer.
    fn sign(&self, headers: &mut HeaderMap) {
        for (name, value) in [(VERSION, &self.version), (INSTANCE, &self.instance)] {
            // A name that no header can hold is left out.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
    }
}

/// Serves `app` in the mesh, and the counts beside it, until the process is told to end.
pub(crate) async fn run(
    mesh: &Mesh,
    instance: Instance,
    app: Router,
    listen: SocketAddr,
    counts_listen: SocketAddr,
) -> anyhow::Result<()> {
    let counts = Arc::new(Counts::default());
    let app = finished(app, &instance, &counts);
    let server = Server::builder(mesh).bind(listen).await.with_context(|| format!("binding {listen}"))?;
    let beside =
        TcpListener::bind(counts_listen).await.with_context(|| format!("binding {counts_listen}"))?;
    // One line for people and scripts alike; everything else goes to standard error.
    output::line(format_args!(
        "{} {} {} serves {} counts {}",
        instance.service,
        instance.version,
        instance.instance,
        server.address(),
        beside.local_addr()?
    ));
    let counts = axum::serve(beside, counts::app(instance, counts));
    tokio::select! {
        served = server.serve(app) => served.context("serving"),
        counted = counts.into_future() => counted.context("serving the counts"),
    }
}

/// The whole of a service: its own routes, its root, its signature under every answer, its count of every request.
pub(crate) fn finished(app: Router, instance: &Instance, counts: &Arc<Counts>) -> Router {
    let observer = Observer { instance: instance.clone(), counts: Arc::clone(counts) };
    with_root(app, instance).layer(from_fn_with_state(observer, observe))
}

/// `GET /` says who this is, save where the service has a front page of its own.
fn with_root(app: Router, instance: &Instance) -> Router {
    if instance.service == crate::productpage::SERVICE {
        return app;
    }
    let instance = instance.clone();
    app.route("/", get(move || async move { Json(instance) }))
}

#[derive(Debug, Clone)]
struct Observer {
    instance: Instance,
    counts: Arc<Counts>,
}

async fn observe(State(observer): State<Observer>, request: Request, next: Next) -> Response {
    observer.counts.received(&request);
    let mut response = next.run(request).await;
    observer.instance.sign(response.headers_mut());
    response
}

const VERSION: HeaderName = HeaderName::from_static("x-bookinfo-version");
const INSTANCE: HeaderName = HeaderName::from_static("x-bookinfo-instance");
