//! From documents to the model: names completed, services and workloads made of the kinds that declare them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mesh_core::locality::{NETWORK, Preference};
use mesh_core::resource::{DnsAddresses, Health};

use super::delegate::Delegates;
use super::destination_rule::Rule;
use super::{
    Config, Declared, Labels, Listening, Origin, Protocol, Routing, Service, ServicePort, TargetPort,
    Visibility, Workload, host,
};
use crate::document::{
    self, ContainerPort, Deployment, Document, DocumentSet, EndpointSlice, GrpcRoute, HttpRoute, Location,
    MeshSettings, Resolution, SERVICE_NAME_LABEL, ServiceEntry, SliceEndpoint, SpecOf, WorkloadEntry,
};

impl Config {
    /// What documents say, under the settings among them or else the defaults.
    pub fn new(documents: &DocumentSet) -> Self {
        Self::with_settings(documents, settings(documents))
    }

    /// What documents say in a mesh of this trust domain, whatever they say of it.
    pub fn within(trust_domain: &str, documents: &DocumentSet) -> Self {
        let settings = MeshSettings { trust_domain: trust_domain.to_owned(), ..settings(documents) };
        Self::with_settings(documents, settings)
    }

    /// What documents say under other settings than theirs.
    pub fn with_settings(documents: &DocumentSet, settings: MeshSettings) -> Self {
        let virtual_services = declared(documents);
        let delegates = Delegates::of(&virtual_services, &settings);
        let routings =
            virtual_services.iter().filter_map(|one| Routing::new(one, &delegates, &settings)).collect();
        let rules = declared(documents).into_iter().map(|one| Rule::new(one, &settings));
        let mut config = Self {
            routings,
            destination_rules: rules.collect(),
            gateway_routes: gateway_routes(documents),
            reference_grants: declared(documents),
            peer_authentications: declared(documents),
            authorization_policies: declared(documents),
            workloads: workloads(documents),
            settings,
            ..Self::default()
        };
        let services = documents.all::<document::Service>().into_iter();
        let services =
            services.map(|(document, spec)| kubernetes(document, spec, documents, &config.settings));
        let entries = documents.all::<ServiceEntry>().into_iter();
        let entries = entries.flat_map(|(document, spec)| entry(document, spec, &config.settings));
        for service in services.chain(entries).collect::<Vec<_>>() {
            if service.host.starts_with('*') {
                config.wildcard_services.push(service);
            } else {
                config.services.entry(service.host.clone()).or_default().push(service);
            }
        }
        config
    }
}

/// The settings among the documents, or else the defaults.
fn settings(documents: &DocumentSet) -> MeshSettings {
    documents.all::<MeshSettings>().first().map(|(_, settings)| (*settings).clone()).unwrap_or_default()
}

fn declared<T: SpecOf + Clone>(documents: &DocumentSet) -> Vec<Declared<T>> {
    documents.all::<T>().into_iter().map(|(document, spec)| declare(document, spec.clone())).collect()
}

fn declare<T>(document: &Document, spec: T) -> Declared<T> {
    Declared {
        id: document.key.to_string().into(),
        namespace: document.key.namespace.as_str().into(),
        file: document.file.clone(),
        sticky: document.metadata.sticky.clone(),
        spec: Arc::new(spec),
    }
}

/// HTTPRoutes and GRPCRoutes by age, for they merge.
fn gateway_routes(documents: &DocumentSet) -> Vec<Declared<HttpRoute>> {
    let http = documents.all::<HttpRoute>().into_iter();
    let grpc = documents.all::<GrpcRoute>().into_iter().map(|(document, route)| (document, &route.0));
    let mut all: Vec<_> = http.chain(grpc).collect();
    all.sort_by(|(left, _), (right, _)| left.age.cmp(&right.age));
    all.into_iter().map(|(document, route)| declare(document, route.clone())).collect()
}

