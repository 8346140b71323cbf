//! The configuration of this process as it comes together: wishes in, responses in, requests and snapshots out. Pure; the
//! stream around it moves the bytes.
//!
//! ```text
//!   wishes ─► closures ──names──► subscription ──requests──►
//!                 ▲                    ▲
//!                 └── parsed, accepted ┴── response
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, Resource as Received};

use super::saved_config::{self, SavedConfig, SavedResource};
use crate::resource::{self, InvalidResource, Resource, ResourceType};
use crate::snapshot::{Answer, Closures, Snapshot, Update};
use crate::subscription::{DeltaClient, Request, Response};

/// Everything accepted, and what is still to come.
#[derive(Debug, Default)]
pub(crate) struct Config {
    subscriptions: DeltaClient,
    closures: Closures,
    accepted: BTreeMap<(ResourceType, Arc<str>), Accepted>,
    /// Why the latest of these was refused.
    refused: BTreeMap<(ResourceType, Arc<str>), String>,
    hosts: BTreeSet<Arc<str>>,
    inbound: BTreeSet<Arc<str>>,
    unsaved: bool,
}

/// A resource just as it came; `None` for one that does not exist.
type Accepted = Option<(Arc<str>, Bytes)>;

impl Config {
    /// Takes over what an earlier run saved, and makes the first snapshot of it.
    ///
    /// # Errors
    /// The first resource that this library cannot read; nothing is taken over then, for half a configuration is none.
    pub(crate) fn restore(saved: SavedConfig) -> Result<(Self, Snapshot), InvalidResource> {
        let mut config = Config::default();
        let names = |names: Vec<String>| names.into_iter().map(Arc::from).collect();
        config.want(names(saved.hosts), names(saved.inbound));
        let mut updates = Vec::new();
        for SavedResource { type_url, name, resource_version, body } in saved.resources {
            let Some(kind) = ResourceType::from_url(&type_url) else { continue };
            let name: Arc<str> = name.into();
            if resource_version.is_empty() {
                updates.push(config.remove(kind, name));
            } else {
                let version: Arc<str> = resource_version.into();
                updates.push(config.accept(kind, &name, version.clone(), body)?);
                config.subscriptions.hold(kind, name, version);
            }
        }
        let snapshot = config.closures.apply(updates).unwrap_or_default();
        config.follow();
        config.unsaved = false;
        Ok((config, snapshot))
    }

    /// Wants exactly these hosts and inbound listeners from now on. Returns the next snapshot, if it differs.
    pub(crate) fn want(
        &mut self,
        hosts: BTreeSet<Arc<str>>,
        inbound: BTreeSet<Arc<str>>,
    ) -> Option<Snapshot> {
        if self.hosts == hosts && self.inbound == inbound {
            return None;
        }
        let snapshot = self.closures.want(hosts.iter().cloned(), inbound.iter().cloned());
        (self.hosts, self.inbound) = (hosts, inbound);
        self.follow();
        self.unsaved = true;
        snapshot
    }

    /// A new stream has begun.
    pub(crate) fn connected(&mut self) {
        self.subscriptions.connected();
    }

    /// Takes a response in: what is good counts at once, what is not is refused by name. Returns the next snapshot, if it
    /// differs.
    pub(crate) fn received(&mut self, message: DeltaDiscoveryResponse) -> Option<Snapshot> {
        // Of a type that was never asked for: there is no subscription to answer for.
        let kind = ResourceType::from_url(&message.type_url)?;
        let mut response = Response { nonce: message.nonce.into(), ..Response::default() };
        let mut updates = Vec::new();
        for received in message.resources {
            let name: Arc<str> = received.name.as_str().into();
            let version: Arc<str> = received.version.as_str().into();
            // Too late: it was given up while it was on its way.
            if !self.subscriptions.wants(kind, &name) {
                continue;
            }
            match body(kind, received).and_then(|body| self.accept(kind, &name, version.clone(), body)) {
                Ok(update) => {
                    updates.push(update);
                    response.accepted.push((name, version));
                }
                Err(invalid) => {
                    tracing::warn!(error = %invalid, "refused configuration; the last good one stays");
                    let reason = format!("{}: {}", invalid.field, invalid.reason);
                    self.refused.insert((kind, name), reason);
                    response.rejected.push(invalid);
                }
            }
        }
        for name in message.removed_resources {
            let name: Arc<str> = name.into();
            if self.subscriptions.wants(kind, &name) {
                updates.push(self.remove(kind, name.clone()));
                response.removed.push(name);
            }
        }
        self.subscriptions.received(kind, response);
        let snapshot = self.closures.apply(updates);
        self.follow();
        snapshot
    }

    /// The DNS names that should be looked up, and after how long again.
    pub(crate) fn names(&self) -> BTreeMap<Arc<str>, Duration> {
        self.closures.names()
    }

