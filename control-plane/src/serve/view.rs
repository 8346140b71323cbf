//! What is known of the running control plane: kept in one place for xDS, `mesh status`, `mesh explain` and metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use mesh_core::identity::IdentitySource;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::counters::{Counters, Event};
use super::pipeline::Published;
use super::plain::Facts;
use crate::admin::ControlPlaneView;
use crate::document::{DocumentKey, DocumentSet, WholeFinding};
use crate::explain::Explainer;
use crate::foreign::{self, ForeignClient};
use crate::grant::Ledger;
use crate::model::{Config, Service, World};
use crate::registry::Instances;
use crate::xds::{Hub, StreamStatus};

/// The control plane as it runs.
pub(super) struct View {
    hub: Arc<Hub>,
    published: ArcSwap<Published>,
    revision: watch::Sender<u64>,
    pub(super) instances: watch::Receiver<Arc<Instances>>,
    pub(super) source: Arc<IdentitySource>,
    pub(super) ledger: Ledger,
    pub(super) counters: Arc<Counters>,
}

impl View {
    pub(super) fn new(
        hub: Arc<Hub>,
        first: Published,
        instances: watch::Receiver<Arc<Instances>>,
        source: Arc<IdentitySource>,
        ledger: Ledger,
        counters: Arc<Counters>,
    ) -> Self {
        let revision = watch::Sender::new(first.revision);
        Self { hub, published: ArcSwap::from_pointee(first), revision, instances, source, ledger, counters }
    }

    /// Goes over to what is newly in force; whoever waits for its revision is told last.
    pub(super) fn publish(&self, published: Published) {
        let revision = published.revision;
        self.hub.publish(published.world.clone());
        self.published.store(Arc::new(published));
        self.counters.add(Event::Published);
        self.revision.send_replace(revision);
    }

    /// The store's revision of the documents in force.
    pub(super) fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    fn streams(&self) -> Value {
        let current = self.hub.revision();
        self.hub.statuses().iter().map(|status| stream(status, current)).collect()
    }

    /// What connected clients of other kinds leave out, each named once.
    fn left_out(&self) -> Value {
        let world = self.hub.world();
        let clients = self.hub.foreign_clients();
        let of_client = |client: &ForeignClient| {
            let (kind, identity) = (client.caller.client.name().to_owned(), client.identity.clone());
            client.losses(&world).into_iter().map(move |loss| {
                json!({
                    "identity": identity,
                    "client": kind,
                    "document": loss.document,
                    "rule": loss.rule,
                    "feature": loss.feature,
                    "effect": loss.effect.words(),
                })
            })
        };
        clients.iter().flat_map(of_client).collect()
    }

    fn registered(&self) -> Value {
        let instances = self.instances.borrow().clone();
        let instance = |(key, instance): (&crate::registry::InstanceKey, &Arc<crate::registry::Instance>)| {
            json!({
                "namespace": key.namespace,
                "service_account": key.service_account,
                "instance": key.instance_id,
                "workload": format!("{}/{}", key.namespace, instance.workload),
                "labels": instance.labels,
                "bindings": instance.bindings,
                "draining": instance.draining,
                "ready": !instance.not_ready,
                "version": instance.library_version,
            })
        };
        instances.iter().map(instance).collect()
    }

    /// The newest certificate of every line: those that were renewed are of no interest any more.
    async fn certificates(&self) -> Value {
        let records = match self.ledger.records().await {
            Ok(records) => records,
            Err(error) => return json!({"error": error.to_string()}),
        };
        let renewed: BTreeSet<&str> = records.iter().filter_map(|record| record.renewed_from()).collect();
        let newest = records.iter().filter(|record| !renewed.contains(record.serial()));
        let certificate = |record: &crate::grant::GrantRecord| {
            let grant = record.grant();
            json!({
                "identity": format!("{}/{}", grant.namespace, grant.service_account),
                "serial": record.serial(),
                "token": record.token(),
                "not_after": seconds(record.not_after()),
            })
        };
        newest.map(certificate).collect()
    }
}