fn kubernetes(
    document: &Document,
    spec: &document::Service,
    documents: &DocumentSet,
    settings: &MeshSettings,
) -> Service {
    let namespace = &document.key.namespace;
    let ports = spec.ports.iter().filter(|port| port.tcp).map(|port| ServicePort {
        number: port.port,
        name: port.name.clone(),
        protocol: Protocol::of(port.app_protocol.as_deref(), &port.name),
        target: match &port.target_port {
            None => TargetPort::Same,
            Some(document::TargetPort::Number(number)) => TargetPort::Number(*number),
            Some(document::TargetPort::Name(name)) => TargetPort::Name(name.clone()),
        },
    });
    let inline = sliced(document, spec, documents);
    // Who lists endpoints has selected already; a Deployment selected beside them would count twice.
    let selects = !spec.selector.is_empty() && inline.is_empty();
    Service {
        host: host::service_host(&document.key.name, namespace).into(),
        namespace: namespace.as_str().into(),
        origin: Origin::Kubernetes,
        ports: ports.collect(),
        selector: selects.then(|| spec.selector.clone()),
        inline,
        by_host: false,
        addresses: DnsAddresses::All,
        subject_alt_names: Vec::new(),
        health_check: None,
        entry: None,
        preference: spec.preference.clone().or_else(|| distribution(document)),
        visibility: Visibility::new(&exported_to(document), namespace, &settings.default_export_to.service),
    }
}

/// Istio's annotation for those that have no `trafficDistribution`.
fn distribution(document: &Document) -> Option<Preference> {
    let word = document.metadata.annotations.get("networking.istio.io/traffic-distribution");
    word.and_then(|word| document::traffic_distribution(word))
}

