//! MeshSettings: what holds for the whole mesh.

use super::ask::{Ask, See, get};
use super::case::{Case, case, document, named};
use super::fleet::Caller;
use super::preference::{self, OUTLIERS};
use super::teller::RELAY;

pub(super) fn cases() -> Vec<Case> {
    let row = |field: &str, part: &str, more: &str, ask: Ask, base: &str, flipped: &str| {
        case(field, format!("{}{more}", document("MeshSettings", part)), ask, base, flipped)
    };
    let deny = named("AuthorizationPolicy", "root/case", "action: DENY, rules: [{}]");
    let former = document(
        "AuthorizationPolicy",
        "rules: [{from: [{source: {principals: [former.example/ns/default/sa/home]}}]}]",
    );
    let silent = format!("{}{}", entry("targetPort: $SILENT"), limited());
    let principal = get("/").see(See::Principal);
    let home = "cluster.local/ns/default/sa/home";
    let api = || get("http://api.example/");
    let open = format!(
        "outboundTrafficPolicy: {{mode: REGISTRY_ONLY}}, {}",
        "defaultServiceExportTo: [<<'*' -> '.'>>]"
    );
    let teapot = document(
        "VirtualService",
        "hosts: [one.default.svc.cluster.local], http: [{directResponse: {status: 418}}]",
    );
    let away = get("http://one.default:9080/").by(Caller::Away);
    let plaintext = document("DestinationRule", "host: one, trafficPolicy: {tls: {mode: DISABLE}}");
    let from_away = away.clone().see(See::Principal);
    let away_id = "cluster.local/ns/far/sa/away";
    let relayed = get("/").header(RELAY, "http://two:9080/").header("x-a", "a").see(See::Got("x-a"));
    let outliers = document("DestinationRule", &format!("host: api.example, trafficPolicy: {{{OUTLIERS}}}"));
    let preferences = preference::rows().into_iter().map(|one| {
        let more = format!("{outliers}{}", one.service);
        row(one.field, &one.setting, &more, preference::ask(), one.base, one.flipped)
    });
    let mut cases = vec![
        row(
            "trustDomainAliases",
            "trustDomainAliases: [<<former -> other>>.example]",
            &former,
            get("/"),
            "one",
            "403",
        ),
        row("rootNamespace", "rootNamespace: <<root -> other>>", &deny, get("/"), "403", "one"),
        row("enableAutoMtls", "enableAutoMtls: <<true -> false>>", "", principal, home, "-"),
        row(
            "outboundTrafficPolicy.mode",
            "outboundTrafficPolicy: {mode: <<REGISTRY_ONLY -> ALLOW_ANY>>}",
            "",
            get("http://127.0.0.1:$PLAIN/"),
            "502",
            "plain",
        ),
        row(
            "pathNormalization.normalization",
            "pathNormalization: {normalization: <<MERGE_SLASHES -> BASE>>}",
            "",
            get("/a//b").see(See::Path),
            "/a/b",
            "/a//b",
        ),
        row("connectTimeout", "connectTimeout: <<50ms -> 20s>>", &silent, api(), "503", "504"),
        row(
            "defaultServiceExportTo",
            &open,
            &entry("targetPort: $PLAIN"),
            api().by(Caller::Away),
            "plain",
            "502",
        ),
        row(
            "defaultVirtualServiceExportTo",
            "defaultVirtualServiceExportTo: [<<'*' -> '.'>>]",
            &teapot,
            away,
            "418",
            "one",
        ),
        row(
            "defaultDestinationRuleExportTo",
            "defaultDestinationRuleExportTo: [<<'*' -> '.'>>]",
            &plaintext,
            from_away,
            "-",
            away_id,
        ),
        row("propagatedHeaders", "propagatedHeaders: [<<x-a -> x-b>>]", "", relayed, "a", "-"),
    ];
    cases.extend(preferences);
    cases
}

/// A host outside the mesh, at a port of this machine.
fn entry(port: &str) -> String {
    document(
        "ServiceEntry",
        &format!(
            "hosts: [api.example], ports: [{{number: 80, name: http, {port}}}], resolution: STATIC, endpoints: [{{address: 127.0.0.1}}]"
        ),
    )
}

fn limited() -> String {
    document(
        "VirtualService",
        "hosts: [api.example], http: [{timeout: 1s, retries: {attempts: 0}, route: [{destination: {host: api.example}}]}]",
    )
}
