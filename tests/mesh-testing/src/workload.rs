//! What a test says of one member: who it is, and what it serves.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use axum::Router;
use control_plane::grant::{Grant, Wishes};
use mesh_core::Mesh;
use mesh_server::App;

use crate::TestMeshError;

/// A member of the mesh, as a join token would describe it: what is not said follows from the first service.
///
/// Its name is that which its Deployment would have: `reviews-v2` for a service `reviews` with the label `version=v2`.
///
/// ```
/// use mesh_testing::{TestMesh, Workload};
///
/// # async fn example(app: axum::Router) -> Result<(), mesh_testing::TestMeshError> {
/// let mesh = TestMesh::builder()
///     .workload(Workload::serving("reviews:9080", app).namespace("shop").service_account("books").labels("version=v2"))
///     .workload(Workload::caller("productpage").labels("tier=edge"))
///     .start()
///     .await?;
/// # Ok(()) }
/// ```
#[must_use]
pub struct Workload {
    wishes: Wishes,
    labels: String,
    address: Option<IpAddr>,
    apps: Vec<(String, Option<MakeApp>)>,
}

/// Makes an application that calls through its own member's mesh.
pub(crate) type MakeApp = Box<dyn FnOnce(&Mesh) -> Router + Send>;

/// What a workload comes to.
pub(crate) struct Described {
    pub(crate) grant: Grant,
    pub(crate) address: IpAddr,
    /// One for each of the grant's services, in their order; none where the test itself serves.
    pub(crate) apps: Vec<Option<MakeApp>>,
}

impl Workload {
    /// A member that serves `NAME:PORT`.
    pub fn serving(service: impl Into<String>, app: impl App) -> Self {
        Self::new(Wishes::default()).and_serving(service, app)
    }

    /// A member that serves `NAME:PORT`, and calls others from there: `app` is given the mesh to call through.
    pub fn serving_with<A: App>(
        service: impl Into<String>,
        app: impl FnOnce(&Mesh) -> A + Send + 'static,
    ) -> Self {
        Self::new(Wishes::default()).and_serving_with(service, app)
    }

    /// A member that may serve `NAME:PORT`, and does when the test has it served: your own start-up code, given
    /// [`TestMesh::member`](crate::TestMesh::member), binds `0.0.0.0:PORT` as it would anywhere.
    pub fn granted(service: impl Into<String>) -> Self {
        let mut workload = Self::new(Wishes::default());
        workload.apps.push((service.into(), None));
        workload
    }

    /// A member that only calls, under this service account.
    pub fn caller(service_account: impl Into<String>) -> Self {
        Self::new(Wishes { service_account: service_account.into(), ..Wishes::default() })
    }

    fn new(wishes: Wishes) -> Self {
        Self { wishes, labels: String::new(), address: None, apps: Vec::new() }
    }

    /// Another service of the same member, on a port of its own.
    pub fn and_serving(self, service: impl Into<String>, app: impl App) -> Self {
        let router = app.into_router();
        self.and_serving_with(service, |_| router)
    }

    /// As [`and_serving`](Self::and_serving), with the mesh to call others through.
    pub fn and_serving_with<A: App>(
        mut self,
        service: impl Into<String>,
        app: impl FnOnce(&Mesh) -> A + Send + 'static,
    ) -> Self {
        self.apps.push((service.into(), Some(Box::new(|mesh| app(mesh).into_router()))));
        self
    }

    /// The namespace of its identity and services; default `default`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.wishes.namespace = namespace.into();
        self
    }

    /// The service account of its identity; default the first service's name.
    pub fn service_account(mut self, account: impl Into<String>) -> Self {
        self.wishes.service_account = account.into();
        self
    }

    /// Its labels, as `version=v2,tier=edge`; `app` is the first service's name where it is not among them.
    pub fn labels(mut self, labels: impl Into<String>) -> Self {
        self.labels = labels.into();
        self
    }

    /// Where it runs: `region/zone/subzone`.
    pub fn locality(mut self, locality: impl Into<String>) -> Self {
        self.wishes.locality = locality.into();
        self
    }

    /// Its address, where documents name it (`ipBlocks`, endpoints of a ServiceEntry); default one of its own in 10.244.0.0/16.
    pub fn address(mut self, address: impl Into<IpAddr>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// The `number`th of its mesh.
    pub(crate) fn describe(self, number: usize) -> Result<Described, TestMeshError> {
        let Self { mut wishes, labels, address, apps } = self;
        wishes.labels = parse_labels(&labels)?;
        let (services, apps): (Vec<_>, Vec<_>) = apps.into_iter().unzip();
        let first = services.first().cloned();
        let called = first.unwrap_or_else(|| wishes.service_account.clone());
        let refused = |reason| TestMeshError::Workload { workload: called.clone(), reason };
        let grant = Wishes { services, ..wishes }.complete().map_err(refused)?;
        grant.check().map_err(refused)?;
        Ok(Described { grant, address: address.unwrap_or_else(|| own_address(number)), apps })
    }
}

impl fmt::Debug for Workload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<_> = self.apps.iter().map(|(service, _)| service).collect();
        out.debug_struct("Workload")
            .field("services", &services)
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

/// An address that no other member has, but for those that say theirs.
pub(crate) fn own_address(number: usize) -> IpAddr {
    let [high, low] = u16::try_from(number + 1).unwrap_or(u16::MAX).to_be_bytes();
    IpAddr::from([10, 244, high, low])
}

fn parse_labels(text: &str) -> Result<BTreeMap<String, String>, TestMeshError> {
    let said = text.split(',').map(str::trim).filter(|label| !label.is_empty());
    let label = |label: &str| {
        let (key, value) = label.split_once('=').ok_or_else(|| TestMeshError::Labels(text.to_owned()))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    said.map(label).collect()
}