    /// Takes in what a look-up has found. Returns the next snapshot, if it differs.
    pub(crate) fn resolved(&mut self, name: Arc<str>, answer: Answer) -> Option<Snapshot> {
        self.closures.apply([Update::Resolved(name, answer)])
    }

    /// The next request to be sent, until there is none.
    pub(crate) fn next_request(&mut self) -> Option<Request> {
        self.subscriptions.next_request()
    }

    /// What a host still waits for, each with the reason if it came and was refused.
    pub(crate) fn missing(&self, host: &str) -> Vec<String> {
        let mut missing = self.closures.missing(host);
        for label in &mut missing {
            let refused = self.refused.iter().find(|((kind, name), _)| *label == format!("{kind} `{name}`"));
            if let Some((_, reason)) = refused {
                label.push_str(&format!(" (refused: {reason})"));
            }
        }
        missing
    }

    /// What was refused and not replaced since, each with field and reason.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.refused.iter().map(|((kind, name), reason)| format!("{kind} `{name}`: {reason}")).collect()
    }

    /// The hosts wanted.
    pub(crate) fn hosts(&self) -> &BTreeSet<Arc<str>> {
        &self.hosts
    }

    /// The inbound listeners wanted.
    pub(crate) fn inbound(&self) -> &BTreeSet<Arc<str>> {
        &self.inbound
    }

    /// Whether there is something to save.
    pub(crate) fn is_unsaved(&self) -> bool {
        self.unsaved
    }

    /// What is to be saved, where it differs from what was taken before.
    pub(crate) fn take_unsaved(&mut self) -> Option<SavedConfig> {
        if !std::mem::take(&mut self.unsaved) {
            return None;
        }
        let resources = self.accepted.iter().map(|((kind, name), accepted)| {
            let (version, body) = accepted.clone().unwrap_or_else(|| ("".into(), Bytes::new()));
            SavedResource {
                type_url: kind.url().into(),
                name: name.to_string(),
                resource_version: version.to_string(),
                body,
            }
        });
        Some(SavedConfig {
            version: saved_config::VERSION,
            hosts: self.hosts.iter().map(|host| host.to_string()).collect(),
            inbound: self.inbound.iter().map(|name| name.to_string()).collect(),
            resources: resources.collect(),
        })
    }

    fn accept(
        &mut self,
        kind: ResourceType,
        name: &Arc<str>,
        version: Arc<str>,
        body: Bytes,
    ) -> Result<Update, InvalidResource> {
        let parsed = resource::parse(kind, &body)?;
        self.check(kind, name, &parsed)?;
        self.refused.remove(&(kind, name.clone()));
        self.accepted.insert((kind, name.clone()), Some((version, body)));
        self.unsaved = true;
        Ok(Update::Here(parsed))
    }

    /// A resource must be what was asked for: under its name, and for the side that asked.
    fn check(&self, kind: ResourceType, name: &Arc<str>, parsed: &Resource) -> Result<(), InvalidResource> {
        if parsed.name() != name {
            return Err(invalid(kind, name, "name", format!("is `{}`", parsed.name())));
        }
        match parsed {
            Resource::Outbound(_) if self.inbound.contains(name) => Err(invalid(
                kind,
                name,
                "api_listener",
                "is for clients, and this is an address served on".into(),
            )),
            Resource::Inbound(_) if !self.inbound.contains(name) => {
                Err(invalid(kind, name, "api_listener", "is missing, and this is a host called".into()))
            }
            _ => Ok(()),
        }
    }

    fn remove(&mut self, kind: ResourceType, name: Arc<str>) -> Update {
        self.refused.remove(&(kind, name.clone()));
        self.accepted.insert((kind, name.clone()), None);
        self.unsaved = true;
        Update::Absent(kind, name)
    }

    /// Subscribes to what the resources lead to, and forgets what nothing leads to any more.
    fn follow(&mut self) {
        for kind in ResourceType::ALL {
            let wanted = self.closures.subscriptions(kind);
            self.accepted.retain(|(of, name), _| *of != kind || wanted.contains(name));
            self.subscriptions.want(kind, wanted);
        }
        let subscriptions = &self.subscriptions;
        self.refused.retain(|(kind, name), _| subscriptions.wants(*kind, name));
    }
}

/// The resource's own bytes.
fn body(kind: ResourceType, received: Received) -> Result<Bytes, InvalidResource> {
    match received.resource {
        Some(any) if any.type_url == kind.url() => Ok(any.value.into()),
        Some(any) => Err(invalid(kind, &received.name, "type_url", format!("is {}", any.type_url))),
        None => Err(invalid(kind, &received.name, "resource", "is missing".into())),
    }
}

fn invalid(kind: ResourceType, name: &str, field: &str, reason: String) -> InvalidResource {
    InvalidResource { resource_type: kind, name: name.into(), field: field.into(), reason }
}