/// Istio's annotation for Services, which have no field for it.
fn exported_to(document: &Document) -> Vec<String> {
    let listed = document.metadata.annotations.get("networking.istio.io/exportTo");
    let names = listed.into_iter().flat_map(|listed| listed.split(','));
    names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// The endpoints that slices list for a service.
fn sliced(service: &Document, spec: &document::Service, documents: &DocumentSet) -> Vec<Workload> {
    let slices = documents.all::<EndpointSlice>().into_iter().filter(|(slice, _)| {
        slice.key.namespace == service.key.namespace
            && slice.metadata.labels.get(SERVICE_NAME_LABEL) == Some(&service.key.name)
    });
    let listed = slices.flat_map(|(_, slice)| slice.endpoints.iter().map(move |endpoint| (slice, endpoint)));
    listed.filter_map(|(slice, endpoint)| slice_endpoint(service, spec, documents, slice, endpoint)).collect()
}

fn slice_endpoint(
    service: &Document,
    spec: &document::Service,
    documents: &DocumentSet,
    slice: &EndpointSlice,
    endpoint: &SliceEndpoint,
) -> Option<Workload> {
    let address = endpoint.addresses.first()?;
    let ip = address.parse().ok()?;
    let namespace: Arc<str> = service.key.namespace.as_str().into();
    // A pod is called after its Deployment, whose labels and account it has.
    let pod = endpoint.pod.as_deref().unwrap_or_default();
    let of_pod = |(deployment, _): &(&Arc<Document>, &Deployment)| {
        deployment.key.namespace == service.key.namespace
            && pod.strip_prefix(&deployment.key.name).is_some_and(|rest| rest.starts_with('-'))
    };
    let deployments = documents.all::<Deployment>().into_iter().filter(of_pod);
    let owner = deployments.max_by_key(|(deployment, _)| deployment.key.name.len());
    let (name, account, labels) = match owner {
        Some((document, deployment)) => {
            (document.key.name.as_str(), account(deployment).into(), deployment.labels.clone())
        }
        None => (endpoint.pod.as_deref().unwrap_or(address), None, spec.selector.clone()),
    };
    let ports = slice.ports.iter().map(|port| (port.name.clone().unwrap_or_default(), port.port)).collect();
    Some(Workload {
        name: name.into(),
        namespace,
        service_account: account,
        labels: Arc::new(labels),
        listening: Listening::Address { ip, ports },
        locality: endpoint.zone.as_deref().map(|zone| format!("/{zone}").into()),
        weight: 1,
        health: if endpoint.ready { Health::Healthy } else { Health::Unhealthy },
        in_mesh: true,
    })
}

fn entry(document: &Document, spec: &ServiceEntry, settings: &MeshSettings) -> Vec<Service> {
    let namespace = &document.key.namespace;
    let ports: Vec<ServicePort> = spec
        .ports
        .iter()
        .map(|port| ServicePort {
            number: port.number,
            name: port.name.clone(),
            protocol: Protocol::of(Some(&*port.protocol).filter(|protocol| !protocol.is_empty()), &port.name),
            target: port.target_port.map_or(TargetPort::Same, TargetPort::Number),
        })
        .collect();
    let inline: Vec<Workload> = spec
        .endpoints
        .iter()
        .enumerate()
        .filter_map(|(index, endpoint)| {
            workload(&format!("{}-{index}", document.key.name), namespace, endpoint, &endpoint.labels)
        })
        .collect();
    let service = |host: &str| Service {
        host: host.to_ascii_lowercase().into(),
        namespace: namespace.as_str().into(),
        origin: match spec.location {
            Location::Internal => Origin::Internal,
            Location::External => Origin::External,
        },
        ports: ports.clone(),
        // Of NONE the host that is called says all.
        selector: spec.workload_selector.clone().filter(|_| spec.resolution != Resolution::None),
        inline: inline.clone(),
        by_host: spec.resolution != Resolution::Static
            && spec.endpoints.is_empty()
            && (spec.workload_selector.is_none() || spec.resolution == Resolution::None),
        addresses: match spec.resolution {
            Resolution::DnsRoundRobin => DnsAddresses::First,
            _ => DnsAddresses::All,
        },
        subject_alt_names: spec.subject_alt_names.clone(),
        health_check: document.metadata.health_check.clone(),
        entry: Some(document.key.name.as_str().into()),
        preference: distribution(document),
        visibility: Visibility::new(&spec.export_to, namespace, &settings.default_export_to.service),
    };
    spec.hosts.iter().map(|host| service(&host.value)).collect()
}

fn workloads(documents: &DocumentSet) -> Vec<Workload> {
    let entries = documents.all::<WorkloadEntry>().into_iter();
    let entries = entries.filter_map(|(document, spec)| {
        // The document's own labels are the workload's too, and prevail.
        let mut labels = spec.labels.clone();
        labels.extend(document.metadata.labels.clone());
        workload(&document.key.name, &document.key.namespace, spec, &labels)
    });
    let deployments = documents.all::<Deployment>().into_iter().map(|(document, deployment)| Workload {
        name: document.key.name.as_str().into(),
        namespace: document.key.namespace.as_str().into(),
        service_account: Some(account(deployment)),
        labels: Arc::new(deployment.labels.clone()),
        listening: Listening::Untold { ports: named(&deployment.ports) },
        locality: None,
        weight: 1,
        health: Health::Healthy,
        in_mesh: true,
    });
    entries.chain(deployments).collect()
}

/// An endpoint at an IP address or a name; one without either is refused with its document.
fn workload(name: &str, namespace: &str, entry: &WorkloadEntry, labels: &Labels) -> Option<Workload> {
    let ports = entry.ports.clone();
    let pipe = entry.address.strip_prefix("unix://").map(|path| Listening::Pipe(Path::new(path).into()));
    let listening = match entry.address.parse() {
        Ok(ip) => Listening::Address { ip, ports },
        Err(_) if pipe.is_some() => pipe?,
        Err(_) if entry.address.is_empty() || entry.address.contains('/') => return None,
        Err(_) => {
            Listening::Name { name: entry.address.trim_end_matches('.').to_ascii_lowercase().into(), ports }
        }
    };
    let mut labels = labels.clone();
    if let Some(network) = &entry.network {
        labels.entry(NETWORK.to_owned()).or_insert_with(|| network.clone());
    }
    // Istio's own label says it; without it, an endpoint whose account is known can be held to its identity.
    let in_mesh = match labels.get("security.istio.io/tlsMode") {
        Some(mode) => mode == "istio",
        None => entry.service_account.is_some(),
    };
    Some(Workload {
        name: name.into(),
        namespace: namespace.into(),
        service_account: entry.service_account.as_deref().map(Into::into),
        labels: Arc::new(labels),
        listening,
        locality: entry.locality.as_deref().map(Into::into),
        weight: entry.weight.unwrap_or(1),
        health: Health::Healthy,
        in_mesh,
    })
}

fn account(deployment: &Deployment) -> Arc<str> {
    deployment.service_account.as_deref().unwrap_or("default").into()
}

fn named(ports: &[ContainerPort]) -> BTreeMap<String, u16> {
    ports.iter().filter_map(|port| Some((port.name.clone()?, port.port))).collect()
}
