use http::{HeaderName, HeaderValue, StatusCode, Uri};
use proptest::prelude::*;

use super::*;
use crate::canonical::{PathNormalization, canonicalize_uri};
use crate::matcher::{FullMatch, HeaderMatcher, HeaderSource, Pattern, Text};
use crate::resource::Provenance;
use crate::trace::{NoTrace, Steps};

fn text(text: &str, ignore_case: bool) -> Text {
    Text { text: text.into(), ignore_case }
}

fn exact(path: &str) -> RouteMatch {
    RouteMatch { path: PathMatch::Exact(text(path, false)), ..RouteMatch::everything() }
}

fn with_header(condition: RouteMatch, name: &str, value: &str) -> RouteMatch {
    let header = HeaderMatcher {
        source: HeaderSource::parse(name).expect(name),
        value: Some(Pattern::Exact(text(value, false))),
        invert: false,
        missing_is_empty: false,
    };
    RouteMatch { headers: vec![header], ..condition }
}

fn with_query(condition: RouteMatch, name: &str, value: Option<&str>) -> RouteMatch {
    let value = value.map(|value| Pattern::Exact(text(value, false)));
    RouteMatch { query: vec![QueryMatch { name: name.into(), value }], ..condition }
}

/// A rule that answers by itself, named `http[at]`.
fn rule(at: usize, condition: RouteMatch) -> Route {
    let provenance = Provenance {
        document: Some("VirtualService/default/reviews".into()),
        rule: Some(format!("http[{at}]").into()),
        ..Provenance::default()
    };
    let action = DirectResponse { status: StatusCode::OK, body: bytes::Bytes::new() };
    Route {
        condition,
        provenance,
        filters: RouteFilters::default(),
        action: RouteAction::DirectResponse(action),
        request_headers: HeaderOperations::default(),
        response_headers: HeaderOperations::default(),
    }
}

fn table(conditions: Vec<RouteMatch>) -> RouteTable {
    RouteTable::new(conditions.into_iter().enumerate().map(|(at, condition)| rule(at, condition)).collect())
}

fn with_facts<T>(url: &str, headers: &[(&str, &str)], then: impl FnOnce(&RequestFacts<'_>) -> T) -> T {
    let mut uri: Uri = url.parse().expect(url);
    let query = uri.query().map(str::to_owned);
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.parse::<HeaderName>().expect("name"), value.parse().expect("value"));
    }
    then(&RequestFacts {
        method: &Method::GET,
        scheme: "http",
        authority: "reviews:9080",
        path: canonicalize_uri(&mut uri, PathNormalization::Base).expect("path"),
        query: query.as_deref(),
        headers: &map,
    })
}

#[track_caller]
fn check(conditions: Vec<RouteMatch>, url: &str, headers: &[(&str, &str)], expected: Option<usize>) {
    let table = table(conditions);
    let chosen = with_facts(url, headers, |facts| {
        let route = table.decide(facts, &mut NoTrace)?;
        table.routes().iter().position(|other| std::ptr::eq(other, route))
    });
    assert_eq!(chosen, expected);
}

#[test]
fn the_first_rule_that_matches_takes_the_request() {
    let everything = RouteMatch::everything;
    check(vec![everything(), exact("/a")], "/a", &[], Some(0));
    check(vec![exact("/a"), everything()], "/a", &[], Some(0));
    check(vec![exact("/a"), everything()], "/b", &[], Some(1));
    check(vec![exact("/a")], "/b", &[], None);
    check(vec![], "/", &[], None);
}

#[test]
fn a_prefix_is_raw_text_or_whole_segments() {
    let raw = RouteMatch { path: PathMatch::Prefix(text("/foo", false)), ..RouteMatch::everything() };
    let segments =
        RouteMatch { path: PathMatch::SegmentPrefix(text("/foo", false)), ..RouteMatch::everything() };
    check(vec![raw.clone()], "/foobar", &[], Some(0));
    check(vec![segments.clone()], "/foobar", &[], None);
    for path in ["/foo", "/foo/", "/foo/bar"] {
        check(vec![raw.clone()], path, &[], Some(0));
        check(vec![segments.clone()], path, &[], Some(0));
    }
}

#[test]
fn paths_may_be_compared_without_case_or_by_expression() {
    let fold = |path: PathMatch| RouteMatch { path, ..RouteMatch::everything() };
    check(vec![fold(PathMatch::Exact(text("/Foo", true)))], "/fOO", &[], Some(0));
    check(vec![fold(PathMatch::Prefix(text("/Foo", true)))], "/foobar", &[], Some(0));
    check(vec![fold(PathMatch::Exact(text("/Foo", true)))], "/foobar", &[], None);
    let regex = PathMatch::Regex(FullMatch::new("/v[12]/.*").expect("regex"));
    check(vec![fold(regex.clone())], "/v1/x?y", &[], Some(0));
    check(vec![fold(regex)], "/api/v1/x", &[], None);
}

