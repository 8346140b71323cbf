//! Rules for connections whose bytes are the application's own, in TLS of its own too.

use super::super::ask::{Ask, See, connect, connect_tls};
use super::super::case::{Case, case, document, named};
use super::subsets;

/// The protocols, each by its rules: the field, and what a port's name begins with.
#[derive(Clone, Copy)]
enum Protocol {
    Tcp,
    Tls,
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Protocol::Tcp.cases();
    cases.extend(Protocol::Tls.cases());
    let names = Protocol::Tls.first("sniHosts: [<<a -> b>>.example.com]");
    cases.push(case("tls[].match[].sniHosts", names, Protocol::Tls.ask("one"), "one:5432", "two:5432"));
    cases
}

impl Protocol {
    fn field(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    fn ask(self, host: &str) -> Ask {
        match self {
            Self::Tcp => connect(&format!("{host}:5432")),
            Self::Tls => connect_tls(&format!("{host}:5432"), "a.example.com"),
        }
    }

    /// What is in every entry of `match`.
    fn names(self) -> &'static str {
        match self {
            Self::Tcp => "",
            Self::Tls => "sniHosts: ['*.example.com'], ",
        }
    }

    /// The match of a rule for every connection.
    fn everything(self) -> &'static str {
        match self {
            Self::Tcp => "",
            Self::Tls => "match: [{sniHosts: ['*.example.com']}], ",
        }
    }

    /// The services whose ports carry bytes, and rules for one of them.
    fn rules(self, host: &str, rules: &str) -> String {
        let field = self.field();
        let ports = format!("ports: [{{name: {field}-a, port: 5432}}, {{name: {field}-b, port: 5433}}]");
        let service = |name: &str| named("Service", name, &format!("selector: {{app: {name}}}, {ports}"));
        let services = ["one", "two", "pair"].map(service).concat();
        let rules = format!("hosts: [{host}, '*.example.com'], {field}: [{rules}]");
        format!("{services}{}", document("VirtualService", &rules))
    }

    /// A first rule of this match leads to `one`, the second to `two`.
    fn first(self, matches: &str) -> String {
        let second = self.everything();
        let route = |host: &str| format!("route: [{{destination: {{host: {host}}}}}]");
        let rules = format!("{{match: [{{{matches}}}], {}}}, {{{second}{}}}", route("one"), route("two"));
        self.rules("one", &rules)
    }

    fn cases(self) -> Vec<Case> {
        let field = self.field();
        let matching = |name: &str, part: &str| {
            let documents = self.first(&format!("{}{part}", self.names()));
            case(format!("{field}[].match[].{name}"), documents, self.ask("one"), "one:5432", "two:5432")
        };
        let whole = self.everything();
        let leading = |name: &str, host: &str, routes: &str, see: See, base: &str, flipped: &str| {
            let documents = self.rules(host, &format!("{{{whole}route: [{routes}]}}"));
            let ask = match see {
                See::Tally => self.ask(host).times(40),
                _ => self.ask(host),
            };
            let documents = format!("{documents}{}", subsets());
            case(format!("{field}[].route[].{name}"), documents, ask.see(see), base, flipped)
        };
        let port = "{destination: {host: one, port: {number: <<5432 -> 5433>>}}}";
        let subset = "{destination: {host: pair, subset: <<v1 -> v2>>}}";
        let weights = "{destination: {host: one}, weight: <<1 -> 0>>}, {destination: {host: two}, weight: 1}";
        let host = "{destination: {host: <<one -> two>>}}";
        let (answer, tally) = (See::Answer, See::Tally);
        vec![
            matching("port", "port: <<5432 -> 5433>>"),
            matching("sourceLabels", "sourceLabels: {tier: <<web -> edge>>}"),
            matching("sourceNamespace", "sourceNamespace: <<default -> far>>"),
            matching("gateways", "gateways: [<<mesh -> edge>>]"),
            leading("destination.host", "one", host, answer, "one:5432", "two:5432"),
            leading("destination.subset", "pair", subset, answer, "v1:5432", "v2:5432"),
            leading("destination.port.number", "one", port, answer, "one:5432", "one:5433"),
            leading("weight", "one", weights, tally, "one:5432,two:5432", "two:5432"),
        ]
    }
}
