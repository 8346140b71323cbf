//! Who is asked first by callers of a locality, which setting says so, and what a `retries` block means.

use std::collections::BTreeMap;
use std::sync::Arc;

use control_plane::document::DestinationRule;
use control_plane::explain::Explainer;
use control_plane::model::{Caller, Config, View, World};
use control_plane::translate::name::ClusterName;
use control_plane::translate::translate;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::{RetryPolicy, RouteConfiguration};
use mesh_core::locality::Preference;
use mesh_core::resource::ResourceType;
use prost::Message;
use serde_json::{Map, Value, json};

use super::{Outcome, Tally, ask, cases, folder, items, outcome, read, same, source, text};

#[test]
fn the_nearest_are_asked_and_what_is_safe_is_retried() {
    let Some(folder) = folder("istio-locality-retry") else { return };
    let corpus = cases(folder.join("cases.yaml"));
    let mut tally = Tally::new("istio-locality-retry");
    let sections: [(&str, Check); 5] = [
        ("locality", standings),
        ("failover_priority", standings),
        ("effective_setting", effective),
        ("outbound_retry", outbound_retry),
        ("inbound_retry", inbound_retry),
    ];
    for (section, check) in sections {
        for case in items(&corpus, section) {
            tally.case(&format!("{section} {}", text(case, "name")), outcome(check(case)));
        }
    }
    tally.finish(19);
}

type Check = fn(&Value) -> Result<(), Outcome>;

/// A service with these endpoints.
fn entry(endpoints: Vec<Value>, annotations: Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"name": "called", "annotations": annotations},
        "spec": {
            "hosts": [HOST], "location": "MESH_INTERNAL", "resolution": "STATIC",
            "ports": [{"number": 80, "name": "http"}], "endpoints": endpoints,
        },
    })
}

fn rule(policy: Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "called"},
        "spec": {"host": HOST, "trafficPolicy": policy},
    })
}

/// The priority or the weight of every endpoint, as `explain` has it.
fn standings(case: &Value) -> Result<(), Outcome> {
    let mut policy = Map::new();
    policy.insert("loadBalancer".to_owned(), json!({"localityLbSetting": case["localityLbSetting"]}));
    if case.get("outlierDetection").is_some() {
        // An empty block says nothing, as does one with a default.
        policy.insert("outlierDetection".to_owned(), json!({"consecutive5xxErrors": 5}));
    }
    // Cases call endpoints by letters, and documents by addresses.
    let places: BTreeMap<String, &str> = items(case, "endpoints")
        .iter()
        .enumerate()
        .map(|(at, endpoint)| (format!("10.0.0.{}:80", at + 1), text(endpoint, "address")))
        .collect();
    let endpoints = items(case, "endpoints").iter().enumerate().map(|(at, endpoint)| {
        let mut written = endpoint.clone();
        written["address"] = json!(format!("10.0.0.{}", at + 1));
        written
    });
    let documents = [entry(endpoints.collect(), json!({})), rule(policy.into())];
    let labels = case.get("client_labels").cloned().unwrap_or(json!({}));
    let from = json!({"locality": case["client_locality"], "labels": labels});
    let mut explainer = Explainer::offline(read(&[source(&documents)])?);
    let decision = ask(&mut explainer, json!({"url": format!("http://{HOST}/"), "from": from}))?;
    let seen = &decision.destinations[0].endpoints;
    let found = |address: &str| {
        let of = |one: &&control_plane::explain::EndpointSeen| {
            places.get(one.address.as_deref().unwrap_or_default()) == Some(&address)
        };
        seen.iter().find(of)
    };
    for (address, priority) in case["expect_priority"].as_object().into_iter().flatten() {
        let priority = priority.as_u64();
        same(address, found(address).map(|endpoint| u64::from(endpoint.priority)), priority)?;
    }
    for (address, weight) in case["expect_weight"].as_object().into_iter().flatten() {
        // A locality's weight is its endpoints' together.
        let weighed = found(address).map_or(0, |endpoint| {
            let beside = seen.iter().filter(|other| other.locality == endpoint.locality);
            let all: u32 = beside.map(|other| other.weight).sum();
            endpoint.locality_weight.unwrap_or_default() * endpoint.weight / all
        });
        same(address, Some(u64::from(weighed)), weight.as_u64())?;
    }
    Ok(())
}