#[test]
fn the_path_is_matched_in_canonical_form_and_without_its_query() {
    check(vec![exact("/admin")], "/public/%2e%2e/admin?x", &[], Some(0));
}

#[test]
fn headers_and_query_parameters_are_conditions_too() {
    let jason = || with_header(RouteMatch::everything(), "end-user", "jason");
    check(vec![jason(), RouteMatch::everything()], "/", &[("end-user", "jason")], Some(0));
    check(vec![jason(), RouteMatch::everything()], "/", &[], Some(1));
    check(vec![with_header(RouteMatch::everything(), ":method", "GET")], "/", &[], Some(0));
    check(vec![with_header(RouteMatch::everything(), ":authority", "reviews:9080")], "/", &[], Some(0));
    let query = |value| vec![with_query(RouteMatch::everything(), "v", value)];
    check(query(Some("1")), "/?v=1", &[], Some(0));
    check(query(Some("1")), "/?v=2&v=1", &[], None);
    check(query(None), "/?x=1&v", &[], Some(0));
    check(query(Some("")), "/?v", &[], Some(0));
    check(query(None), "/?vv=1", &[], None);
    check(query(None), "/", &[], None);
}

#[test]
fn the_trace_tells_what_each_rule_found() {
    let table = table(vec![
        with_header(RouteMatch::everything(), "end-user", "jason"),
        exact("/ratings"),
        with_query(RouteMatch::everything(), "v", Some("1")),
        RouteMatch::everything(),
        exact("/never-reached"),
    ]);
    let mut steps = Steps::default();
    with_facts("/reviews/0?v=2", &[("end-user", "amy")], |facts| {
        table.decide(facts, &mut steps);
    });
    assert_eq!(
        steps.0,
        [
            "VirtualService/default/reviews http[0]: header end-user `amy` is not `jason`",
            "http[1]: path `/reviews/0` is not `/ratings`",
            "http[2]: query parameter v `2` is not `1`",
            "http[3]: matches everything",
        ]
    );
}

#[test]
fn an_absent_header_is_said_to_be_absent() {
    let table =
        table(vec![with_header(RouteMatch::everything(), "end-user", "jason"), RouteMatch::everything()]);
    let mut steps = Steps::default();
    with_facts("/", &[], |facts| {
        table.decide(facts, &mut steps);
    });
    assert_eq!(
        steps.0,
        ["VirtualService/default/reviews http[0]: header end-user is absent", "http[1]: matches everything"]
    );
}

fn destination(authority: Option<&'static str>) -> WeightedDestination {
    let pair = |name: &'static str, value: &'static str| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    WeightedDestination {
        cluster: "outbound|9080|v1|reviews".into(),
        cluster_index: 0,
        weight: 1,
        authority: authority.map(HeaderValue::from_static),
        request_headers: HeaderOperations {
            set: vec![pair("level", "destination")],
            ..HeaderOperations::default()
        },
        response_headers: HeaderOperations {
            add: vec![pair("level", "destination")],
            ..HeaderOperations::default()
        },
    }
}

fn forwarding(rewrite: Rewrite) -> Route {
    let pair = |value| (HeaderName::from_static("level"), HeaderValue::from_static(value));
    let forward = Forward {
        split: Split::new(vec![destination(None)]),
        timeout: None,
        retry: None,
        no_cluster_status: StatusCode::SERVICE_UNAVAILABLE,
        rewrite,
        mirrors: Vec::new(),
    };
    Route {
        filters: RouteFilters::default(),
        action: RouteAction::Forward(forward),
        request_headers: HeaderOperations { set: vec![pair("route")], ..HeaderOperations::default() },
        response_headers: HeaderOperations { add: vec![pair("route")], ..HeaderOperations::default() },
        ..rule(0, RouteMatch::everything())
    }
}

#[test]
fn the_route_changes_a_request_before_its_destination_does() {
    let rewrite = PathRewrite::Prefix { matched: "/api".into(), replacement: "/v1".into() };
    let route = forwarding(Rewrite { path: Some(rewrite), authority: None });
    let request = http::Request::get("http://reviews:9080/api/x?q=/api").body(()).expect("request");
    let (mut parts, ()) = request.into_parts();
    route.apply_request(&destination(Some("ratings")), &mut parts).expect("applies");
    assert_eq!(parts.uri, "http://ratings/v1/x?q=/api");
    assert_eq!(
        (&parts.headers["level"], &parts.headers["host"]),
        (&"destination".parse().expect("value"), &"ratings".parse().expect("value"))
    );
    let mut headers = HeaderMap::new();
    route.apply_response(Some(&destination(None)), &mut headers);
    assert_eq!(headers.get_all("level").iter().collect::<Vec<_>>(), ["route", "destination"]);
}

