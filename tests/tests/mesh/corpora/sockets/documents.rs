//! A case's documents as they can run on one machine without privileges, and who serves by them.
//!
//! Three things are said otherwise than in the corpus, to `explain` and to the control plane alike: a port below 1,024 on a
//! workload is one above, since nobody but root could bind it; a service without selector has one, by which a member can be
//! found; and the settings that a question asks to suppose are a document.

use std::collections::{BTreeMap, BTreeSet};

use control_plane::document::Source;
use control_plane::model::Protocol;
use serde_json::{Value, json};

use super::super::{items, source, text};

/// The labels of a workload or a selector.
pub(super) type Labels = BTreeMap<String, String>;

/// The documents of a case as JSON, file by file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Documents(Vec<(String, Vec<Value>)>);

/// Something that serves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Workload {
    pub(super) namespace: String,
    pub(super) account: String,
    pub(super) labels: Labels,
}

/// What a server reads on one of its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Carries {
    Requests,
    Bytes,
}

/// A service, whichever kind of document declares it.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) hosts: Vec<String>,
    pub(super) namespace: String,
    pub(super) selector: Labels,
    /// The workload's port by the service's.
    pub(super) ports: BTreeMap<u16, u16>,
    /// What the workload's ports are declared to carry; nothing of those that leave it open.
    pub(super) declared: BTreeMap<u16, Carries>,
}

impl Documents {
    /// `settings` are those that a question asks to suppose.
    pub(super) fn new(sources: &[Source], settings: &Value) -> Self {
        let mut files: Vec<(String, Vec<Value>)> = Vec::new();
        for source in sources {
            let mut read: Vec<Value> = serde_saphyr::from_multiple(&source.text).expect("documents are YAML");
            read.retain(|document| document["kind"].is_string());
            read.iter_mut().for_each(runnable);
            files.push((source.file.clone(), read));
        }
        files.extend(mesh_settings(settings).map(|document| ("settings.yaml".to_owned(), vec![document])));
        Self(files)
    }

    /// As files.
    pub(super) fn sources(&self) -> Vec<Source> {
        let written =
            self.0.iter().map(|(file, documents)| Source { file: file.clone(), ..source(documents) });
        written.filter(|source| !source.text.is_empty()).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().flat_map(|(_, documents)| documents)
    }

    /// The services that they declare. Of two of one name the later counts.
    pub(super) fn services(&self) -> Vec<Service> {
        let mut services = BTreeMap::new();
        for (place, document) in self.all().enumerate() {
            if let Some(service) = service(document) {
                services.insert((text(document, "kind"), key(document)), (place, service));
            }
        }
        services.into_values().map(|(_, service)| service).collect()
    }

    /// The workloads that they describe.
    pub(super) fn workloads(&self) -> BTreeSet<Workload> {
        let deployments = self.all().filter(|document| text(document, "kind") == "Deployment");
        deployments.map(workload).collect()
    }

    /// The labels that a subset asks for, by the first of `rules` (where none is named, of all) that defines it.
    pub(super) fn subset(&self, rules: &[String], name: &str) -> Option<Labels> {
        let id = |document: &Value| format!("{}/{}", text(document, "kind"), key(document));
        let of = self.all().filter(|document| text(document, "kind") == "DestinationRule");
        let of = of.filter(|document| rules.is_empty() || rules.contains(&id(document)));
        let mut subsets = of.flat_map(|rule| items(&rule["spec"], "subsets"));
        subsets.find(|subset| text(subset, "name") == name).map(|subset| labels_of(&subset["labels"]))
    }
}

impl Service {
    pub(super) fn selects(&self, workload: &Workload) -> bool {
        self.namespace == workload.namespace && carries(&workload.labels, &self.selector)
    }
}

/// Whether `labels` hold all of `wanted`.
pub(super) fn carries(labels: &Labels, wanted: &Labels) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// A workload's port that everybody may bind.
pub(super) fn unprivileged(port: u16) -> u16 {
    if port < 1_024 { port + 20_000 } else { port }
}

/// `default/reviews`.
fn key(document: &Value) -> String {
    format!("{}/{}", namespace(document), text(&document["metadata"], "name"))
}

fn namespace(document: &Value) -> &str {
    document["metadata"]["namespace"].as_str().unwrap_or("default")
}

