//! The other kinds, and kinds that are none.

use super::*;

const NETWORKING: &str = "networking.istio.io/v1";

#[test]
fn consistent_hashing_has_one_key_and_one_table() {
    let row = |hash: &str, wanted: &[(Code, &str)]| {
        let spec = format!("{{host: a, trafficPolicy: {{loadBalancer: {{consistentHash: {{{hash}}}}}}}}}");
        let prefix = "trafficPolicy.loadBalancer.consistentHash";
        let fields: Vec<String> = wanted.iter().map(|(_, field)| format!("{prefix}{field}")).collect();
        let wanted: Vec<_> = wanted.iter().zip(&fields).map(|((code, _), field)| (*code, &**field)).collect();
        check(&document("networking.istio.io/v1", "DestinationRule", &spec), &wanted);
    };
    row("httpHeaderName: x-user", &[]);
    row("httpQueryParameterName: user, maglev: {tableSize: 251}", &[]);
    row("useSourceIp: true, ringHash: {minimumRingSize: 0}", &[]);
    row("httpCookie: {name: uid, path: /, ttl: 0s, attributes: [{name: Secure}]}, maglev: {}", &[]);
    row("httpHeaderName: x, minimumRingSize: 7", &[(Code::Deprecated, ".minimumRingSize")]);
    row("httpHeaderName: ':path'", &[(Code::InvalidValue, ".httpHeaderName")]);
    row("httpHeaderName: host", &[(Code::InvalidValue, ".httpHeaderName")]);
    row("httpHeaderName: ''", &[(Code::InvalidValue, ".httpHeaderName")]);
    row("httpQueryParameterName: a&b", &[(Code::InvalidValue, ".httpQueryParameterName")]);
    row("httpCookie: {name: a b}", &[(Code::InvalidValue, ".httpCookie")]);
    row("httpCookie: {ttl: 1s}", &[(Code::MissingField, ".httpCookie.name")]);
    row("httpCookie: {name: a, path: /;b}", &[(Code::InvalidValue, ".httpCookie")]);
    row("httpHeaderName: x, maglev: {tableSize: 1000}", &[(Code::InvalidValue, ".maglev.tableSize")]);
    row(
        "httpHeaderName: x, ringHash: {minimumRingSize: 8388609}",
        &[(Code::InvalidValue, ".ringHash.minimumRingSize")],
    );
    row("maglev: {tableSize: 3}", &[(Code::Suspicious, "")]);
}

