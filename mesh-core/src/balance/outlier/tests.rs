//! Ejections over a whole cluster: picks, attempts and their ends, under a clock of the test's own.

use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::balance::EndpointStates;
use crate::resource::outlier_detection::{Consecutive, FailurePercentage, SuccessRate};
use crate::resource::{
    BalancerPolicy, ClusterSpec, ConnectionPool, EndpointSource, EndpointSpec, Health, UpstreamProtocol,
    UpstreamTls,
};
use crate::snapshot::Cluster;

const SECOND: Duration = Duration::from_secs(1);
const ERROR: Verdict = Verdict::Answered(StatusCode::INTERNAL_SERVER_ERROR);
const GATEWAY: Verdict = Verdict::Answered(StatusCode::BAD_GATEWAY);
const GOOD: Verdict = Verdict::Answered(StatusCode::OK);

/// A cluster whose configuration changes while its state stays.
struct Scene {
    states: EndpointStates,
    cluster: Cluster,
    now: Moment,
    rng: Rng,
}

impl Scene {
    fn new(detection: OutlierDetection, endpoints: usize) -> Self {
        let mut states = EndpointStates::default();
        let now = Moment::START + SECOND;
        let cluster = cluster(&mut states, Some(detection), BalancerPolicy::Random, endpoints);
        Self { states, cluster, now, rng: Rng::with_seed(7) }
    }