/// Which setting holds, and whether requests fail over though nothing detects outliers.
fn effective(case: &Value) -> Result<(), Outcome> {
    let mut settings = Map::new();
    // A mesh of which nothing is said has one that is enabled; where a case has none, there is none.
    settings.insert("localityLbSetting".to_owned(), json!({"enabled": false}));
    let mut balancer = Map::new();
    let mut annotations = Map::new();
    for (key, value) in case.as_object().into_iter().flatten() {
        match key.split_once('_') {
            Some(("mesh", setting)) => drop(settings.insert(setting.to_owned(), value.clone())),
            Some(("service", "trafficDistribution")) => {
                annotations.insert("networking.istio.io/traffic-distribution".to_owned(), value.clone());
            }
            Some((_, setting)) if setting.ends_with("LbSetting") => {
                balancer.insert(setting.to_owned(), value.clone());
            }
            _ if ["name", "expect"].contains(&key.as_str()) => {}
            _ => return Err(Outcome::Wrong(format!("`{key}` is not understood"))),
        }
    }
    let mesh = json!({
        "apiVersion": "proxyless.mesh/v1alpha1", "kind": "MeshSettings", "metadata": {"name": "mesh"}, "spec": settings,
    });
    let mut documents = vec![entry(Vec::new(), annotations.into()), mesh];
    if !balancer.is_empty() {
        documents.push(rule(json!({"loadBalancer": balancer})));
    }
    let world = World::offline(Arc::new(Config::new(&read(&[source(&documents)])?)));
    let caller = caller();
    let name = ClusterName::parse(&format!("outbound|80||{HOST}"))
        .map(|name| world.subset(&View::new(&caller), &name));
    let subset = name.flatten().ok_or_else(|| Outcome::Wrong("the service is not known".to_owned()))?;
    let found = subset.preference(&world);
    let expect = &case["expect"];
    let expected = ["localityLbSetting", "zoneAwareLbSetting"].iter().find_map(|name| {
        let setting = &expect[*name];
        // One that is not enabled is none.
        (setting.is_object() && setting["enabled"] != json!(false)).then(|| setting_of(name, setting))
    });
    same("the setting", found.map(|(setting, _)| setting.clone()), expected.transpose()?)?;
    let fails_over = found.is_some_and(|(_, fails_over)| fails_over);
    same("failing over", Some(fails_over), expect["failover_without_outlierDetection"].as_bool())?;
    let zones = matches!(found, Some((Preference::ZoneAware(_), _)));
    same("going by zones", Some(zones), expect["zone_routing_enabled"].as_bool())
}

/// A setting as a rule would say it.
fn setting_of(name: &str, setting: &Value) -> Result<Preference, Outcome> {
    let documents = read(&[source(&[rule(json!({"loadBalancer": {name: setting}}))])])?;
    let rules = documents.all::<DestinationRule>();
    let policy = rules.first().and_then(|(_, rule)| rule.traffic_policy.clone());
    let preference = policy.and_then(|policy| policy.blocks.load_balancer?.preference);
    preference.ok_or_else(|| Outcome::Wrong(format!("`{name}` says nothing")))
}

/// The retry policy of a route, as clients get it.
fn outbound_retry(case: &Value) -> Result<(), Outcome> {
    let route = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "called"},
        "spec": {"hosts": [HOST], "http": [{"retries": case["retries"], "route": [{"destination": {"host": HOST}}]}]},
    });
    let mut documents = vec![entry(vec![json!({"address": "10.0.0.1"})], json!({})), route];
    if case["consistent_hash"] == json!(true) {
        documents.push(rule(json!({"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}})));
    }
    let world = World::offline(Arc::new(Config::new(&read(&[source(&documents)])?)));
    let name = format!("{HOST}:80");
    let routes = translate(&world, &caller(), ResourceType::RouteConfiguration, &name).message;
    let routes =
        routes.and_then(|routes| RouteConfiguration::decode(&*routes.value).ok()).unwrap_or_default();
    let route = routes.virtual_hosts.first().and_then(|host| host.routes.first());
    let Some(Action::Route(action)) = route.and_then(|route| route.action.clone()) else {
        return Err(Outcome::Wrong("there is no route".to_owned()));
    };
    let expect = &case["expect"];
    same("a retry policy", action.retry_policy.is_some(), expect.is_object())?;
    let policy = action.retry_policy.unwrap_or_default();
    let found = |key: &str| match key {
        "retryOn" => Ok(json!(policy.retry_on)),
        "statusCodes" => Ok(json!(policy.retriable_status_codes)),
        "attempts" => Ok(json!(attempts(&policy))),
        "avoid_previous_hosts" => Ok(json!(!policy.retry_host_predicate.is_empty())),
        _ => Err(Outcome::Wrong(format!("`{key}` is not understood"))),
    };
    expect
        .as_object()
        .into_iter()
        .flatten()
        .try_for_each(|(key, value)| same(key, found(key)?, value.clone()))
}

fn attempts(policy: &RetryPolicy) -> u32 {
    policy.num_retries.map_or(1, |attempts| attempts.value)
}

/// There is nobody between a server of the mesh and its application who could ask again.
fn inbound_retry(_: &Value) -> Result<(), Outcome> {
    Err(Outcome::Wrong("nobody retries".to_owned()))
}

fn caller() -> Caller {
    Caller { namespace: "default".into(), ..Caller::default() }
}

const HOST: &str = "called.example.com";