#[test]
fn destination_rules() {
    let row =
        |spec: &str, wanted: &[(Code, &str)]| check(&document(NETWORKING, "DestinationRule", spec), wanted);
    row("{host: a, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}, tls: {mode: ISTIO_MUTUAL}}}", &[]);
    row(
        "{host: a, trafficPolicy: {load_balancer: {simple: 2}}, subsets: [{name: v1, labels: {version: v1}}]}",
        &[],
    );
    row("{}", &[(Code::MissingField, "host")]);
    row("{host: a, subsets: [{labels: {}}]}", &[(Code::MissingField, "subsets[0].name")]);
    row("{host: a, subsets: [{name: x}, {name: x}]}", &[(Code::Duplicate, "subsets[1].name")]);
    row("{host: a, trafficPolicy: {}}", &[(Code::MissingField, "trafficPolicy")]);
    row(
        "{host: a, trafficPolicy: {loadBalancer: {simple: FASTEST}}}",
        &[(Code::InvalidValue, "trafficPolicy.loadBalancer.simple")],
    );
    row(
        "{host: a, trafficPolicy: {loadBalancer: {simple: LEAST_CONN}}}",
        &[(Code::Deprecated, "trafficPolicy.loadBalancer.simple")],
    );
    let tls = |settings: &str| format!("{{host: a, trafficPolicy: {{tls: {{{settings}}}}}}}");
    row(
        &tls(
            "mode: SIMPLE, sni: a.com, subjectAltNames: [a.com, 10.0.0.1], caCertificates: /ca.pem, caCrl: /crl.pem",
        ),
        &[],
    );
    row(&tls("mode: MUTUAL, clientCertificate: /c.pem, privateKey: /k.pem, insecureSkipVerify: true"), &[]);
    row(&tls("mode: ISTIO_MUTUAL, sni: outbound_.80_._.b, subjectAltNames: ['spiffe://a/ns/b/sa/c']"), &[]);
    let field = |name: &str| format!("trafficPolicy.tls.{name}");
    let found = |settings: &str, code: Code, name: &str| row(&tls(settings), &[(code, &field(name))]);
    found("mode: MUTUAL, privateKey: /k.pem", Code::MissingField, "clientCertificate");
    found("mode: SIMPLE, caCertificates: /a, insecureSkipVerify: true", Code::Conflict, "insecureSkipVerify");
    found("mode: SIMPLE, clientCertificate: /c.pem", Code::Suspicious, "clientCertificate");
    found("mode: SIMPLE, sni: 10.0.0.1", Code::InvalidValue, "sni");
    found("mode: SIMPLE, sni: '*.a.com'", Code::InvalidValue, "sni");
    found("mode: SIMPLE, subjectAltNames: [a@b.com]", Code::UnsupportedField, "subjectAltNames");
    found("mode: SIMPLE, credentialName: a", Code::UnsupportedField, "credentialName");
    found("mode: ISTIO_MUTUAL, subjectAltNames: [a.com]", Code::UnsupportedField, "subjectAltNames");
    found("mode: ISTIO_MUTUAL, caCertificates: /ca.pem", Code::Suspicious, "caCertificates");
    found("mode: DISABLE, sni: a.com", Code::Suspicious, "sni");
    row(
        "{host: a, trafficPolicy: {connectionPool: {tcp: {maxConnections: 7}}, outlierDetection: {interval: 2s}}}",
        &[],
    );
    let outliers =
        |settings: &str| format!("{{host: a, trafficPolicy: {{outlierDetection: {{{settings}}}}}}}");
    let field = |name: &str| format!("trafficPolicy.outlierDetection.{name}");
    row(
        &outliers(
            "consecutive5xxErrors: 0, consecutiveGatewayErrors: 3, splitExternalLocalOriginErrors: true, \
             consecutiveLocalOriginFailures: 7, interval: 1m30s, baseEjectionTime: 1s, maxEjectionPercent: 100, \
             minHealthPercent: 0, outlierDetectionHttpErrorCodes: [429, 503]",
        ),
        &[],
    );
    row(&outliers("consecutiveErrors: 3"), &[(Code::Deprecated, &field("consecutiveErrors"))]);
    row(&outliers("maxEjectionPercent: 101"), &[(Code::InvalidValue, &field("maxEjectionPercent"))]);
    row(
        &outliers("consecutiveLocalOriginFailures: 2"),
        &[(Code::Conflict, &field("consecutiveLocalOriginFailures"))],
    );
    row(
        &outliers("outlierDetectionHttpErrorCodes: [600]"),
        &[(Code::InvalidValue, &field("outlierDetectionHttpErrorCodes[0]"))],
    );
    let ports = |settings: &str| format!("{{host: a, trafficPolicy: {{portLevelSettings: [{settings}]}}}}");
    row(&ports("{port: {number: 80}, loadBalancer: {simple: RANDOM}, tls: {mode: DISABLE}}"), &[]);
    let field = |rest: &str| format!("trafficPolicy.portLevelSettings[0]{rest}");
    row(&ports("{loadBalancer: {simple: RANDOM}}"), &[(Code::MissingField, &field(".port"))]);
    row(&ports("{port: {number: 80}}"), &[(Code::MissingField, &field(""))]);
    row(&ports("{port: {number: 80}, connectionPool: {tcp: {maxConnections: 7}}}"), &[]);
    let pool = |part: &str| format!("{{host: a, trafficPolicy: {{connectionPool: {{{part}}}}}}}");
    let field = |name: &str| format!("trafficPolicy.connectionPool.{name}");
    row(
        &pool(
            "tcp: {maxConnections: 0, connectTimeout: 1s, idleTimeout: 2s, maxConnectionDuration: 1h, tcpKeepalive: {probes: 3, time: 1m, interval: 1s}}, \
             http: {http1MaxPendingRequests: 1, http2MaxRequests: 1, maxRetries: 1, maxRequestsPerConnection: 1, maxConcurrentStreams: 9, idleTimeout: 3s, \
             h2UpgradePolicy: UPGRADE, http2KeepAlive: {interval: 10s, timeout: 2s}}",
        ),
        &[],
    );
    row(&pool(""), &[(Code::MissingField, "trafficPolicy.connectionPool")]);
    row(&pool("tcp: {maxConnections: -1}"), &[(Code::InvalidValue, &field("tcp.maxConnections"))]);
    row(&pool("http: {http2KeepAlive: {}}"), &[(Code::MissingField, &field("http.http2KeepAlive.interval"))]);
    row(&pool("http: {useClientProtocol: true}"), &[(Code::NoEffect, &field("http.useClientProtocol"))]);
    row(
        "{host: a, trafficPolicy: {retryBudget: {percent: 12.5, minRetryConcurrency: 0, budgetInterval: 0s}}}",
        &[],
    );
    row(
        "{host: a, trafficPolicy: {retryBudget: {percent: 101}}}",
        &[(Code::InvalidValue, "trafficPolicy.retryBudget.percent")],
    );
    row(
        &ports("{port: {number: 80}, tls: {mode: DISABLE}}, {port: {number: 80}, tls: {mode: ISTIO_MUTUAL}}"),
        &[(Code::Shadowed, "trafficPolicy.portLevelSettings[1]")],
    );
    row("{host: a, workloadSelector: {matchLabels: {app: web}}, subsets: [{name: v1}]}", &[]);
    row("{host: a, workloadSelector: {}}", &[(Code::Suspicious, "workloadSelector")]);
    row("{host: a, exportTo: [.], workloadSelector: {matchLabels: {app: web}}}", &[]);
    row(
        "{host: a, exportTo: ['*'], workloadSelector: {matchLabels: {app: web}}}",
        &[(Code::Suspicious, "exportTo")],
    );
    row(
        "{host: a, workloadSelector: {matchLabels: {app: 'w*'}}}",
        &[(Code::InvalidValue, "workloadSelector.matchLabels[app]")],
    );
    row("{host: a, workloadSelektor: {}}", &[(Code::UnknownField, "workloadSelektor")]);
}