    fn configure(&mut self, detection: Option<OutlierDetection>, endpoints: usize) {
        self.cluster = cluster(&mut self.states, detection, BalancerPolicy::Random, endpoints);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn pick(&mut self) -> usize {
        let picked = self.cluster.pick(&mut self.rng, None, &[], self.now).expect("an endpoint");
        usize::from(picked.spec.address.port())
    }

    /// How an attempt at an endpoint went that took no time.
    fn report(&self, at: usize, verdict: Verdict) {
        self.report_after(at, verdict, Duration::ZERO);
    }

    fn report_after(&self, at: usize, verdict: Verdict, elapsed: Duration) {
        let endpoint = &self.cluster.endpoints[at];
        drop(self.cluster.begin(endpoint, self.now));
        self.cluster.report(endpoint, verdict, elapsed, self.now);
    }

    fn fail(&self, at: usize, times: usize) {
        (0..times).for_each(|_| self.report(at, ERROR));
    }

    fn ejected(&self) -> Vec<usize> {
        let endpoints = self.cluster.endpoints.iter();
        let is_ejected = |(_, endpoint): &(usize, &Endpoint)| endpoint.state.outlier.is_ejected();
        endpoints.enumerate().filter(is_ejected).map(|(at, _)| at).collect()
    }

    /// For how long from now on it is left alone.
    fn remaining(&self, at: usize) -> Duration {
        let until = self.cluster.endpoints[at].state.outlier.ejected_until();
        until.map_or(Duration::ZERO, |until| until.since(self.now))
    }

    /// Who is picked by many requests.
    fn picked(&mut self) -> Vec<usize> {
        let mut picked: Vec<usize> = (0..200).map(|_| self.pick()).collect();
        picked.sort_unstable();
        picked.dedup();
        picked
    }
}

/// Endpoint `n` has port `n`.
fn cluster(
    states: &mut EndpointStates,
    outlier_detection: Option<OutlierDetection>,
    balancer: BalancerPolicy,
    endpoints: usize,
) -> Cluster {
    let spec = ClusterSpec {
        name: "outbound|80||a".into(),
        host: "a".into(),
        port: 80,
        subset: None,
        endpoints: EndpointSource::ControlPlane("outbound|80||a".into()),
        tls: UpstreamTls::Plaintext,
        plaintext_endpoints: false,
        protocol: UpstreamProtocol::Auto,
        balancer,
        localities_weighted: false,
        outlier_detection,
        panic_threshold_percent: None,
        connection_pool: ConnectionPool::default(),
        health_check: None,
        destination_rules: Vec::new(),
    };
    let endpoint = |port| EndpointSpec {
        address: SocketAddr::from(([10, 0, 0, 1], port)),
        pipe: None,
        workload: None,
        locality: None,
        locality_weight: 1,
        priority: 0,
        weight: 1,
        health: Health::Healthy,
        mesh_mtls: true,
    };
    let endpoints: Vec<_> = (0..endpoints as u16).map(endpoint).collect();
    let (state, endpoints) = states.join(&spec, &endpoints);
    Cluster::new(Arc::new(spec), endpoints, state)
}

/// Three failures in a row; ejections of 10 s, 20 s … 60 s; every endpoint but one may be ejected.
fn three() -> OutlierDetection {
    OutlierDetection {
        interval: SECOND * 5,
        base_ejection_time: SECOND * 10,
        ejection_time_max: SECOND * 60,
        ejection_percent_max: 100,
        consecutive_5xx: Consecutive::always(3),
        success_rate: None,
        ..OutlierDetection::default()
    }
}

#[test]
fn so_many_failures_in_a_row_eject_and_fewer_do_not() {
    let mut scene = Scene::new(three(), 3);
    scene.fail(0, 2);
    scene.report(0, GOOD);
    scene.fail(0, 2);
    assert_eq!(scene.ejected(), [] as [usize; 0]);
    assert_eq!(scene.picked(), [0, 1, 2]);
    scene.fail(0, 1);
    assert_eq!((scene.ejected(), scene.remaining(0)), (vec![0], SECOND * 10));
    assert_eq!(scene.picked(), [1, 2]);
    assert_eq!(scene.cluster.state.outliers.ejections(EjectionReason::Consecutive5xx), 1);
}

#[test]
fn when_its_time_is_over_one_request_probes_it_and_decides() {
    let mut scene = Scene::new(three(), 3);
    scene.fail(0, 3);
    let probed = |scene: &mut Scene| (0..100).filter(|_| scene.pick() == 0).count();
    scene.pass(SECOND * 10 - Duration::from_nanos(1));
    assert_eq!(probed(&mut scene), 0);
    scene.pass(Duration::from_nanos(1));
    assert_eq!(probed(&mut scene), 1);
    scene.report(0, ERROR);
    assert_eq!(scene.remaining(0), SECOND * 20, "once more, for longer");
    scene.pass(SECOND * 20);
    assert_eq!(probed(&mut scene), 1);
    scene.report(0, GOOD);
    assert_eq!(scene.ejected(), [] as [usize; 0]);
    assert_eq!(scene.picked(), [0, 1, 2]);
    let outliers = &scene.cluster.state.outliers;
    assert_eq!((outliers.ejections(EjectionReason::Probe), outliers.readmissions()), (1, 1));
}

#[test]
fn a_probe_that_nothing_is_heard_of_is_followed_by_another_after_a_while() {
    let mut scene = Scene::new(three(), 2);
    scene.fail(0, 3);
    scene.pass(SECOND * 10);
    assert_eq!(scene.pick(), 0);
    scene.report(0, Verdict::Cancelled);
    assert_eq!(scene.picked(), [1], "a caller that left says nothing");
    scene.pass(SECOND * 10);
    assert_eq!(scene.pick(), 0);
    scene.report_after(0, GOOD, SECOND * 10 + Duration::from_nanos(1));
    assert_eq!(scene.ejected(), [0], "of an attempt before this probe");
    scene.report_after(0, GOOD, Duration::ZERO);
    assert_eq!(scene.ejected(), [] as [usize; 0]);
}

#[test]
fn what_began_before_an_ejection_says_nothing_after_it() {
    let mut scene = Scene::new(three(), 2);
    scene.fail(0, 3);
    scene.report(0, GOOD);
    scene.fail(0, 5);
    assert_eq!((scene.ejected(), scene.remaining(0)), (vec![0], SECOND * 10));
    scene.pass(SECOND * 10);
    assert_eq!(scene.pick(), 0);
    scene.report(0, GOOD);
    (0..5).for_each(|_| scene.report_after(0, ERROR, SECOND));
    assert_eq!(scene.ejected(), [] as [usize; 0]);
}

#[test]
fn each_ejection_is_longer_up_to_the_longest_and_time_without_one_is_forgiven() {
    let mut scene = Scene::new(three(), 2);
    scene.fail(0, 3);
    for times in [2, 3, 4, 5, 6, 6] {
        let left = scene.remaining(0);
        scene.pass(left);
        assert_eq!(scene.pick(), 0);
        scene.report(0, Verdict::TimedOut);
        assert_eq!(scene.remaining(0), SECOND * 10 * times);
    }
    let left = scene.remaining(0);
    scene.pass(left);
    assert_eq!(scene.pick(), 0);
    scene.report(0, GOOD);
    // Four intervals, of seven ejections.
    scene.pass(SECOND * 20);
    scene.fail(0, 3);
    assert_eq!(scene.remaining(0), SECOND * 40);
}

#[test]
fn no_more_than_a_share_is_ejected_but_one_may_be_and_never_the_last() {
    let with = |ejection_percent_max, always_ejects_one| OutlierDetection {
        ejection_percent_max,
        always_ejects_one,
        ..three()
    };
    let check = |detection: OutlierDetection, endpoints: usize, expected: usize| {
        let words = format!("{}% of {endpoints}", detection.ejection_percent_max);
        let scene = Scene::new(detection, endpoints);
        (0..endpoints).for_each(|at| scene.fail(at, 3));
        assert_eq!(scene.ejected().len(), expected, "{words}");
    };
    check(with(10, true), 3, 1);
    check(with(10, false), 3, 0);
    check(with(10, false), 10, 1);
    check(with(10, true), 29, 2);
    check(with(50, true), 4, 2);
    check(with(100, true), 4, 3);
    check(with(100, true), 1, 0);
    check(with(0, true), 4, 1);
}

#[test]
fn an_ejection_holds_over_changes_of_configuration_until_detection_is_off() {
    let mut scene = Scene::new(three(), 3);
    scene.fail(0, 3);
    scene.configure(Some(OutlierDetection { interval: SECOND, ..three() }), 5);
    assert_eq!((scene.ejected(), scene.remaining(0)), (vec![0], SECOND * 10));
    assert_eq!(scene.picked(), [1, 2, 3, 4]);
    scene.configure(None, 5);
    assert_eq!(scene.ejected(), [] as [usize; 0]);
    assert_eq!(scene.picked(), [0, 1, 2, 3, 4]);
    scene.fail(0, 9);
    assert_eq!(scene.picked(), [0, 1, 2, 3, 4]);
}

#[test]
fn one_that_was_ejected_is_better_than_nobody() {
    let mut scene = Scene::new(three(), 2);
    scene.fail(0, 3);
    scene.configure(Some(three()), 1);
    assert_eq!(scene.picked(), [0]);
    scene.pass(SECOND * 10);
    assert_eq!(scene.pick(), 0);
    scene.report(0, GOOD);
    assert_eq!(scene.ejected(), [] as [usize; 0]);
}

#[test]
fn of_hashed_requests_those_that_belong_there_probe() {
    use crate::route::{HashKey, HashPolicy, HashTableKind};
    let table = HashTableKind::Ring { points_min: 1024 };
    let hash = BalancerPolicy::Hash(Arc::new(HashPolicy { key: HashKey::SourceAddress, table }));
    let mut scene = Scene::new(three(), 3);
    scene.cluster = cluster(&mut scene.states, Some(three()), hash, 3);
    let met = |scene: &mut Scene, key: u64| {
        let picked =
            scene.cluster.pick(&mut scene.rng, Some(key << 40), &[], scene.now).expect("an endpoint");
        usize::from(picked.spec.address.port())
    };
    let before: Vec<usize> = (0..100_000_u64).step_by(500).map(|key| met(&mut scene, key)).collect();
    scene.fail(0, 3);
    scene.pass(SECOND * 10);
    let after: Vec<usize> = (0..100_000_u64).step_by(500).map(|key| met(&mut scene, key)).collect();
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || *before == 0, "{before} went to {after}");
    }
    assert_eq!(after.iter().filter(|at| **at == 0).count(), 1);
}

