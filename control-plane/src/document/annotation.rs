//! Annotations that change what a document means; all others are their writer's business.
//!
//! Ours begin with `proxyless.mesh/`, and one of those that nobody knows is an error: it was meant for us.

use std::fmt::Display;
use std::str::FromStr;

use super::reader::Reader;
use super::scalar::is_typed;
use super::spelling::nearest;
use super::{Code, Content, Kind, Metadata, Node, Span, shorten};

/// Reads the annotations of a document that matter.
pub(super) fn read(reader: &mut Reader, root: &Node, kind: Kind, metadata: &mut Metadata) {
    let annotations = root.get("metadata").and_then(|metadata| metadata.get("annotations"));
    let Some(Content::Mapping(entries)) = annotations.map(|annotations| &annotations.content) else { return };
    for (key, node) in entries {
        // What is no text has been noted by whoever read the metadata.
        let Content::Scalar { text, plain } = &node.content else { continue };
        if *plain && is_typed(text) {
            continue;
        }
        let path = format!("metadata.annotations[{}]", shorten(&key.value));
        reader.within(&path, |reader| match key.value.strip_prefix(PREFIX) {
            Some("sticky") => {
                let fits = matches!(kind, Kind::VirtualService | Kind::HttpRoute | Kind::GrpcRoute);
                metadata.sticky = ours(reader, node.span, (kind, fits), &STICKY, text);
            }
            Some("health-check") => {
                let fits = kind == Kind::ServiceEntry;
                metadata.health_check = ours(reader, node.span, (kind, fits), &HEALTH_CHECK, text);
            }
            Some(unknown) => {
                let next = match nearest(unknown, &OURS) {
                    Some(name) => format!("did you mean `{PREFIX}{name}`?"),
                    None => format!("known ones: {PREFIX}{}", OURS.join(&format!(", {PREFIX}"))),
                };
                reader.note(Code::UnknownField, key.span, "is no annotation of this mesh", next);
            }
            None if key.value == DRY_RUN && kind == Kind::AuthorizationPolicy => {
                dry_run(reader, node.span, text);
            }
            None => {}
        });
    }
}

/// What is said of one of our annotations: what kinds lack that do not have it, where it goes, and what may be written.
struct Said([&'static str; 3]);

const STICKY: Said = Said([
    "has no weights to be sticky about",
    "move it to the VirtualService or HTTPRoute that divides the traffic",
    "write `header:NAME`, `cookie:NAME`, `claim:NAME` or `identity`",
]);
const HEALTH_CHECK: Said = Said([
    "has no endpoints that are probed",
    "move it to a ServiceEntry",
    "write `http:/PATH`, `grpc`, `grpc:SERVICE` or `tcp`, and after commas `interval=5s`, `timeout=1s`, `unhealthy=3`, `healthy=2`",
]);

/// The value of an annotation of ours, if it is one and the kind may have it.
fn ours<T: FromStr<Err: Display>>(
    reader: &mut Reader,
    span: Span,
    (kind, fits): (Kind, bool),
    Said([lacks, place, form]): &Said,
    text: &str,
) -> Option<T> {
    if !fits {
        reader.note(Code::Conflict, span, format!("a {} {lacks}", kind.name()), *place);
        return None;
    }
    text.parse()
        .map_err(|problem: T::Err| reader.note(Code::InvalidValue, span, problem.to_string(), *form))
        .ok()
}

fn dry_run(reader: &mut Reader, span: Span, text: &str) {
    match text {
        "false" => {}
        "true" => reader.note(
            Code::UnsupportedField,
            span,
            "is not honoured by this mesh yet",
            "remove the annotation to enforce the policy",
        ),
        _ => {
            reader.note(Code::InvalidValue, span, "is neither true nor false", "write \"true\" or \"false\"")
        }
    }
}

const PREFIX: &str = "proxyless.mesh/";
/// Ours, without the prefix.
const OURS: [&str; 2] = ["sticky", "health-check"];
const DRY_RUN: &str = "istio.io/dry-run";