#[test]
fn service_entries() {
    let row =
        |spec: &str, wanted: &[(Code, &str)]| check(&document(NETWORKING, "ServiceEntry", spec), wanted);
    row("{hosts: [a.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}", &[]);
    row("{hosts: [a.com, '*.b.com'], subjectAltNames: [a.com, 'spiffe://a/ns/b/sa/c']}", &[]);
    row(
        "{hosts: [a.com], location: MESH_INTERNAL, subjectAltNames: [a.com]}",
        &[(Code::Suspicious, "subjectAltNames")],
    );
    row("{hosts: ['*.a.com'], resolution: DYNAMIC_DNS}", &[]);
    row("{hosts: ['*.a.com'], resolution: DNS}", &[(Code::Conflict, "hosts")]);
    row("{hosts: [a.com], resolution: DNS, endpoints: [{address: 10.0.0.1}, {address: b.com}]}", &[]);
    row(
        "{hosts: [a.com], resolution: DNS_ROUND_ROBIN, endpoints: [{address: b.com}, {address: c.com}]}",
        &[(Code::Conflict, "endpoints")],
    );
    row("{hosts: [a.com], subjectAltNames: ['']}", &[(Code::InvalidValue, "subjectAltNames[0]")]);
    row("{hosts: [a.com], workloadSelector: {labels: {a: b}}}", &[(Code::Suspicious, "workloadSelector")]);
    row(
        "{hosts: [a.com], location: MESH_INTERNAL, resolution: STATIC, workloadSelector: {labels: {app: a}}}",
        &[],
    );
    row("{hosts: [a.com], resolution: STATIC, endpoints: [{address: 10.0.0.1, weight: 2}]}", &[]);
    row("{hosts: [a.com], resolution: STATIC, addresses: [1.2.3.4]}", &[(Code::NoEffect, "addresses")]);
    row("{resolution: STATIC}", &[(Code::MissingField, "hosts")]);
    row("{hosts: [], resolution: STATIC}", &[(Code::MissingField, "hosts")]);
    row("{hosts: ['*'], resolution: STATIC}", &[(Code::InvalidValue, "hosts")]);
    row("{hosts: [a.com], endpoints: [{address: 10.0.0.1}]}", &[(Code::Conflict, "endpoints")]);
    row(
        "{hosts: [a.com], resolution: STATIC, endpoints: [{address: b.com}]}",
        &[(Code::InvalidValue, "endpoints[0]")],
    );
    row(
        "{hosts: ['*.a.com'], workloadSelector: {labels: {a: b}}, resolution: DNS}",
        &[(Code::Conflict, "hosts")],
    );
    row(
        "{hosts: [a.com], resolution: STATIC, ports: [{number: 1, name: a}, {number: 1, name: b}]}",
        &[(Code::Duplicate, "ports[1]")],
    );
    row(
        "{hosts: [a.com], resolution: STATIC, ports: [{number: 1, name: a, protocol: SMTP}]}",
        &[(Code::InvalidValue, "ports[0].protocol")],
    );
    row(
        "{hosts: [a.com, b.com], ports: [{number: 1, name: a, protocol: TCP}], resolution: STATIC}",
        &[(Code::Conflict, "hosts")],
    );
}

