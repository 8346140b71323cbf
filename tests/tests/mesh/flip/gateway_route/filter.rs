//! Filters of a rule, and of one of its backends.

use super::super::ask::See;
use super::super::case::{Case, case};
use super::{Form, ONE};

pub(super) fn cases(form: Form) -> Vec<Case> {
    let mut cases = headers(form);
    cases.extend(mirrors(form));
    cases
}

/// The same filter in both places.
pub(super) fn twice(form: Form, field: &str, filter: &str, see: See, base: &str, flipped: &str) -> [Case; 2] {
    let ask = (form.ask)().header("x-a", "a").see(see);
    let of_rule = form.rule(&format!("filters: [{{{filter}}}], {ONE}"));
    let of_backend = form.rule(&format!("backendRefs: [{{name: one, port: 9080, filters: [{{{filter}}}]}}]"));
    [
        case(format!("rules[].filters[].{field}"), of_rule, ask.clone(), base, flipped),
        case(format!("rules[].backendRefs[].filters[].{field}"), of_backend, ask, base, flipped),
    ]
}

fn headers(form: Form) -> Vec<Case> {
    let request = |field: &str, part: &str, base: &str, flipped: &str| {
        let filter = format!("type: RequestHeaderModifier, requestHeaderModifier: {{{part}}}");
        twice(form, &format!("requestHeaderModifier.{field}"), &filter, See::Got("x-a"), base, flipped)
    };
    let response = |field: &str, part: &str, base: &str, flipped: &str| {
        let filter = format!("type: ResponseHeaderModifier, responseHeaderModifier: {{{part}}}");
        twice(form, &format!("responseHeaderModifier.{field}"), &filter, See::Header("x-who"), base, flipped)
    };
    let rows = [
        request("set[].name", "set: [{name: <<x-a -> x-b>>, value: b}]", "b", "a"),
        request("set[].value", "set: [{name: x-a, value: <<b -> c>>}]", "b", "c"),
        request("add[].name", "add: [{name: <<x-a -> x-b>>, value: b}]", "a,b", "a"),
        request("add[].value", "add: [{name: x-a, value: <<b -> c>>}]", "a,b", "a,c"),
        request("remove", "remove: [<<x-a -> x-b>>]", "-", "a"),
        response("set[].name", "set: [{name: <<x-who -> x-b>>, value: b}]", "b", "one"),
        response("set[].value", "set: [{name: x-who, value: <<b -> c>>}]", "b", "c"),
        response("add[].name", "add: [{name: <<x-who -> x-b>>, value: b}]", "one,b", "one"),
        response("add[].value", "add: [{name: x-who, value: <<b -> c>>}]", "one,b", "one,c"),
        response("remove", "remove: [<<x-who -> x-b>>]", "-", "one"),
    ];
    rows.into_iter().flatten().collect()
}

fn mirrors(form: Form) -> Vec<Case> {
    let row = |field: &str, part: &str, base: &str, flipped: &str| {
        let filter = format!("filters: [{{type: RequestMirror, requestMirror: {{{part}}}}}]");
        let documents = format!("{}{}", form.rule(&format!("{filter}, {ONE}")), form.grant());
        let field = format!("rules[].filters[].requestMirror.{field}");
        case(field, documents, (form.ask)().see(See::Asked), base, flipped)
    };
    let copy = |part: &str| format!("backendRef: {{name: copy, port: 9080}}, {part}");
    vec![
        row("backendRef.name", "backendRef: {name: <<copy -> two>>, port: 9080}", "copy,one", "one,two"),
        row(
            "backendRef.namespace",
            "backendRef: {name: far, namespace: <<far -> default>>, port: 9080}",
            "far,one",
            "one",
        ),
        row(
            "backendRef.port",
            "backendRef: {name: copy, port: <<9080 -> 9090>>}",
            "copy,one",
            "copy:9090,one",
        ),
        row("percent", &copy("percent: <<100 -> 0>>"), "copy,one", "one"),
        row("fraction.numerator", &copy("fraction: {numerator: <<100 -> 0>>}"), "copy,one", "one"),
        row(
            "fraction.denominator",
            &copy("fraction: {numerator: 1, denominator: <<1 -> 2147483647>>}"),
            "copy,one",
            "one",
        ),
    ]
}
