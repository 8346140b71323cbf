//! Random tables of rules, as the documents that say them and as the list that the reference walks.

use std::cmp::Reverse;
use std::sync::Arc;

use control_plane::document::{DocumentSet, Severity, Source};
use control_plane::model::{Caller, Config, World};
use control_plane::translate::translate;
use fastrand::Rng;
use mesh_core::resource::{Resource, ResourceType, parse};
use mesh_core::route::RouteTable;
use serde_json::{Value, json};

use super::condition::{Comparison, Condition, Path};
use super::expression::Expression;
use super::request::{AUTHORITIES, METHODS, NAMES, PARAMETERS, Request, SCHEMES, path_text};

/// Rules in the order in which they are asked.
#[derive(Debug)]
pub(super) struct Table {
    /// Document and rule, and one of the rule's alternatives.
    pub(super) rules: Vec<(String, Condition)>,
    documents: Vec<Value>,
}

impl Table {
    /// A VirtualService, or HTTPRoutes that merge.
    pub(super) fn random(random: &mut Rng) -> Self {
        let size = match random.u8(0..100) {
            0..80 => random.usize(1..12),
            80..99 => random.usize(12..60),
            _ => random.usize(60..200),
        };
        if random.bool() { Self::of_istio(random, size) } else { Self::of_gateway_api(random, size) }
    }

    /// The rule that takes the request: the first that matches, asked one after the other.
    pub(super) fn decide(&self, request: &Request) -> Option<&(String, Condition)> {
        self.rules.iter().find(|(_, condition)| condition.takes(request))
    }

    /// The same rules the long way round: read, translated, encoded, decoded, compiled.
    pub(super) fn compiled(&self) -> Arc<RouteTable> {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "reviews"},
            "spec": {"ports": [{"name": "http", "port": 9080}]}});
        let documents = [&service].into_iter().chain(&self.documents).map(Value::to_string);
        let text = documents.collect::<Vec<_>>().join("\n---\n");
        let reading = DocumentSet::read(&[Source::file("random.yaml", text.as_str())]);
        for report in &reading.reports {
            let errors: Vec<_> =
                report.findings.iter().filter(|finding| finding.code.severity() == Severity::Error).collect();
            assert!(errors.is_empty(), "{errors:#?}\n{text}");
        }
        let world = World::offline(Arc::new(Config::new(&reading.documents)));
        let caller = Caller { namespace: "default".into(), ..Caller::default() };
        let name = "reviews.default.svc.cluster.local:9080";
        let message =
            translate(&world, &caller, ResourceType::RouteConfiguration, name).message.expect("routes");
        match parse(ResourceType::RouteConfiguration, &message.value).expect("is parsed") {
            Resource::RouteConfiguration(routes) => Arc::clone(&routes.routes),
            other => panic!("{other:?}"),
        }
    }

    fn of_istio(random: &mut Rng, size: usize) -> Self {
        let mut rules = Vec::new();
        let mut http = Vec::new();
        for index in 0..size {
            let entries: Vec<Condition> =
                (0..random.usize(1..3)).map(|_| rarely_everything(random, of_istio)).collect();
            let matches: Vec<Value> = entries.iter().map(in_istio).collect();
            http.push(json!({"match": matches, "directResponse": {"status": 200}}));
            let named =
                entries.into_iter().map(|entry| (format!("VirtualService/default/r http[{index}]"), entry));
            rules.extend(named);
        }
        let document = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "r"}, "spec": {"hosts": ["reviews"], "http": http}});
        Self { rules, documents: vec![document] }
    }

    fn of_gateway_api(random: &mut Rng, size: usize) -> Self {
        let (mut rules, mut documents) = (Vec::new(), Vec::new());
        // The oldest comes first, and its name last, so that age and not the alphabet must have decided.
        for (place, of_route) in shares(size, 16).into_iter().enumerate() {
            let name = format!("r{:02}", 99 - place);
            let mut written = Vec::new();
            for index in 0..of_route {
                let entries: Vec<Condition> =
                    (0..random.usize(1..3)).map(|_| rarely_everything(random, of_gateway_api)).collect();
                let matches: Vec<Value> = entries.iter().map(in_gateway_api).collect();
                written.push(json!({"matches": matches, "backendRefs": [{"name": "reviews", "port": 9080}]}));
                let named = entries.into_iter();
                rules.extend(named.map(|entry| (format!("HTTPRoute/default/{name} rules[{index}]"), entry)));
            }
            documents.push(json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
                "metadata": {"name": name},
                "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "reviews"}], "rules": written}}));
        }
        rules.sort_by_key(|(_, condition)| precedence(condition));
        Self { rules, documents }
    }
}

