//! Route tables that say all that gRPC's xDS can do and documents can say.
//!
//! Left out, because gRPC has no such thing: query parameters, redirects, direct responses, changes of headers, rewrites,
//! mirrors, CORS, sticky choices, retries on HTTP statuses and on resets, time limits of one attempt, budgets of retries (ours
//! is made large enough to refuse none); a header that is
//! unlike something does not count as such to gRPC where it is not there at all. Left out, because two random
//! draws are not alike: weights and percentages between none and all. Left out, because no document says it: suffixes and
//! ranges of headers.

/// The versions of `echo`, each a receiver of that name.
pub(super) const VERSIONS: [&str; 6] = ["v1", "v2", "v3", "v4", "v5", "v6"];
/// Services of their own, each a receiver of that name.
pub(super) const BACKENDS: [&str; 3] = ["left", "right", "other"];

/// Of Istio: rules for `echo`.
pub(super) const VIRTUAL_SERVICE: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo
  trafficPolicy:
    outlierDetection: {interval: 1s, outlierDetectionHttpErrorCodes: [503]}
    retryBudget: {percent: 100, minRetryConcurrency: 1000}
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
  - {name: v3, labels: {version: v3}}
  - {name: v4, labels: {version: v4}}
  - {name: v5, labels: {version: v5}}
  - {name: v6, labels: {version: v6}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: [echo]
  http:
  - match: [{sourceLabels: {role: nobody}}, {sourceNamespace: elsewhere}, {port: 1}]
    route: [{destination: {host: echo, subset: v6}}]
  - match: [{uri: {exact: /shop.Cart/Add}}]
    route: [{destination: {host: echo, subset: v1}}]
  - match: [{uri: {exact: /SHOP.Cart/drop}, ignoreUriCase: true}, {uri: {prefix: /SHOP.basket/}, ignoreUriCase: true}]
    route: [{destination: {host: echo, subset: v5}}]
  - match: [{uri: {prefix: /shop.Cart/}, headers: {x-tier: {exact: gold}}}]
    route: [{destination: {host: echo, subset: v2}}]
  - match: [{uri: {prefix: /shop.}, headers: {x-tier: {prefix: sil}, x-user: {regex: '[a-f]+[0-9]{1,2}'}}}]
    route: [{destination: {host: echo, subset: v3}}]
  - match: [{headers: {x-tier: {regex: 'br.*ze|cop+er'}}, uri: {prefix: /shop.}}]
    route: [{destination: {host: echo, subset: v4}, weight: 100}, {destination: {host: echo, subset: v1}, weight: 0}]
  - match: [{uri: {regex: '/shop[.][A-Z][a-z]+/(Get|List)[A-Z]?.*'}}]
    route:
    - {destination: {host: echo, subset: v5}, weight: 0}
    - {destination: {host: echo, subset: v6}, weight: 7}
    - {destination: {host: echo, subset: v1}, weight: 0}
  - match: [{headers: {x-debug: {}}, uri: {prefix: /shop.}, sourceLabels: {role: tester}}]
    route: [{destination: {host: echo, subset: v2}}]
  - match: [{uri: {prefix: /shop.Users/}, withoutHeaders: {x-user: {}}}]
    route: [{destination: {host: echo, subset: v3}}]
  - match: [{uri: {prefix: /shop.Orders/}, headers: {x-tier: {}}, withoutHeaders: {x-tier: {exact: gold}}}]
    route: [{destination: {host: echo, subset: v4}}]
  - match: [{uri: {prefix: /fault.Grpc/}}]
    fault: {abort: {grpcStatus: RESOURCE_EXHAUSTED, percentage: {value: 100}}}
    route: [{destination: {host: echo, subset: v1}}]
  - match: [{uri: {prefix: /fault.None/}}]
    fault: {abort: {grpcStatus: ABORTED, percentage: {value: 0}}}
    route: [{destination: {host: echo, subset: v2}}]
  - match: [{uri: {prefix: /fault.Http503/}}]
    fault: {abort: {httpStatus: 503, percentage: {value: 100}}}
    route: [{destination: {host: echo, subset: v1}}]
  - match: [{uri: {prefix: /fault.Http404/}}]
    fault: {abort: {httpStatus: 404, percentage: {value: 100}}}
    route: [{destination: {host: echo, subset: v1}}]
  - match: [{uri: {prefix: /fault.Http418/}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: echo, subset: v1}}]
  - match: [{uri: {prefix: /fault.Late/}}]
    fault: {delay: {fixedDelay: 10ms, percentage: {value: 100}}}
    route: [{destination: {host: echo, subset: v3}}]
  - match: [{uri: {prefix: /silent.}}]
    timeout: 150ms
    route: [{destination: {host: echo, subset: v5}}]
  - match: [{uri: {prefix: /flaky.Once/}}]
    retries: {attempts: 1, retryOn: unavailable}
    route: [{destination: {host: echo, subset: v6}}]
  - match: [{uri: {prefix: /flaky.Thrice/}}]
    retries: {attempts: 3, retryOn: 'unavailable,cancelled', backoff: 5ms}
    route: [{destination: {host: echo, subset: v6}}]
  - match: [{uri: {prefix: /flaky.}}]
    retries: {attempts: 0}
    route: [{destination: {host: echo, subset: v6}}]
  - route: [{destination: {host: echo, subset: v1}}]
";

/// Of the Gateway API: rules for `plain`.
pub(super) const GRPC_ROUTE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: plain}
spec:
  parentRefs: [{group: '', kind: Service, name: plain}]
  rules:
  - matches: [{method: {service: shop.Cart, method: Add}}]
    backendRefs: [{name: left, port: 9080}]
  - matches: [{method: {service: shop.Cart}, headers: [{name: x-tier, value: gold}]}, {method: {method: ListAll}}]
    backendRefs: [{name: right, port: 9080, weight: 1}, {name: left, port: 9080, weight: 0}]
  - matches: [{method: {type: RegularExpression, service: 'shop[.](Users|Orders)', method: 'Get.*'}}]
    backendRefs: [{name: other, port: 9080}]
  - matches: [{headers: [{name: x-user, type: RegularExpression, value: '[a-f]+[0-9]{1,2}'}, {name: x-tier, value: silver}]}]
    backendRefs: [{name: left, port: 9080, weight: 0}, {name: right, port: 9080, weight: 3}]
  - matches: [{method: {service: shop.Basket}}]
    backendRefs: [{name: right, port: 9080}]
  - backendRefs: [{name: other, port: 9080}]
";
