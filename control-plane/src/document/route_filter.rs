//! Filters, timeouts, retries and sessions of an HTTPRoute: known to the last field, not honoured yet.
//!
//! They are read for their errors alone, so these decoders yield nothing.

use super::fields::Fields;
use super::header::header_name;
use super::http_route::backend_reference;
use super::name;
use super::scalar::{boolean, choice, integer, port, some_text, text};
use super::spelling::shorten;
use super::value::{Value, object};

/// Types of filter and the field that each fills.
const FILTERS: [(&str, &str); 8] = [
    ("RequestHeaderModifier", "requestHeaderModifier"),
    ("ResponseHeaderModifier", "responseHeaderModifier"),
    ("RequestMirror", "requestMirror"),
    ("RequestRedirect", "requestRedirect"),
    ("URLRewrite", "urlRewrite"),
    ("CORS", "cors"),
    ("ExternalAuth", "externalAuth"),
    ("ExtensionRef", "extensionRef"),
];

pub(super) fn filter(fields: &mut Fields<'_, '_>) {
    let kind = fields.required("type", some_text);
    fields.optional("requestHeaderModifier", object(header_modifier));
    fields.optional("responseHeaderModifier", object(header_modifier));
    fields.optional("requestMirror", object(mirror));
    fields.optional("requestRedirect", object(redirect));
    fields.optional("urlRewrite", object(rewrite));
    fields.optional("cors", object(cors));
    fields.optional("externalAuth", opaque);
    fields.optional("extensionRef", opaque);
    let Some((_, wanted)) = FILTERS.iter().find(|(name, _)| *name == kind) else {
        if !kind.is_empty() {
            let known = FILTERS.map(|(name, _)| name).join(", ");
            fields.invalid(
                "type",
                format!("`{}` is not a filter", shorten(&kind)),
                format!("write one of {known}"),
            );
        }
        return;
    };
    for (_, name) in FILTERS {
        if name == *wanted && !fields.has(name) {
            fields.missing(name, format!("is required by {kind}"), "add the field");
        } else if name != *wanted && fields.has(name) {
            fields.conflict(name, format!("does not go with {kind}"), "remove the field");
        }
    }
}

/// A block that other projects define.
fn opaque(_: Value<'_, '_>) {}

fn header_modifier(fields: &mut Fields<'_, '_>) {
    for name in ["set", "add"] {
        fields.list(name, |value| {
            value.object(|fields| {
                fields.required("name", header_name);
                fields.required("value", some_text);
            })
        });
    }
    fields.list("remove", header_name);
}

fn mirror(fields: &mut Fields<'_, '_>) {
    fields.required("backendRef", |value| {
        value.object(|fields| {
            backend_reference(fields);
        })
    });
    fields.at_most_one(&["percent", "fraction"]);
    fields.optional("percent", integer(0, 100));
    fields.optional("fraction", |value| {
        value.object(|fields| {
            let numerator = fields.required("numerator", integer(0, i64::from(i32::MAX)));
            let denominator = fields.optional("denominator", integer(1, i64::from(i32::MAX))).unwrap_or(100);
            if numerator > denominator {
                fields.invalid("numerator", "is above the denominator", "write a share of at most one");
            }
        })
    });
}

fn redirect(fields: &mut Fields<'_, '_>) {
    fields.optional("scheme", choice(&[("http", -1, ()), ("https", -2, ())]));
    fields.optional("hostname", name::plain_host);
    fields.optional("path", object(path_modifier));
    fields.optional("port", port);
    fields.optional("statusCode", |mut value| {
        let code = integer(0, 599)(value.reborrow());
        if !matches!(code, 301 | 302 | 303 | 307 | 308) {
            value.invalid(format!("{code} is no redirect"), "write 301, 302, 303, 307 or 308");
        }
    });
}

fn rewrite(fields: &mut Fields<'_, '_>) {
    fields.optional("hostname", name::plain_host);
    fields.optional("path", object(path_modifier));
}

fn path_modifier(fields: &mut Fields<'_, '_>) {
    let kind = fields.required("type", some_text);
    fields.optional("replaceFullPath", text);
    fields.optional("replacePrefixMatch", text);
    let wanted = match kind.as_str() {
        "ReplaceFullPath" => "replaceFullPath",
        "ReplacePrefixMatch" => "replacePrefixMatch",
        "" => return,
        _ => {
            return fields.invalid(
                "type",
                "is no way to change a path",
                "write ReplaceFullPath or ReplacePrefixMatch",
            );
        }
    };
    fields.exactly_one(&["replaceFullPath", "replacePrefixMatch"]);
    if !fields.has(wanted) {
        fields.missing(wanted, format!("is required by {kind}"), "add the field");
    }
}

fn cors(fields: &mut Fields<'_, '_>) {
    for name in ["allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders"] {
        fields.list(name, some_text);
    }
    fields.optional("allowCredentials", boolean);
    fields.optional("maxAge", integer(1, i64::from(i32::MAX)));
}

pub(super) fn timeouts(fields: &mut Fields<'_, '_>) {
    let request = fields.optional("request", gateway_duration).unwrap_or_default();
    let backend = fields.optional("backendRequest", gateway_duration).unwrap_or_default();
    if !request.is_zero() && backend > request {
        fields.conflict("backendRequest", "is longer than `request`", "make it shorter");
    }
}

/// The Gateway API's durations: as Go's, but of whole numbers and four units at most.
pub(super) fn gateway_duration(value: Value<'_, '_>) -> std::time::Duration {
    super::scalar::duration_or_zero(value)
}

pub(super) fn retry(fields: &mut Fields<'_, '_>) {
    fields.list("codes", integer(400, 599));
    fields.optional("attempts", integer(0, i64::from(i32::MAX)));
    fields.optional("backoff", gateway_duration);
}
