//! From sources to documents: splitting, naming, decoding, and a report on each document.
//!
//! Reading never stops at the first error. Every document of every source has its report, and those without error are
//! in the set.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kind::{Fate, Known};
use super::reader::Reader;
use super::set::Created;
use super::yaml::Tree;
use super::{
    Age, Code, Content, DEFAULT_NAMESPACE, Document, DocumentKey, DocumentSet, Finding, GrpcRoute, Kind,
    Metadata, Node, Span, Spec, Value, Verdict, annotation, kind, metadata, object, scalar, size, yaml,
};

/// YAML text and where it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The file's name, as messages show it.
    pub file: String,
    /// The text.
    pub text: String,
    /// The line of the file on which the text begins, from 1.
    pub first_line: u32,
}

/// What reading came to.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The documents without error.
    pub documents: DocumentSet,
    /// What is to be said about each document, in the order read.
    pub reports: Vec<Report>,
}

/// What is to be said about one document.
#[derive(Clone, Debug)]
pub struct Report {
    /// `Kind/namespace/name`; none for text that is no document.
    pub document: Option<String>,
    /// The file.
    pub file: Arc<str>,
    /// Where the document begins.
    pub span: Span,
    /// The findings, in the order of the text.
    pub findings: Vec<Finding>,
}

impl Source {
    /// A whole file.
    pub fn file(file: impl Into<String>, text: impl Into<String>) -> Self {
        Self { file: file.into(), text: text.into(), first_line: 1 }
    }
}

impl Report {
    /// The verdict on the document.
    pub fn verdict(&self) -> Verdict {
        Verdict::of(&self.findings)
    }

    /// `file:line` of a place in it.
    pub fn at(&self, span: Span) -> String {
        format!("{}:{}", self.file, span.line)
    }
}

impl Reading {
    /// The gravest verdict on any document.
    pub fn verdict(&self) -> Verdict {
        self.reports.iter().map(Report::verdict).max().unwrap_or(Verdict::Valid)
    }
}

impl DocumentSet {
    /// Reads sources as if they were applied one after the other.
    pub fn read(sources: &[Source]) -> Reading {
        let mut reading = Reading::default();
        for source in sources {
            read_source(source, &mut reading);
        }
        reading
    }
}

fn read_source(source: &Source, reading: &mut Reading) {
    let file: Arc<str> = source.file.as_str().into();
    let (trees, malformed) = yaml::read(&source.text, source.first_line.max(1));
    let mut seen: BTreeMap<DocumentKey, Span> = BTreeMap::new();
    for tree in trees {
        for tree in expanded(tree) {
            if tree.root.is_null() {
                continue;
            }
            let (mut report, document) = read_document(&file, &tree, reading.reports.len() as u64);
            if let Some(document) = document {
                if let Some(first) = seen.get(&document.key) {
                    let message =
                        format!("{} is in this file twice, first on line {}", document.key, first.line);
                    report.findings.push(finding(
                        Code::Duplicate,
                        document.span,
                        message,
                        "keep one, or give it another name",
                    ));
                } else {
                    seen.insert(document.key.clone(), document.span);
                    reading.documents.insert(document);
                }
            }
            reading.reports.push(report);
        }
    }
    if let Some(malformed) = malformed {
        let findings = vec![finding(
            Code::MalformedYaml,
            malformed.span,
            malformed.reason,
            "correct the YAML there; what follows was not read",
        )];
        reading.reports.push(Report { document: None, file, span: malformed.span, findings });
    }
}

/// A `List` is its items; each keeps the lines of the file as its own text.
fn expanded(tree: Tree) -> Vec<Tree> {
    let is_list = tree
        .root
        .get("kind")
        .is_some_and(|kind| matches!(&kind.content, Content::Scalar { text, .. } if text == "List"));
    let Some(Content::Sequence(items)) =
        tree.root.get("items").filter(|_| is_list).map(|items| &items.content)
    else {
        return vec![tree];
    };
    let each = items.iter().map(|item| {
        // JSON is YAML, on one line: the line of the item, so that findings after a restart still point near it.
        let text = format!("{}\n", item.to_json());
        Tree { root: Arc::clone(item), text, first_line: item.span.line }
    });
    each.collect()
}