#[test]
fn gateway_errors_and_local_failures_are_counted_as_configured() {
    let check = |detection: &OutlierDetection, verdicts: &[Verdict], expected: Option<EjectionReason>| {
        let scene = Scene::new(detection.clone(), 2);
        verdicts.iter().for_each(|verdict| scene.report(0, *verdict));
        let found =
            EjectionReason::ALL.into_iter().find(|one| scene.cluster.state.outliers.ejections(*one) > 0);
        assert_eq!(found, expected, "{verdicts:?}");
    };
    let two = Consecutive::always(2);
    let gateways = OutlierDetection { consecutive_gateway_failure: two, ..three() };
    let of_gateways = Some(EjectionReason::ConsecutiveGatewayFailure);
    check(&gateways, &[GATEWAY, GATEWAY], of_gateways);
    check(&gateways, &[Verdict::NotConnected, Verdict::TimedOut], of_gateways);
    check(&gateways, &[GATEWAY, ERROR, GATEWAY], Some(EjectionReason::Consecutive5xx));
    let split =
        OutlierDetection { splits_local_origin: true, consecutive_local_origin_failure: two, ..three() };
    let of_this_side = Some(EjectionReason::ConsecutiveLocalOriginFailure);
    check(&split, &[Verdict::Reset, Verdict::NotConnected], of_this_side);
    check(&split, &[Verdict::Reset, ERROR, Verdict::Reset, ERROR], None);
    check(&split, &[ERROR, Verdict::Connected, ERROR, ERROR], Some(EjectionReason::Consecutive5xx));
    check(&split, &[Verdict::Reset, Verdict::Connected, Verdict::Reset], None);
    check(&three(), &[Verdict::Reset, Verdict::NotConnected, ERROR], Some(EjectionReason::Consecutive5xx));
    check(&three(), &[ERROR, Verdict::Connected, ERROR, ERROR], None);
    let named = OutlierDetection { error_statuses: vec![StatusCode::TOO_MANY_REQUESTS], ..three() };
    let busy = Verdict::Answered(StatusCode::TOO_MANY_REQUESTS);
    check(&named, &[busy, busy, busy], Some(EjectionReason::Consecutive5xx));
    check(&named, &[ERROR, ERROR, ERROR], None);
    check(&named, &[busy, busy, Verdict::NotConnected], Some(EjectionReason::Consecutive5xx));
    let never = Some(Consecutive { failures: 1, enforced_percent: 0 });
    check(&OutlierDetection { consecutive_5xx: never, ..three() }, &[ERROR], None);
}