fn shares(size: usize, most: usize) -> Vec<usize> {
    let whole = std::iter::repeat_n(most, size / most);
    whole.chain(Some(size % most)).filter(|share| *share > 0).collect()
}

/// Exact path, expression (which the specification leaves open), longest prefix; method, most headers, most parameters.
fn precedence(condition: &Condition) -> impl Ord + use<> {
    let path = match &condition.path {
        Some(Path::Exact(path)) => (0, Reverse(path.len())),
        Some(Path::Regex(expression)) => (1, Reverse(expression.source().len())),
        Some(Path::Segments(path) | Path::Prefix(path)) => (2, Reverse(path.trim_end_matches('/').len())),
        None => (2, Reverse(0)),
    };
    let method = condition.headers.iter().any(|(name, _)| *name == ":method");
    let headers = condition.headers.iter().filter(|(name, _)| *name != ":method").count();
    (path, Reverse(method), Reverse(headers), Reverse(condition.query.len()))
}

/// What matches everything would leave little to the rules behind it.
fn rarely_everything(random: &mut Rng, condition: fn(&mut Rng) -> Condition) -> Condition {
    let drawn = condition(random);
    let few = drawn.headers.len() + drawn.without_headers.len() + drawn.query.len() == 0;
    let everything = match &drawn.path {
        None => few,
        Some(Path::Prefix(path) | Path::Segments(path)) => few && path == "/",
        Some(_) => false,
    };
    if everything && random.u8(0..16) > 0 { rarely_everything(random, condition) } else { drawn }
}

fn of_istio(random: &mut Rng) -> Condition {
    let path = match random.u8(0..10) {
        0 => None,
        1..4 => Some(Path::Exact(raw_path(random))),
        4..7 => Some(Path::Prefix(raw_path(random))),
        _ => Some(Path::Regex(Expression::path(random))),
    };
    let mut condition = Condition { path, ignore_case: random.u8(0..3) == 0, ..Condition::default() };
    if random.u8(0..3) > 0 {
        return condition;
    }
    let pseudo = [(":method", &METHODS[..]), (":scheme", &SCHEMES), (":authority", &AUTHORITIES)];
    for (name, texts) in pseudo {
        if random.u8(0..4) == 0 {
            condition.headers.push((name, of_few(random, texts)));
        }
    }
    if random.u8(0..8) == 0 {
        condition.headers.push((":path", Comparison::Prefix(path_text(random))));
    }
    for name in NAMES {
        match random.u8(0..8) {
            0 | 1 => condition.headers.push((name, comparison(random))),
            2 => condition.without_headers.push((name, comparison(random))),
            _ => {}
        }
    }
    for name in PARAMETERS {
        if random.u8(0..6) == 0 {
            condition.query.push((name, comparison(random)));
        }
    }
    condition
}

fn of_gateway_api(random: &mut Rng) -> Condition {
    let path = match random.u8(0..10) {
        0 => None,
        1..4 => Some(Path::Exact(gateway_path(random))),
        4..8 => Some(Path::Segments(gateway_path(random))),
        _ => Some(Path::Regex(Expression::path(random))),
    };
    let mut condition = Condition { path, ..Condition::default() };
    let exact_or_regex = |random: &mut Rng| match comparison(random) {
        Comparison::Regex(expression) => Comparison::Regex(expression),
        _ => Comparison::Exact(random.choice(["a", "b1", "1"]).expect("there are some").to_owned()),
    };
    if random.u8(0..4) == 0 {
        let method = random.choice(&METHODS[..3]).expect("there are some");
        condition.headers.push((":method", Comparison::Exact((*method).to_owned())));
    }
    for name in NAMES {
        if random.u8(0..8) == 0 {
            condition.headers.push((name, exact_or_regex(random)));
        }
    }
    for name in PARAMETERS {
        if random.u8(0..8) == 0 {
            condition.query.push((name, exact_or_regex(random)));
        }
    }
    condition
}

