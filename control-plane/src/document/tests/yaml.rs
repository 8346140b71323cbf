//! Text: what is no YAML, what is too much, and which line things are on.

use super::*;

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata:\n  name: reviews\nspec:\n  ports:\n  - port: 9080\n    name: http\n";

#[test]
fn documents_know_their_lines() {
    let reading = read(&format!("# head\n---\n\n{SERVICE}---\n{SERVICE}").replacen("reviews", "ratings", 1));
    let at: Vec<_> = reading.documents.iter().map(|document| document.at(document.span)).collect();
    assert_eq!(at, ["a.yaml:4", "a.yaml:13"]);
    let (document, service) = reading.documents.all::<Service>()[0];
    assert_eq!(document.at(service.ports[0].span), "a.yaml:10");
    assert_eq!(document.span_of("spec.ports[0].name").map(|span| span.line), Some(11));
    assert_eq!(document.span_of("spec.ports[1].name"), None);
}

#[test]
fn stored_text_reads_as_the_same_lines() {
    let list =
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: b}\n";
    let reading = read(&format!("---\n{SERVICE}--- # second\n{list}"));
    assert_eq!(reading.documents.len(), 2);
    for document in reading.documents.iter() {
        let source = Source {
            file: document.file.to_string(),
            text: document.text.to_string(),
            first_line: document.first_line,
        };
        let again = DocumentSet::read(&[source]);
        let again = again.documents.get(&document.key).expect("the same key");
        assert_eq!(again.at(again.span), document.at(document.span));
        assert_eq!(again.root.to_json(), document.root.to_json());
    }
}

#[test]
fn malformed_yaml_is_one_error_with_its_line() {
    for (text, line) in [
        ("a: [1\nb: 2\n", 2),
        ("a: 1\na: 2\n", 2),
        ("a: *nowhere\n", 1),
        ("a: &x [*x]\n", 1),
        ("? [a]\n: b\n", 1),
        ("a: b: c\n", 1),
        ("a:\n  <<: 3\n", 2),
    ] {
        let reading = read(text);
        let [report] = &reading.reports[..] else { panic!("{text}: {:?}", reading.reports) };
        assert_eq!(report.findings.len(), 1, "{text}");
        assert_eq!(report.findings[0].code, Code::MalformedYaml, "{text}");
        assert_eq!(report.findings[0].span.line, line, "{text}");
    }
}

#[test]
fn what_stands_before_an_error_is_read() {
    let reading = read(&format!("{SERVICE}---\na: [\n"));
    assert_eq!(reading.documents.len(), 1);
    assert_eq!(reading.reports.len(), 2);
}

#[test]
fn bombs_are_refused() {
    let mut aliases = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let last = level - 1;
        aliases += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{last}"); 10].join(", "));
    }
    let deep = format!("a: {}{}", "[".repeat(DEPTH_LEVELS_MAX + 1), "]".repeat(DEPTH_LEVELS_MAX + 1));
    let large = "x".repeat(SOURCE_BYTES_MAX + 1);
    let keys: String = (0..=OBJECT_KEYS_MAX).map(|key| format!("k{key}: 1\n")).collect();
    for text in [aliases, deep, large, keys] {
        let reading = read(&text);
        let codes: Vec<_> =
            reading.reports.iter().flat_map(|report| &report.findings).map(|f| f.code).collect();
        assert_eq!(codes, [Code::MalformedYaml], "{}", &text[..40]);
    }
}

#[test]
fn aliases_and_merges_are_read() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: &l {app: x}}\nspec:\n  selector:\n    <<: *l\n    version: v1\n  ports: []\n";
    let reading = read(text);
    let (_, service) = reading.documents.all::<Service>()[0];
    let selector: Vec<_> = service.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(selector, ["app=x", "version=v1"]);
}

#[test]
fn json_is_yaml() {
    let text = r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}"#;
    check(text, &[]);
}

#[test]
fn text_that_yaml_takes_for_something_else_wants_quotes() {
    for value in ["1.0", "true", "yes", "0x1f", "1e3"] {
        let text =
            format!("apiVersion: v1\nkind: Service\nmetadata: {{name: a, labels: {{version: {value}}}}}\n");
        check(&text, &[(Code::WrongType, "metadata.labels[version]")]);
        check(&text.replace(value, &format!("{value:?}")), &[]);
    }
    for value in ["v1", "1.0.0", "0xyz", "-a", "infinity", "nan"] {
        let text =
            format!("apiVersion: v1\nkind: Service\nmetadata: {{name: a, annotations: {{k: {value}}}}}\n");
        check(&text, &[]);
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[a-z0-9:{}\\[\\],&*<'\"|> \n?#~.-]{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_value_panics(value in "\\PC{0,40}") {
        let value = serde_json::Value::String(value).to_string();
        for field in ["hosts", "exportTo", "http", "gateways"] {
            let _ = read(&document("networking.istio.io/v1", "VirtualService", &format!("{{{field}: [{value}]}}")));
        }
        for field in ["timeout", "rewrite: {uri", "match: [{uri: {regex", "match: [{port"] {
            let closing = field.chars().rev().filter_map(|c| match c { '{' => Some('}'), '[' => Some(']'), _ => None });
            let rule = format!("{{hosts: [a], http: [{{{field}: {value}{}}}]}}", closing.collect::<String>());
            let _ = read(&document("networking.istio.io/v1", "VirtualService", &rule));
        }
    }
}