#[test]
fn workload_entries() {
    let row =
        |spec: &str, wanted: &[(Code, &str)]| check(&document(NETWORKING, "WorkloadEntry", spec), wanted);
    row("{address: 10.0.0.1, ports: {http: 8080}, labels: {app: a}, serviceAccount: a, locality: r/z}", &[]);
    row("{address: a.example.com}", &[]);
    row("{address: 'unix:///run/a.sock'}", &[]);
    row("{address: 'unix://@a'}", &[]);
    row("{network: n}", &[(Code::UnsupportedField, "network")]);
    row("{}", &[(Code::MissingField, "address")]);
    row("{address: 'a b'}", &[(Code::InvalidValue, "address")]);
    row("{address: 'unix:///a/b', ports: {http: 1}}", &[(Code::Conflict, "ports")]);
    row("{address: 10.0.0.1, network: n}", &[]);
}

#[test]
fn services() {
    let row = |spec: &str, wanted: &[(Code, &str)]| check(&document("v1", "Service", spec), wanted);
    row(
        "{type: ClusterIP, selector: {app: a}, ports: [{port: 80, targetPort: http, appProtocol: grpc}]}",
        &[],
    );
    row("{clusterIP: None, ports: [{port: 80}]}", &[(Code::NoEffect, "clusterIP")]);
    row("{type: ExternalName, externalName: a.com}", &[(Code::UnsupportedField, "type")]);
    row("{ports: [{name: x}]}", &[(Code::MissingField, "ports[0].port")]);
}

#[test]
fn mesh_settings() {
    let row = |spec: &str, wanted: &[(Code, &str)]| {
        check(&document("proxyless.mesh/v1alpha1", "MeshSettings", spec), wanted)
    };
    row("{trustDomain: example.org, outboundTrafficPolicy: {mode: REGISTRY_ONLY}, connectTimeout: 2s}", &[]);
    row("{dnsRefreshRate: 5s}", &[]);
    row("{dnsRefreshRate: 1s}", &[(Code::Suspicious, "dnsRefreshRate")]);
    row("{trustDomain: 'A B'}", &[(Code::InvalidValue, "trustDomain")]);
    row("{numTrustedProxies: 1}", &[(Code::UnsupportedField, "numTrustedProxies")]);
    row("{propagatedHeaders: []}", &[]);
    row("{propagatedHeaders: [baggage, X-User]}", &[]);
    row("{propagatedHeaders: baggage}", &[(Code::WrongType, "propagatedHeaders")]);
    row(
        "{propagatedHeaders: [x user, Content-Length]}",
        &[(Code::InvalidValue, "propagatedHeaders[0]"), (Code::InvalidValue, "propagatedHeaders[1]")],
    );
    let many: Vec<String> = (0..17).map(|at| format!("x-{at}")).collect();
    row(
        &format!("{{propagatedHeaders: [{}]}}", many.join(", ")),
        &[(Code::InvalidValue, "propagatedHeaders")],
    );
    row("{trustDomains: x}", &[(Code::UnknownField, "trustDomains")]);
}

#[test]
fn kinds_are_known_by_group() {
    let row = |api_version: &str, kind: &str, wanted: &[Code]| {
        let text = format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: a}}\n");
        let codes: Vec<Code> = found(&text).into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes, wanted, "{api_version} {kind}");
    };
    row("v1", "ConfigMap", &[Code::Skipped]);
    row("apps/v1", "StatefulSet", &[Code::Skipped]);
    row("apps/v1", "Deployment", &[Code::Skipped]);
    row("serving.knative.dev/v1", "Service", &[Code::Skipped]);
    row("argoproj.io/v1alpha1", "Rollout", &[Code::Skipped]);
    row("cert-manager.io/v1", "Certificate", &[Code::Skipped]);
    row("networking.k8s.io/v1", "NetworkPolicy", &[Code::Skipped]);
    row("networking.istio.io/v1", "VirtualServise", &[Code::UnknownKind]);
    row("networking.istio.io/v2", "VirtualService", &[Code::UnknownVersion]);
    row("networking.istio.io/v1", "HTTPRoute", &[Code::UnknownKind]);
    row("networking.istio.io/v1", "VirtualService", &[Code::MissingField]);
    row("networking.istio.io/v1", "Sidecar", &[Code::UnsupportedKind]);
    row("security.istio.io/v1", "RequestAuthentication", &[Code::UnsupportedKind]);
    row("gateway.networking.k8s.io/v1", "TLSRoute", &[Code::UnsupportedKind]);
    row("gateway.networking.k8s.io/v1", "Gateway", &[Code::Inert]);
    row("networking.istio.io/v1beta1", "Gateway", &[Code::Inert]);
    row("proxyless.mesh/v1alpha1", "Anything", &[Code::UnknownKind]);
    assert_eq!(Kind::from_name("virtualservices"), Some(Kind::VirtualService));
    assert_eq!(Kind::from_name("dr"), Some(Kind::DestinationRule));
    assert_eq!(Kind::from_name("authorizationpolicies"), Some(Kind::AuthorizationPolicy));
    assert_eq!(Kind::from_name("pods"), None);
}