fn labels_of(labels: &Value) -> Labels {
    let labels = labels.as_object().into_iter().flatten();
    labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

fn runnable(document: &mut Value) {
    let found_by = json!({"proxyless.test/serves": text(&document["metadata"], "name")});
    let kind = text(document, "kind").to_owned();
    let Some(spec) = document.get_mut("spec") else { return };
    match kind.as_str() {
        "Service" => {
            if labels_of(&spec["selector"]).is_empty() {
                spec["selector"] = found_by;
            }
            for port in spec["ports"].as_array_mut().into_iter().flatten() {
                port["targetPort"] = json!(unprivileged(target(port, "port")));
            }
        }
        "ServiceEntry"
            if text(spec, "location") == "MESH_INTERNAL" && items(spec, "endpoints").is_empty() =>
        {
            if spec["workloadSelector"].is_null() {
                spec["workloadSelector"] = json!({"labels": found_by});
            }
            for port in spec["ports"].as_array_mut().into_iter().flatten() {
                port["targetPort"] = json!(unprivileged(target(port, "number")));
            }
        }
        "PeerAuthentication" => {
            let ports = spec["portLevelMtls"].as_object().into_iter().flatten();
            let bindable =
                |port: &str| port.parse().map_or(port.to_owned(), |port| unprivileged(port).to_string());
            let ports: serde_json::Map<String, Value> =
                ports.map(|(port, mode)| (bindable(port), mode.clone())).collect();
            if !ports.is_empty() {
                spec["portLevelMtls"] = Value::Object(ports);
            }
        }
        _ => {}
    }
}

/// Where a service's port leads: a name, which only a container could explain, is as good as nothing.
fn target(port: &Value, number: &str) -> u16 {
    let number = port["targetPort"].as_u64().or(port[number].as_u64());
    number.and_then(|number| u16::try_from(number).ok()).unwrap_or_default()
}

fn service(document: &Value) -> Option<Service> {
    let spec = &document["spec"];
    let namespace = namespace(document);
    let (hosts, selector, number) = match text(document, "kind") {
        "Service" => {
            let name = text(&document["metadata"], "name");
            (vec![format!("{name}.{namespace}.svc.cluster.local")], &spec["selector"], "port")
        }
        "ServiceEntry" if spec["workloadSelector"].is_object() => {
            let hosts = items(spec, "hosts").iter().filter_map(Value::as_str).map(str::to_owned).collect();
            (hosts, &spec["workloadSelector"]["labels"], "number")
        }
        _ => return None,
    };
    let ports = items(spec, "ports");
    let number_of = |port: &Value| port[number].as_u64().and_then(|number| u16::try_from(number).ok());
    Some(Service {
        hosts,
        namespace: namespace.to_owned(),
        selector: labels_of(selector),
        ports: ports.iter().filter_map(|port| Some((number_of(port)?, target(port, "port")))).collect(),
        declared: ports
            .iter()
            .filter_map(|port| Some((target(port, "port"), declared(port, number)?)))
            .collect(),
    })
}

/// What a port is declared to carry. A ServiceEntry's `protocol` says it, a Service's is the transport's.
fn declared(port: &Value, number: &str) -> Option<Carries> {
    let declared = if number == "port" { &port["appProtocol"] } else { &port["protocol"] };
    match Protocol::of(declared.as_str(), text(port, "name")) {
        Protocol::Http | Protocol::Http2 => Some(Carries::Requests),
        Protocol::Tls | Protocol::Tcp => Some(Carries::Bytes),
        Protocol::Undeclared => None,
    }
}

fn workload(deployment: &Value) -> Workload {
    let pod = &deployment["spec"]["template"];
    Workload {
        namespace: namespace(deployment).to_owned(),
        account: pod["spec"]["serviceAccountName"].as_str().unwrap_or("default").to_owned(),
        labels: labels_of(&pod["metadata"]["labels"]),
    }
}

/// The settings of a question, as the document that says the same.
fn mesh_settings(of: &Value) -> Option<Value> {
    let mut spec = serde_json::Map::new();
    let named = [("root_namespace", "rootNamespace"), ("trust_domain_aliases", "trustDomainAliases")];
    for (ours, theirs) in named {
        spec.extend(of.get(ours).map(|value| (theirs.to_owned(), value.clone())));
    }
    let level = of.get("path_normalization");
    spec.extend(level.map(|level| ("pathNormalization".to_owned(), json!({"normalization": level}))));
    let policy = of.get("outbound_traffic_policy");
    spec.extend(policy.map(|policy| ("outboundTrafficPolicy".to_owned(), json!({"mode": policy}))));
    let exports = [
        ("service", "defaultServiceExportTo"),
        ("virtual_service", "defaultVirtualServiceExportTo"),
        ("destination_rule", "defaultDestinationRuleExportTo"),
    ];
    for (ours, theirs) in exports {
        spec.extend(of["default_export_to"].get(ours).map(|value| (theirs.to_owned(), value.clone())));
    }
    (!spec.is_empty()).then(|| {
        json!({"apiVersion": "proxyless.mesh/v1alpha1", "kind": "MeshSettings", "metadata": {"name": "mesh"}, "spec": spec})
    })
}
