//! Operations on headers: set, add, remove, for requests and responses.
//!
//! Routes and their destinations share them. What a mesh itself depends on (`:path` and its kin) is no one's to rewrite
//! here; the authority is, because that is how a host is rewritten in Istio.

use super::{Code, Fields, Value, name, shorten, some_text, text};

/// What happens to the headers of request and response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// On the way to the server.
    pub request: HeaderOperations,
    /// On the way back.
    pub response: HeaderOperations,
}

/// Operations on the headers of one direction, in the documents' order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderOperations {
    /// Replaced.
    pub set: Vec<(String, String)>,
    /// Appended.
    pub add: Vec<(String, String)>,
    /// Removed, last.
    pub remove: Vec<String>,
}

/// Reads `request` and `response` operations.
pub(super) fn headers(fields: &mut Fields<'_, '_>) -> Headers {
    Headers {
        request: fields.or_default("request", |value| operations(value, true)),
        response: fields.or_default("response", |value| operations(value, false)),
    }
}

fn operations(value: Value<'_, '_>, authority: bool) -> HeaderOperations {
    value.object(|fields| HeaderOperations {
        set: fields.or_default("set", |value| pairs(value, authority)),
        add: fields.or_default("add", |value| pairs(value, authority)),
        remove: fields.list("remove", |mut value| {
            let name = text(value.reborrow());
            if value.node.is_some() {
                check_name(&mut value, &name, false);
            }
            name
        }),
    })
}

fn pairs(value: Value<'_, '_>, authority: bool) -> Vec<(String, String)> {
    value.entries(|key, mut value| {
        let content = text(value.reborrow());
        // What stands under no header's name has no value to look at.
        if value.node.is_some() && check_name(&mut value, key, authority) {
            check_value(&mut value, &content);
        }
        content
    })
}

/// The name of a header that a Gateway API filter changes; of requests also `host`, which changes the authority.
pub(super) fn changed_name(mut value: Value<'_, '_>, authority: bool) -> String {
    let name = header_name(value.reborrow());
    if value.node.is_some() && !(authority && name.eq_ignore_ascii_case("host")) && is_header_name(&name) {
        check_name(&mut value, &name, false);
    }
    name
}

/// A header's value that stands for itself: `%` is no more than a percent sign, which Envoy, and so the model, doubles.
pub(super) fn literal_value(mut value: Value<'_, '_>) -> String {
    let content = some_text(value.reborrow()).replace('%', "%%");
    if value.node.is_some() {
        check_value(&mut value, &content);
    }
    content
}

/// Whether the name stands for the authority, which HTTP/1.1 calls `host`.
pub(super) fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host")
}

/// The name of a header.
pub(super) fn header_name(value: Value<'_, '_>) -> String {
    name::known(value, "the name of a header", is_header_name)
}

/// Whether a header may have this name.
pub(super) fn is_header_name(name: &str) -> bool {
    http::HeaderName::try_from(name).is_ok()
}

fn check_name(value: &mut Value<'_, '_>, name: &str, authority: bool) -> bool {
    if authority && is_authority(name) {
        return true;
    }
    if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        value.invalid(
            format!("`{}` is not a header that can be changed here", shorten(name)),
            "use `rewrite` to change path or authority",
        );
        return false;
    }
    let good = is_header_name(name);
    if !good {
        value.invalid(
            format!("`{}` is not the name of a header", shorten(name)),
            "use letters, digits and `-`",
        );
    }
    good
}

/// Envoy's variables stand between `%`; there is no Envoy here to fill them in.
fn check_value(value: &mut Value<'_, '_>, content: &str) {
    if content.bytes().any(|byte| byte == 0x7f || (byte < 0x20 && byte != b'\t')) {
        value.invalid("a header's value has no control characters", "remove them");
        return;
    }
    let percents = content.replace("%%", "");
    if percents.matches('%').count() % 2 == 1 {
        value.invalid("has a single `%`", "write `%%` for a percent sign");
    } else if percents.contains('%') {
        let message = "has a variable of Envoy's, which this mesh does not fill in yet";
        value.note(Code::UnsupportedField, message, "write the value out");
    }
}
