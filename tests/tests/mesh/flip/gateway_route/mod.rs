//! HTTPRoute and GRPCRoute: what they have in common.

mod filter;
mod http;

use control_plane::document::Kind;

use super::ask::{Ask, See, get, grpc};
use super::case::{Case, case, document, named};

/// A kind of route, and how its requests are made.
#[derive(Debug, Clone, Copy)]
struct Form {
    kind: Kind,
    ask: fn() -> Ask,
}

const HTTP: Form = Form { kind: Kind::HttpRoute, ask: || get("/") };
const GRPC: Form = Form { kind: Kind::GrpcRoute, ask: || grpc("/a.A/B") };

/// What routes of these cases go from, and to.
const PARENT: &str = "parentRefs: [{group: '', kind: Service, name: one}]";
const ONE: &str = "backendRefs: [{name: one, port: 9080}]";
const TWO: &str = "backendRefs: [{name: two, port: 9080}]";

pub(super) fn http_cases() -> Vec<Case> {
    let mut cases = HTTP.cases();
    cases.extend(http::cases());
    cases
}

pub(super) fn grpc_cases() -> Vec<Case> {
    let row = |field: &str, part: &str, path: &str| {
        let ask = grpc(path);
        let field = format!("rules[].matches[].method.{field}");
        case(field, GRPC.matching(&format!("method: {{{part}}}")), ask, "one", "two")
    };
    let mut cases = GRPC.cases();
    cases.extend([
        row("type", "type: <<RegularExpression -> Exact>>, service: a.A", "/axA/B"),
        row("service", "service: <<a -> b>>.A", "/a.A/B"),
        row("method", "method: <<B -> C>>", "/a.A/B"),
    ]);
    cases
}

pub(super) fn reference_grants() -> Vec<Case> {
    let row = |field: &str, from: &str, to: &str| {
        let grant = named("ReferenceGrant", "far/case", &format!("from: [{{{from}}}], to: [{{{to}}}]"));
        let route = HTTP.rule("backendRefs: [{name: far, namespace: far, port: 9080}]");
        case(field, format!("{route}{grant}"), get("/"), "far", "500")
    };
    let from = "group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default";
    let to = "group: '', kind: Service";
    vec![
        row(
            "from[].group",
            "group: <<gateway.networking.k8s.io -> other.example>>, kind: HTTPRoute, namespace: default",
            to,
        ),
        row(
            "from[].kind",
            "group: gateway.networking.k8s.io, kind: <<HTTPRoute -> GRPCRoute>>, namespace: default",
            to,
        ),
        row(
            "from[].namespace",
            "group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: <<default -> other>>",
            to,
        ),
        row("to[].group", from, "group: <<'' -> other.example>>, kind: Service"),
        row("to[].kind", from, "group: '', kind: <<Service -> Other>>"),
        row("to[].name", from, "group: '', kind: Service, name: <<far -> near>>"),
    ]
}

impl Form {
    fn document(self, spec: &str) -> String {
        document(self.kind.name(), spec)
    }

    /// A route of `one` with a single rule.
    fn rule(self, rule: &str) -> String {
        self.document(&format!("{PARENT}, rules: [{{{rule}}}]"))
    }

    /// A rule with these matches leads to `one`, any other request to `two`.
    fn matching(self, matches: &str) -> String {
        self.document(&format!("{PARENT}, rules: [{{matches: [{{{matches}}}], {ONE}}}, {{{TWO}}}]"))
    }

    /// A grant by namespace `far`, for this kind.
    fn grant(self) -> String {
        let from =
            format!("group: gateway.networking.k8s.io, kind: {}, namespace: default", self.kind.name());
        named(
            "ReferenceGrant",
            "far/case",
            &format!("from: [{{{from}}}], to: [{{group: '', kind: Service}}]"),
        )
    }

    fn cases(self) -> Vec<Case> {
        let mut cases = self.parents();
        cases.extend(self.headers());
        cases.extend(self.backends());
        cases.extend(self.sessions());
        cases.extend(filter::cases(self));
        cases
    }