#[test]
fn the_routes_authority_wins_over_its_destinations() {
    let route = forwarding(Rewrite { path: None, authority: Some(HeaderValue::from_static("route:1")) });
    let (mut parts, ()) = http::Request::get("http://reviews:9080/").body(()).expect("request").into_parts();
    route.apply_request(&destination(Some("destination:2")), &mut parts).expect("applies");
    assert_eq!(
        (parts.uri.to_string().as_str(), &parts.headers["host"]),
        ("http://route:1/", &HeaderValue::from_static("route:1"))
    );
}

#[test]
fn a_path_that_a_rewrite_makes_too_long_is_refused() {
    let rewrite = PathRewrite::Full(format!("/{}", "a".repeat(70_000)).into());
    let route = forwarding(Rewrite { path: Some(rewrite), authority: None });
    let (mut parts, ()) = http::Request::get("http://reviews:9080/").body(()).expect("request").into_parts();
    assert!(route.apply_request(&destination(None), &mut parts).is_err());
}

#[test]
fn deciding_and_choosing_allocate_nothing() {
    let regex = PathMatch::Regex(FullMatch::new("/v[0-9]+/.*").expect("regex"));
    let mut conditions = vec![RouteMatch { path: regex, ..RouteMatch::everything() }];
    conditions.extend((0..100).map(|at| exact(&format!("/exact/{at}"))));
    conditions.push(with_header(RouteMatch::everything(), "end-user", "jason"));
    conditions.push(with_query(RouteMatch::everything(), "v", Some("1")));
    let table = table(conditions);
    let split = || Split::new(vec![destination(None), destination(None)]);
    let sticky = split().sticking_to("header:end-user".parse().expect("a key"), "route");
    let splits = [split(), sticky];
    with_facts("/some/path?v=1", &[("end-user", "amy")], |facts| {
        // The first search of an expression makes its cache.
        table.decide(facts, &mut NoTrace);
        let measured = allocation_counter::measure(|| {
            assert!(table.decide(facts, &mut NoTrace).is_some());
            for split in &splits {
                let source = KeySource { headers: facts.headers, identity: None, unix_seconds: None };
                assert!(split.choose(&source, Some(0.7)).is_some());
            }
        });
        assert_eq!(measured.count_total, 0);
    });
}

/// Paths over few letters, so that they are often equal or begin with one another.
fn path_text() -> impl Strategy<Value = String> {
    "/[aAb/]{0,5}"
}

fn path_match() -> impl Strategy<Value = PathMatch> {
    // Compiled once, for compiling is nearly all of what this test takes.
    let regexes = ["/.*", "/a.*", "/[ab]", "/b|/a"].map(|regex| FullMatch::new(regex).expect(regex));
    prop_oneof![
        (path_text(), any::<bool>()).prop_map(|(path, fold)| PathMatch::Exact(text(&path, fold))),
        (path_text(), any::<bool>()).prop_map(|(path, fold)| PathMatch::Prefix(text(&path, fold))),
        (path_text(), any::<bool>())
            .prop_map(|(path, fold)| PathMatch::SegmentPrefix(text(path.trim_end_matches('/'), fold))),
        prop::sample::select(regexes.to_vec()).prop_map(PathMatch::Regex),
    ]
}

fn condition() -> impl Strategy<Value = RouteMatch> {
    let header = prop_oneof![3 => Just(None), 1 => prop_oneof![Just("1"), Just("2")].prop_map(Some)];
    (path_match(), header).prop_map(|(path, header)| {
        let condition = RouteMatch { path, ..RouteMatch::everything() };
        match header {
            Some(value) => with_header(condition, "x", value),
            None => condition,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn the_index_finds_what_a_walk_through_all_rules_finds(
        conditions in prop::collection::vec(condition(), 0..12),
        // Ten of each table, 10⁵ decisions in all: making the table is what takes long.
        paths in prop::collection::vec(path_text(), 10),
    ) {
        let table = table(conditions);
        for path in paths {
            let agree = with_facts(&format!("http://reviews:9080{path}"), &[("x", "1")], |facts| {
                let walked = table.routes().iter().find(|route| route.condition.matches(facts));
                let decided = table.decide(facts, &mut NoTrace);
                walked.map(std::ptr::from_ref) == decided.map(std::ptr::from_ref)
            });
            prop_assert!(agree, "{path}: {:?}", table.routes());
        }
    }
}