/// A path as a VirtualService may have it: nothing says that it begins with `/`.
fn raw_path(random: &mut Rng) -> String {
    if random.u8(0..32) == 0 { "a".to_owned() } else { path_text(random) }
}

/// The Gateway API has no `//`.
fn gateway_path(random: &mut Rng) -> String {
    let mut path = path_text(random);
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    path
}

fn comparison(random: &mut Rng) -> Comparison {
    let text = |random: &mut Rng| random.choice(["a", "b1", "1", "b"]).expect("there are some").to_owned();
    match random.u8(0..8) {
        0 => Comparison::Present,
        1..4 => Comparison::Exact(text(random)),
        4 => Comparison::Exact(String::new()),
        5 => Comparison::Prefix(text(random)),
        _ => Comparison::Regex(Expression::random(random, 3)),
    }
}

fn of_few(random: &mut Rng, texts: &[&str]) -> Comparison {
    let text = *random.choice(texts).expect("there are some");
    match random.u8(0..4) {
        0 => Comparison::Prefix(text[..1].to_owned()),
        1 => Comparison::Regex(Expression::one_of(&[text, "a"])),
        _ => Comparison::Exact(text.to_owned()),
    }
}

/// One entry of `http[].match`.
fn in_istio(condition: &Condition) -> Value {
    let string = |comparison: &Comparison| match comparison {
        Comparison::Present => json!({}),
        Comparison::Exact(text) => json!({"exact": text}),
        Comparison::Prefix(text) => json!({"prefix": text}),
        Comparison::Regex(expression) => json!({"regex": expression.source()}),
    };
    let named = |all: &[(&'static str, Comparison)]| -> Value {
        all.iter().map(|(name, comparison)| ((*name).to_owned(), string(comparison))).collect()
    };
    let mut entry = json!({});
    entry["uri"] = match &condition.path {
        None => Value::Null,
        Some(Path::Exact(text)) => json!({"exact": text}),
        Some(Path::Prefix(text) | Path::Segments(text)) => json!({"prefix": text}),
        Some(Path::Regex(expression)) => json!({"regex": expression.source()}),
    };
    entry["ignoreUriCase"] = condition.ignore_case.into();
    // These have fields of their own; `:path` has none.
    let own = |name: &str| [":method", ":scheme", ":authority"].contains(&name);
    for (name, comparison) in condition.headers.iter().filter(|(name, _)| own(name)) {
        entry[&name[1..]] = string(comparison);
    }
    let others: Vec<_> = condition.headers.iter().filter(|(name, _)| !own(name)).cloned().collect();
    entry["headers"] = named(&others);
    entry["withoutHeaders"] = named(&condition.without_headers);
    entry["queryParams"] = named(&condition.query);
    entry.as_object_mut().expect("an object").retain(|_, value| !value.is_null() && *value != json!({}));
    entry
}

/// One entry of `rules[].matches`.
fn in_gateway_api(condition: &Condition) -> Value {
    let (kind, value) = match &condition.path {
        None => ("PathPrefix", "/".to_owned()),
        Some(Path::Exact(text)) => ("Exact", text.clone()),
        Some(Path::Prefix(text) | Path::Segments(text)) => ("PathPrefix", text.clone()),
        Some(Path::Regex(expression)) => ("RegularExpression", expression.source()),
    };
    let named = |(name, comparison): &(&str, Comparison)| match comparison {
        Comparison::Regex(expression) => {
            json!({"name": name, "type": "RegularExpression", "value": expression.source()})
        }
        Comparison::Exact(text) => json!({"name": name, "type": "Exact", "value": text}),
        other => unreachable!("the Gateway API has no {other:?}"),
    };
    let (methods, headers): (Vec<_>, Vec<_>) =
        condition.headers.iter().partition(|(name, _)| *name == ":method");
    let mut entry = json!({"path": {"type": kind, "value": value}});
    if let [(_, Comparison::Exact(method))] = &methods[..] {
        entry["method"] = json!(method);
    }
    entry["headers"] = headers.into_iter().map(named).collect();
    entry["queryParams"] = condition.query.iter().map(named).collect();
    entry
}
