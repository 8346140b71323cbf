//! The control plane's part: which documents hold, what serves, and what each member is told of it.
//!
//! Members are told within the call that changes something, so a test that has applied a document need not wait for it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use control_plane::document::{
    DEFAULT_NAMESPACE, DocumentKey, DocumentSet, Kind, Reading, Report, Source, attach,
};
use control_plane::grant;
use control_plane::model::{Binding, Caller, Config, Fleet, GrantedService, Listening, Workload, World};
use control_plane::translate::{translate, version};
use control_plane::validate;
use mesh_core::identity::TrustDomain;
use mesh_core::mesh::LocalStream;
use mesh_core::resource::{Health, ResourceType};
use mesh_core::subscription::Found;

use crate::TestMeshError;
use crate::workload::Described;

/// One mesh's control plane.
pub(crate) struct Control(Mutex<State>);

struct State {
    documents: DocumentSet,
    /// By which older documents are told from newer ones.
    revision: u64,
    trust_domain: String,
    serving: Serving,
    world: World,
    members: Vec<(Caller, LocalStream)>,
}

/// What serves; it is the same from the start of a test to its end.
struct Serving {
    workloads: Vec<Workload>,
    granted: Vec<GrantedService>,
    hosts: BTreeSet<String>,
}

impl Control {
    /// A control plane that begins with these documents and workloads.
    pub(crate) fn new(sources: &[Source], described: &[Described]) -> Result<Self, TestMeshError> {
        let serving = Serving::of(described);
        let applied = DocumentSet::default().apply(sources, 1, &serving.hosts);
        let documents = accepted(applied.after, applied.reports)?;
        // What a control plane is started with, documents alone have to say here.
        let trust_domain = Config::new(&documents).settings().trust_domain.clone();
        let world = serving.world(&trust_domain, &documents);
        let members = Vec::new();
        Ok(Self(Mutex::new(State { documents, revision: 1, trust_domain, serving, world, members })))
    }

    /// The trust domain, as certificates name it.
    pub(crate) fn trust_domain(&self) -> Result<TrustDomain, TestMeshError> {
        let said = self.state().trust_domain.clone();
        TrustDomain::parse(&said).map_err(|_| TestMeshError::TrustDomain(said))
    }

    /// Takes a member in, and says by which number it is meant.
    pub(crate) fn join(&self, caller: Caller, stream: LocalStream) -> usize {
        let mut state = self.state();
        state.members.push((caller, stream));
        state.members.len() - 1
    }

    /// Tells a member what it wants to know.
    pub(crate) fn tell(&self, member: usize) {
        let state = &mut *self.state();
        let (caller, stream) = &mut state.members[member];
        stream.exchange(look_up(&state.world, caller));
        for refused in stream.refused() {
            tracing::error!("the member refuses its configuration: {refused}");
        }
    }

    /// Applies documents; every member has them when this returns.
    pub(crate) fn apply(&self, source: Source) -> Result<(), TestMeshError> {
        let state = &mut *self.state();
        let revision = state.revision + 1;
        let applied = state.documents.apply(&[source], revision, &state.serving.hosts);
        state.change(accepted(applied.after, applied.reports)?)
    }

    /// Deletes a document; every member knows when this returns.
    pub(crate) fn delete(&self, name: &str) -> Result<(), TestMeshError> {
        let key = document_key(name).ok_or_else(|| TestMeshError::NotADocument(name.to_owned()))?;
        let state = &mut *self.state();
        let mut after = state.documents.clone();
        let mut reports = Vec::new();
        if after.remove(&key).is_none() {
            return Err(TestMeshError::NoDocument(key));
        }
        let news = state.documents.news(&after, &BTreeSet::from([&key]), &state.serving.hosts);
        attach(&mut reports, news, &after);
        state.change(accepted(after, reports)?)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn change(&mut self, documents: DocumentSet) -> Result<(), TestMeshError> {
        let world = self.serving.world(&self.trust_domain, &documents);
        let before = std::mem::replace(&mut self.world, world);
        let refused = self.tell_all();
        if !refused.is_empty() {
            self.world = before;
            self.tell_all();
            return Err(TestMeshError::Configuration(refused.join("\n")));
        }
        self.documents = documents;
        self.revision += 1;
        Ok(())
    }

    fn tell_all(&mut self) -> Vec<String> {
        let mut refused = Vec::new();
        for (caller, stream) in &mut self.members {
            stream.everything_changed();
            stream.exchange(look_up(&self.world, caller));
            refused.extend(stream.refused());
        }
        refused
    }
}

impl Serving {
    fn of(described: &[Described]) -> Self {
        let granted = described.iter().flat_map(|described| {
            let grant = &described.grant;
            grant.services.iter().map(|service| (grant.namespace.clone(), service.clone()))
        });
        let granted = grant::services(granted);
        Self {
            workloads: described.iter().map(workload).collect(),
            hosts: granted.iter().map(|service| service.host.to_string()).collect(),
            granted,
        }
    }

    fn world(&self, trust_domain: &str, documents: &DocumentSet) -> World {
        let config = Config::within(trust_domain, documents);
        let workloads = config.workloads().iter().chain(&self.workloads).cloned().collect();
        World::new(Arc::new(config), Fleet::new(workloads, self.granted.clone()))
    }
}

/// A member as the model sees it once it has registered its ports, which are those that callers name.
fn workload(described: &Described) -> Workload {
    let Described { grant, address, .. } = described;
    let binding = |service: &grant::GrantedService| Binding {
        host: service.host.as_str().into(),
        service_port: service.port,
        workload_port: service.port,
        address: (*address, service.port).into(),
    };
    Workload {
        name: grant.workload_name().into(),
        namespace: grant.namespace.as_str().into(),
        service_account: Some(grant.service_account.as_str().into()),
        labels: Arc::new(grant.instance_labels()),
        listening: Listening::Registered(grant.services.iter().map(binding).collect()),
        locality: grant.locality.as_deref().map(Into::into),
        weight: 1,
        health: Health::Healthy,
        in_mesh: true,
    }
}

fn look_up<'w>(
    world: &'w World,
    caller: &'w Caller,
) -> impl FnMut(ResourceType, &Arc<str>) -> Option<Found<Bytes>> + 'w {
    move |kind, name| {
        let message = translate(world, caller, kind, name).message?;
        Some(Found { version: version(&message).into(), body: message.value.into() })
    }
}

/// The documents, unless something is wrong with them; what else there is to say is logged.
fn accepted(documents: DocumentSet, reports: Vec<Report>) -> Result<DocumentSet, TestMeshError> {
    let reading = Reading { documents, reports };
    if !reading.verdict().accepts() {
        return Err(TestMeshError::Documents(validate::text(&reading)));
    }
    if reading.reports.iter().any(|report| !report.findings.is_empty()) {
        tracing::warn!("there is something to say about the documents:\n{}", validate::text(&reading));
    }
    Ok(reading.documents)
}

/// `KIND/NAME` or `KIND/NAMESPACE/NAME`.
fn document_key(text: &str) -> Option<DocumentKey> {
    let (kind, name) = text.split_once('/')?;
    let (namespace, name) = name.split_once('/').unwrap_or((DEFAULT_NAMESPACE, name));
    Some(DocumentKey { kind: Kind::from_name(kind)?, namespace: namespace.to_owned(), name: name.to_owned() })
}