    fn parents(self) -> Vec<Case> {
        let row = |field: &str, part: &str, more: &str, ask: Ask| {
            let backend = "backendRefs: [{name: copy, port: 9080}]";
            let parent = format!("parentRefs: [{{group: '', kind: Service, {part}}}]");
            let documents = format!("{}{more}", self.document(&format!("{parent}, rules: [{{{backend}}}]")));
            case(format!("parentRefs[].{field}"), documents, ask, "copy", "one")
        };
        let ports = "ports: [{name: http-a, port: 9080}, {name: http-b, port: 9090}]";
        let service = named("Service", "some", &format!("selector: {{app: one}}, {ports}"));
        let by_name = (self.ask)().at("some:9080");
        vec![
            row("name", "name: <<one -> two>>", "", (self.ask)()),
            row("namespace", "name: one, namespace: <<default -> far>>", "", (self.ask)()),
            row("port", "name: one, port: <<9080 -> 9090>>", "", (self.ask)()),
            row("sectionName", "name: some, sectionName: <<http-a -> http-b>>", &service, by_name),
        ]
    }

    fn headers(self) -> Vec<Case> {
        let row = |field: &str, part: &str| {
            let ask = (self.ask)().header("x-a", "abc");
            let documents = self.matching(&format!("headers: [{{{part}}}]"));
            case(format!("rules[].matches[].headers[].{field}"), documents, ask, "one", "two")
        };
        vec![
            row("type", "type: <<RegularExpression -> Exact>>, name: x-a, value: a.*"),
            row("name", "name: <<x-a -> x-b>>, value: abc"),
            row("value", "name: x-a, value: <<abc -> abd>>"),
        ]
    }

    fn backends(self) -> Vec<Case> {
        let row = |field: &str, backends: &str, ask: Ask, base: &str, flipped: &str| {
            let documents = format!("{}{}", self.rule(&format!("backendRefs: [{backends}]")), self.grant());
            case(format!("rules[].backendRefs[].{field}"), documents, ask, base, flipped)
        };
        let many = (self.ask)().times(40).see(See::Tally);
        let weights = "{name: one, port: 9080, weight: <<1 -> 0>>}, {name: two, port: 9080}";
        let elsewhere = "{name: far, namespace: <<far -> default>>, port: 9080}";
        let lost = if self.kind == Kind::HttpRoute { "500" } else { "grpc 14" };
        vec![
            row("name", "{name: <<one -> two>>, port: 9080}", (self.ask)(), "one", "two"),
            row("namespace", elsewhere, (self.ask)(), "far", lost),
            row("port", "{name: one, port: <<9080 -> 9090>>}", (self.ask)(), "one", "one:9090"),
            row("weight", weights, many, "one,two", "two"),
        ]
    }

    fn sessions(self) -> Vec<Case> {
        let row = |field: &str, part: &str, ask: Ask, base: &str, flipped: &str| {
            let documents = self
                .rule(&format!("backendRefs: [{{name: pair, port: 9080}}], sessionPersistence: {{{part}}}"));
            case(format!("rules[].sessionPersistence.{field}"), documents, ask, base, flipped)
        };
        let resumed = |hours: u64| {
            (self.ask)().header("cookie", &format!("s={}", token(hours))).see(See::Resumed(SESSION))
        };
        let attributes = (self.ask)().see(See::Attributes);
        let lifetime = "cookieConfig: {lifetimeType: <<Session -> Permanent>>}, absoluteTimeout: 1h";
        vec![
            row("type", "type: <<Cookie -> Header>>, sessionName: s", resumed(0), "resumed", "-"),
            row("sessionName", "sessionName: <<s -> t>>", resumed(0), "resumed", "new"),
            row(
                "cookieConfig.lifetimeType",
                lifetime,
                attributes,
                "Path=/; HttpOnly",
                "Path=/; HttpOnly; Max-Age=3600",
            ),
            row(
                "absoluteTimeout",
                "sessionName: s, absoluteTimeout: <<3h -> 1h>>",
                resumed(2),
                "resumed",
                "new",
            ),
            row("idleTimeout", "sessionName: s, idleTimeout: <<3h -> 1h>>", resumed(2), "resumed", "new"),
        ]
    }
}

/// The key of a session.
const SESSION: &str = "00000000000000ab";

/// The token of a session that began, and was last used, so many hours ago, at an endpoint that is gone.
fn token(hours: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let then = now.as_secs() - hours * 3600;
    format!("{SESSION}.{:016x}.{then:016x}.{then:016x}", 0)
}