#[test]
fn rates_are_judged_once_per_interval() {
    let enforced = Enforced { external_percent: 100, local_origin_percent: 0 };
    let only_rates = OutlierDetection { consecutive_5xx: None, ..three() };
    let percentage = OutlierDetection {
        failure_percentage: Some(FailurePercentage {
            endpoints_min: 3,
            requests_min: 10,
            threshold_percent: 50,
            enforced,
        }),
        ..only_rates.clone()
    };
    let rate = OutlierDetection {
        success_rate: Some(SuccessRate {
            endpoints_min: 3,
            requests_min: 10,
            stdev_factor_thousandths: 1000,
            enforced,
        }),
        ..only_rates
    };
    for (detection, reason) in
        [(percentage, EjectionReason::FailurePercentage), (rate, EjectionReason::SuccessRate)]
    {
        let mut scene = Scene::new(detection, 3);
        for turn in 0..20 {
            scene.report(0, if turn % 2 == 0 { ERROR } else { GOOD });
            scene.report(1, GOOD);
            scene.report(2, GOOD);
        }
        assert_eq!(scene.ejected(), [] as [usize; 0], "{reason:?}");
        scene.pass(SECOND * 5);
        scene.report(1, GOOD);
        assert_eq!(scene.ejected(), [0], "{reason:?}");
        assert_eq!(scene.cluster.state.outliers.ejections(reason), 1);
        scene.pass(SECOND * 5);
        scene.report(1, GOOD);
        assert_eq!(scene.cluster.state.outliers.ejections(reason), 1, "counts began anew");
    }
}

proptest! {
    /// Any order of attempts, outcomes, pauses and changes: the last one stays, no more than the share is ejected, and an ejected
    /// endpoint is met by nobody but one probe at a time.
    #[test]
    fn never_the_last_never_too_many_and_probes_only(
        percent in 0_u32..=100,
        steps in proptest::collection::vec((0_usize..8, 0_u8..10, 0_u64..8), 1..300),
    ) {
        let detection = OutlierDetection {
            ejection_percent_max: percent,
            always_ejects_one: true,
            consecutive_5xx: Consecutive::always(2),
            ..three()
        };
        let mut endpoints = 6;
        let mut scene = Scene::new(detection.clone(), endpoints);
        for (at, what, seconds) in steps {
            let verdict = match what {
                0..6 => ERROR,
                6 => GOOD,
                7 => Verdict::Cancelled,
                8 => Verdict::NotConnected,
                _ => {
                    // Any that stays keeps what is known of it.
                    endpoints = 2 + at;
                    scene.configure(Some(detection.clone()), endpoints);
                    continue;
                }
            };
            let before: Vec<Duration> = (0..endpoints).map(|at| scene.remaining(at)).collect();
            let (ejected, available) = (scene.ejected(), endpoints - scene.ejected().len());
            let picked = scene.pick();
            let was_ejected = ejected.contains(&picked);
            prop_assert!(!was_ejected || before[picked].is_zero() || available == 0);
            if was_ejected && available > 0 {
                prop_assert!(!scene.remaining(picked).is_zero(), "there is a probe");
            }
            // Not all attempts follow the picks: some have been under way before.
            let target = if at < endpoints && !scene.ejected().contains(&at) { at } else { picked };
            scene.report(target, verdict);
            let now_ejected = scene.ejected();
            if now_ejected.len() > ejected.len() {
                prop_assert!(now_ejected.len() < endpoints);
                prop_assert!(now_ejected.len() == 1 || now_ejected.len() * 100 <= percent as usize * endpoints);
            }
            prop_assert!(now_ejected.iter().all(|at| scene.remaining(*at) <= SECOND * 60));
            scene.pass(SECOND * seconds as u32);
        }
    }
}