#[test]
fn heads_are_checked() {
    check("just text\n", &[(Code::WrongType, "")]);
    check("kind: Service\n", &[(Code::MissingField, "")]);
    check("apiVersion: v1\nkind: Service\nmetadata: {}\n", &[(Code::MissingField, "metadata.name")]);
    check(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a, lables: {}}\n",
        &[(Code::UnknownField, "metadata.lables")],
    );
    check("apiVersion: v1\nkind: Service\nmetadata: {name: a/b}\n", &[(Code::InvalidValue, "metadata.name")]);
    check("---\n---\n# nothing\n", &[]);
}

#[test]
fn workload_facts_are_read() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  replicas: 1\n  template:\n    metadata: {labels: {app: a}}\n    spec:\n      serviceAccountName: sa\n      containers:\n      - image: x\n        ports: [{containerPort: 9080, name: http}]\n";
    let reading = read(text);
    let (_, deployment) = reading.documents.all::<Deployment>()[0];
    assert_eq!(deployment.service_account.as_deref(), Some("sa"));
    assert_eq!(deployment.labels["app"], "a");
    assert_eq!(deployment.ports, [ContainerPort { name: Some("http".to_owned()), port: 9080 }]);
    let text = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: IPv4\nports: [{name: http, port: 1}]\nendpoints:\n- addresses: [10.0.0.1]\n  conditions: {ready: false}\n";
    let reading = read(text);
    let (_, slice) = reading.documents.all::<EndpointSlice>()[0];
    assert!(!slice.endpoints[0].ready);
    assert_eq!(slice.ports[0].port, 1);
}

#[test]
fn a_kind_that_looks_like_one_of_the_mesh_is_not_passed_over_in_silence() {
    let row = |api_version: &str, kind: &str, meant: &str| {
        let reports = read(&document(api_version, kind, "{}")).reports;
        let [finding] = &reports[0].findings[..] else { panic!("{reports:?}") };
        assert_eq!(finding.code.severity(), Severity::Warning);
        assert!(finding.next.ends_with(meant), "{api_version} {kind}: {}", finding.next);
    };
    let policy = "`apiVersion: security.istio.io/v1` and `kind: AuthorizationPolicy`";
    row("security.isto.io/v1", "AuthorizationPolicy", policy);
    row("policy.example.com/v1", "AuthorizationPolicy", policy);
    row("example.com/v1", "AuthorisationPolicy", policy);
    row(
        "networking.isto.io/v1",
        "VirtualServce",
        "`apiVersion: networking.istio.io/v1` and `kind: VirtualService`",
    );
    row("networking.isto.io/v1", "Gateway", "`apiVersion: networking.istio.io/v1` and `kind: Gateway`");
    row("v1", "Sevice", "`apiVersion: v1` and `kind: Service`");
    row("v1", "service", "`apiVersion: v1` and `kind: Service`");
    row(
        "proxyles.mesh/v1alpha1",
        "MeshSettings",
        "`apiVersion: proxyless.mesh/v1alpha1` and `kind: MeshSettings`",
    );
}

#[test]
fn a_document_larger_than_is_kept_is_one_error() {
    let large = |bytes: usize| {
        let route = document(NETWORKING, "VirtualService", "{hosts: [b], http: [{}]}");
        format!("---\n{route}# {}\n", "a".repeat(bytes))
    };
    let reports = read(&format!("{}{}", document("v1", "Service", "{}"), large(DOCUMENT_BYTES_MAX))).reports;
    let [finding] = &reports[1].findings[..] else { panic!("{:?}", reports[1].findings) };
    assert_eq!((finding.code, reports[1].at(finding.span)), (Code::TooLarge, "a.yaml:6".to_owned()));
    assert!(!found(&large(DOCUMENT_BYTES_MAX / 2)).iter().any(|(code, _)| *code == Code::TooLarge));
}