/// Every service that is known, by what, and which versions of it there are.
fn services(world: &World) -> Value {
    let granted = world.fleet().granted();
    let granted: BTreeSet<(&str, &str)> =
        granted.iter().map(|service| (&*service.host, &*service.namespace)).collect();
    let service = |service: &Service| {
        let versions: BTreeSet<&String> =
            world.members(service).filter_map(|workload| workload.labels.get("version")).collect();
        json!({
            "host": service.host,
            "namespace": service.namespace,
            "granted": granted.contains(&(&*service.host, &*service.namespace)),
            "selector": service.selector,
            "versions": versions,
        })
    };
    world.all_services().map(service).collect()
}

fn stream(status: &StreamStatus, current: u64) -> Value {
    let types: BTreeMap<String, Value> = status
        .types
        .iter()
        .map(|(kind, of)| {
            let refused = of.nack.as_ref().map(|nack| nack.reason.clone());
            let facts =
                json!({"names": of.names, "sent": of.sent, "unanswered": of.unanswered, "refused": refused});
            (format!("{kind:?}"), facts)
        })
        .collect();
    json!({
        "identity": status.identity,
        "workload": status.workload,
        "address": status.address,
        "client": status.client.name(),
        "version": status.version,
        "encoding": format!("{:?}", status.encoding),
        "since": seconds(status.since),
        "acknowledged": status.revision,
        "current": current,
        "up_to_date": status.revision >= current,
        "types": types,
    })
}

#[tonic::async_trait]
impl ControlPlaneView for View {
    async fn sections(&self) -> BTreeMap<&'static str, Value> {
        let svid = &self.source.current().svid;
        let own = json!({"identity": svid.id().as_str(), "serial": svid.serial(), "not_after": seconds(svid.not_after())});
        BTreeMap::from([
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("certificate", own),
            ("certificates", self.certificates().await),
            ("streams", self.streams()),
            ("left_out", self.left_out()),
            ("instances", self.registered()),
            ("services", services(&self.published.load().world)),
        ])
    }

    fn explain(&self, questions: &[String]) -> Vec<String> {
        let published = self.published.load_full();
        let mut explainer = Explainer::new(published.documents.clone(), published.world.as_ref().clone());
        questions.iter().map(|question| explainer.answer_line(question)).collect()
    }

    fn foreign(&self, documents: &DocumentSet, touched: &BTreeSet<&DocumentKey>) -> Vec<WholeFinding> {
        let clients = self.hub.foreign_clients();
        if clients.is_empty() {
            return Vec::new();
        }
        let current = self.hub.world();
        let after = Config::within(&current.settings().trust_domain, documents);
        foreign::findings(&current.reconfigured(Arc::new(after)), documents, touched, &clients)
    }

    fn refused(&self) {
        self.counters.add(Event::CallerRefused);
    }

    fn applied(&self) {
        self.counters.add(Event::Applied);
    }
}

impl Facts for View {
    fn ready(&self) -> bool {
        // The port opens only once the first world is published; what is left to go wrong is our own certificate.
        self.source.current().svid.not_after() > SystemTime::now()
    }

    fn metrics(&self) -> String {
        let counts = self.hub.counts();
        self.counters.render(&[
            ("streams", "Open ADS streams.", self.hub.statuses().len() as u64),
            ("instances", "Registered instances.", self.instances.borrow().len() as u64),
            ("documents", "Stored documents.", self.published.load().documents.len() as u64),
            ("xds_lookups", "Resources looked up.", counts.lookups),
            ("xds_translations", "Resources translated.", counts.translations),
            (
                "certificate_not_after_seconds",
                "When the control plane's certificate ends.",
                seconds(self.source.current().svid.not_after()),
            ),
        ])
    }

    fn instances(&self) -> watch::Receiver<Arc<Instances>> {
        self.instances.clone()
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