fn read_document(file: &Arc<str>, tree: &Tree, order: u64) -> (Report, Option<Document>) {
    let root = &tree.root;
    let report = |document, findings| Report { document, file: Arc::clone(file), span: root.span, findings };
    let Content::Mapping(_) = &root.content else {
        let found =
            finding(Code::WrongType, root.span, "is not an object", "begin with `apiVersion:` and `kind:`");
        return (report(None, vec![found]), None);
    };
    let (Some(api_version), Some(kind_name)) = (head(root, "apiVersion"), head(root, "kind")) else {
        let found = finding(
            Code::MissingField,
            root.span,
            "has no apiVersion or no kind",
            "add `apiVersion:` and `kind:`",
        );
        return (report(None, vec![found]), None);
    };
    let loose =
        format!("{kind_name}/{}/{}", loose(root, "namespace", DEFAULT_NAMESPACE), loose(root, "name", ""));
    let facts = match kind::look_up(api_version, kind_name) {
        Known::Kind(facts) => {
            if let Some(found) = size::check(file, tree) {
                return (report(Some(loose), vec![found]), None);
            }
            facts
        }
        refused => {
            let found = refuse(&refused, api_version, kind_name, root.span);
            return (report(Some(loose), vec![found]), None);
        }
    };
    let (kind, inert) = match facts.fate {
        Fate::Read(kind) => (kind, false),
        Fate::Inert(kind) => (kind, true),
        Fate::Unsupported => {
            let message = format!("{kind_name} is not supported by this mesh yet");
            let found = finding(Code::UnsupportedKind, root.span, message, "remove the document");
            return (report(Some(loose), vec![found]), None);
        }
    };
    let (metadata, spec, mut findings) = decode(root, kind, facts.is_of_protobuf());
    if inert || outside(&spec) {
        // What acts at a gateway only is not refused for what a gateway would do with it.
        findings.retain(|finding| finding.code.verdict() != Verdict::Unsupported);
        let message = "is kept, but acts only at a gateway, which this mesh does not have yet";
        findings.push(finding(Code::Inert, root.span, message, "nothing needs to be done"));
    }
    if kind.is_workload_fact() {
        let message =
            "carries no mesh configuration; its workloads are read where questions are answered from files";
        findings.push(finding(Code::Skipped, root.span, message, "nothing needs to be done"));
    }
    findings.sort_by_key(|finding| finding.span);
    let key = DocumentKey { kind, namespace: metadata.namespace.clone(), name: metadata.name.clone() };
    let report = report(Some(if key.name.is_empty() { loose } else { key.to_string() }), findings);
    if !report.verdict().accepts() {
        return (report, None);
    }
    let created = match metadata.created {
        Some(time) => Created::At(time, metadata.name.clone(), metadata.namespace.clone()),
        None => Created::Now,
    };
    let document = Document {
        key,
        file: Arc::clone(file),
        span: root.span,
        text: tree.text.as_str().into(),
        first_line: tree.first_line,
        metadata,
        spec,
        age: Age { revision: 0, created, order },
        root: Arc::clone(root),
    };
    (report, Some(document))
}

fn decode(root: &Node, kind: Kind, proto_names: bool) -> (Metadata, Spec, Vec<Finding>) {
    let mut reader = Reader::new(proto_names);
    let value = Value { reader: &mut reader, node: Some(root), span: root.span };
    let mut spec = Spec::Inert;
    let mut metadata = value.object(|fields| {
        fields.required("apiVersion", scalar::text);
        fields.required("kind", scalar::text);
        let metadata = fields.required("metadata", object(metadata::decode));
        match kind {
            // It has no `spec`: what it says stands beside the metadata.
            Kind::EndpointSlice => fields.ignore_the_rest(),
            Kind::Gateway | Kind::KubernetesGateway | Kind::GatewayClass => {
                fields.optional("spec", |_| ());
            }
            Kind::ServiceEntry | Kind::VirtualService | Kind::DestinationRule | Kind::WorkloadEntry => {
                spec = fields.optional("spec", |value| Spec::decode(kind, value)).unwrap_or(Spec::Inert);
                if !fields.has("spec") {
                    fields.missing("spec", "is required and absent", "add the field");
                }
            }
            _ => {
                spec = fields
                    .optional("spec", |value| Spec::decode(kind, value))
                    .unwrap_or_else(|| Spec::absent(kind))
            }
        }
        fields.optional("status", |_| ());
        metadata
    });
    if kind == Kind::EndpointSlice {
        spec = Spec::decode(kind, Value { reader: &mut reader, node: Some(root), span: root.span });
    }
    annotation::read(&mut reader, root, kind, &mut metadata);
    (metadata, spec, reader.findings)
}

/// Whether what was read concerns gateways only.
fn outside(spec: &Spec) -> bool {
    match spec {
        Spec::VirtualService(service) => !service.in_mesh(),
        Spec::HttpRoute(route) | Spec::GrpcRoute(GrpcRoute(route)) => !route.in_mesh(),
        _ => false,
    }
}

fn refuse(known: &Known, api_version: &str, kind: &str, span: Span) -> Finding {
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let (code, message, next) = match known {
        Known::Unknown => (
            Code::UnknownKind,
            format!("{group} has no kind `{kind}`"),
            format!("write one of {}", kind::names(group).join(", ")),
        ),
        Known::Version(facts) => (
            Code::UnknownVersion,
            format!("{kind} has no version `{api_version}`"),
            format!("write one of {}", facts.versions.join(", ")),
        ),
        Known::Misspelled(meant) => (
            Code::MisspelledKind,
            format!("skipped: {api_version} {kind} is none of the mesh's kinds, though much like one"),
            format!("if the mesh's is meant, write {}", meant.head()),
        ),
        Known::Foreign | Known::Kind(_) => (
            Code::Skipped,
            format!("skipped: {kind} carries no mesh configuration"),
            "nothing needs to be done".to_owned(),
        ),
    };
    finding(code, span, message, next)
}

fn head<'a>(root: &'a Node, name: &str) -> Option<&'a str> {
    match &root.get(name)?.content {
        Content::Scalar { text, .. } if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// A name for messages about a document whose metadata is not read.
fn loose<'a>(root: &'a Node, name: &str, otherwise: &'a str) -> &'a str {
    root.get("metadata").and_then(|metadata| head(metadata, name)).unwrap_or(otherwise)
}

fn finding(code: Code, span: Span, message: impl Into<String>, next: impl Into<String>) -> Finding {
    Finding { code, field: String::new(), span, message: message.into(), next: next.into() }
}
