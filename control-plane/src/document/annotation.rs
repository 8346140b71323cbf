//! Annotations that change what a document means; all others are their writer's business.
//!
//! Ours begin with `proxyless.mesh/`, and one of those that nobody knows is an error: it was meant for us.

use mesh_core::route::{NotAStickyKey, StickyKey};

use super::finding::Code;
use super::kind::Kind;
use super::reader::Reader;
use super::scalar::is_typed;
use super::spelling::{nearest, shorten};
use super::yaml::{Content, Node, Span};

/// Reads the annotations of a document that matter; what they say beyond findings is the sticky key.
pub(super) fn read(reader: &mut Reader, root: &Node, kind: Kind) -> Option<StickyKey> {
    let annotations = root.get("metadata")?.get("annotations")?;
    let Content::Mapping(entries) = &annotations.content else { return None };
    let mut sticky = None;
    for (key, node) in entries {
        // What is no text has been noted by whoever read the metadata.
        let Content::Scalar { text, plain } = &node.content else { continue };
        if *plain && is_typed(text) {
            continue;
        }
        let path = format!("metadata.annotations[{}]", shorten(&key.value));
        reader.within(&path, |reader| match key.value.strip_prefix(PREFIX) {
            Some("sticky") => sticky = sticky_key(reader, node.span, kind, text),
            Some(unknown) => {
                let next = match nearest(unknown, &OURS) {
                    Some(name) => format!("did you mean `{PREFIX}{name}`?"),
                    None => format!("known ones: {PREFIX}{}", OURS.join(", ")),
                };
                reader.note(Code::UnknownField, key.span, "is no annotation of this mesh", next);
            }
            None if key.value == DRY_RUN && kind == Kind::AuthorizationPolicy => {
                dry_run(reader, node.span, text);
            }
            None => {}
        });
    }
    sticky
}

fn sticky_key(reader: &mut Reader, span: Span, kind: Kind, text: &str) -> Option<StickyKey> {
    if !matches!(kind, Kind::VirtualService | Kind::HttpRoute | Kind::GrpcRoute) {
        let message = format!("a {} has no weights to be sticky about", kind.name());
        let next = "move it to the VirtualService or HTTPRoute that divides the traffic";
        reader.note(Code::Conflict, span, message, next);
        return None;
    }
    let next = "write `header:NAME`, `cookie:NAME`, `claim:NAME` or `identity`";
    text.parse()
        .map_err(|problem: NotAStickyKey| reader.note(Code::InvalidValue, span, problem.to_string(), next))
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
const OURS: [&str; 1] = ["sticky"];
const DRY_RUN: &str = "istio.io/dry-run";
