//! Trying again, where the policy says so, and another endpoint first.
//!
//! By default only what was certainly not processed is repeated, at another endpoint at once; the same one, or one whose answer
//! is repeated, is asked after a pause. A body that somebody has read of is sent again where a policy wants that and it was
//! short enough to be kept.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use fastrand::Rng;
use http::{HeaderMap, Response, StatusCode};
use mesh_core::balance::{Endpoint, InFlight, Moment, Place, Verdict};
use mesh_core::route::{Outcome, RetryPolicy, Session};
use mesh_core::snapshot::Cluster;
use mesh_core::status::ResponseFlag;

use crate::attempt::{AttemptError, Keep, attempt};
use crate::body::{Protocol, ResponseBody};
use crate::connection::Outgoing;
use crate::deadline::{Timer, announce};
use crate::endpoint::pool;
use crate::error::{ClientError, Limit};
use crate::outbound::Outbound;
use crate::record::ClusterRecord;
use crate::report::Report;

/// A request on its way to a cluster.
pub(crate) struct Forwarding<'a> {
    pub(crate) outbound: &'a Outbound,
    pub(crate) cluster: &'a Cluster,
    /// Whose first attempt goes where it has been before.
    pub(crate) session: Option<&'a Session<'a>>,
    /// The request's number where its cluster hashes.
    pub(crate) hash: Option<u64>,
    pub(crate) policy: Option<&'a RetryPolicy>,
    pub(crate) record: &'a ClusterRecord,
    pub(crate) deadline: Option<Instant>,
    pub(crate) protocol: Protocol,
}

/// A response and where it came from.
pub(crate) struct Answered {
    pub(crate) response: Response<ResponseBody>,
    pub(crate) in_flight: InFlight,
    pub(crate) endpoint: SocketAddr,
}

/// What failed so far. On the heap, since most requests have nothing of it.
#[derive(Default)]
struct Failed<'a> {
    tried: Vec<SocketAddr>,
    last: Option<ClientError>,
    waits: bool,
    /// Counts a retry from the decision to its answer, the wait before it included.
    retrying: Option<Place<'a>>,
}

impl Forwarding<'_> {
    /// Sends the request, to several endpoints if need be.
    pub(crate) async fn send(&self, request: &mut Outgoing, rng: &mut Rng) -> Result<Answered, ClientError> {
        let mut retries_left = self.policy.map_or(0, |policy| policy.attempts);
        if self.policy.is_some_and(RetryPolicy::repeats_processed) {
            request.body.keep();
        }
        let mut failed: Option<Box<Failed<'_>>> = None;
        loop {
            let mut now = Moment::now();
            let tried = failed.as_deref().map_or(&[][..], |failed| &failed.tried);
            let Some(endpoint) = self.pick(tried, rng, now) else {
                let cluster = self.cluster.spec.name.clone();
                let unresolved = self.cluster.unresolved.clone();
                let nobody = ClientError::NoHealthyEndpoint { cluster, unresolved };
                return Err(failed.and_then(|failed| failed.last).unwrap_or(nobody));
            };
            let is_first = tried.is_empty();
            if let Some(pause) = failed.as_deref().and_then(|failed| self.pause(failed, endpoint, rng)) {
                tokio::time::sleep(pause).await;
                now = Moment::now();
            }
            let try_timer = self.limit(&mut request.head.headers).map(Timer::at);
            let keep = if retries_left > 0 { Keep::Whole } else { Keep::Nothing };
            let is_kept = request.body.is_whole();
            let report = self.begin(endpoint, is_first, now)?;
            let pool = pool(endpoint, &self.cluster.spec, &self.outbound.mesh);
            let attempting = attempt(pool, &self.cluster.spec.connection_pool, request, keep);
            let attempted = until(try_timer, pin!(attempting)).await;
            let endpoint = report.endpoint();
            let in_flight = report.end(attempted.verdict());
            let Attempted { result, outcome, is_unsent } = attempted;
            let is_whole = is_unsent || is_kept && request.body.is_whole();
            let again = self.policy.zip(outcome).filter(|(policy, outcome)| policy.repeats(*outcome));
            let Some((policy, outcome)) = again.filter(|_| is_whole) else {
                return self.end(result, in_flight, endpoint, None);
            };
            if retries_left == 0 {
                return self.end(result, in_flight, endpoint, Some(ResponseFlag::URX));
            }
            let failed = failed.get_or_insert_default();
            // The retry that has just ended leaves its place first. Charged before the wait, so that those who wait count.
            failed.retrying = None;
            let breaker = &self.cluster.spec.connection_pool.breaker;
            failed.retrying = self.cluster.state.retry(breaker, outcome.has_reached(), Moment::now());
            if failed.retrying.is_none() {
                return self.end(result, in_flight, endpoint, Some(ResponseFlag::UO));
            }
            tracing::debug!(endpoint = %endpoint.spec.address, ?outcome, "attempt failed");
            failed.waits = policy.backoff.is_some() || !outcome.is_unprocessed();
            // An answer that is not wanted is dropped here, and with it its stream.
            failed.last = result.err();
            failed.tried.push(endpoint.spec.address);
            retries_left -= 1;
            self.record.count_retry();
        }
    }

    /// How long to wait before an endpoint is asked, after what failed.
    fn pause(&self, failed: &Failed<'_>, endpoint: &Endpoint, rng: &mut Rng) -> Option<Duration> {
        let waits = failed.waits || failed.tried.contains(&endpoint.spec.address);
        self.policy.filter(|_| waits).map(|policy| policy.pause(failed.tried.len(), rng.f64()))
    }

    /// Counts the request, unless the cluster has all that it may have.
    fn begin<'e>(
        &'e self,
        endpoint: &'e Endpoint,
        is_first: bool,
        now: Moment,
    ) -> Result<Report<'e, InFlight>, ClientError> {
        let breaker = &self.cluster.spec.connection_pool.breaker;
        let limit = Limit::Requests(breaker.requests_max);
        let overflow = || ClientError::Overflow { of: self.cluster.spec.name.clone(), limit };
        let in_flight = self.cluster.begin(endpoint, now).ok_or_else(overflow)?;
        if is_first {
            self.cluster.state.count_request(breaker, now);
        }
        Ok(Report::of(self.cluster, endpoint, in_flight, self.deadline, now))
    }

    /// The last attempt's result; with a flag where the policy would repeat it and may not.
    fn end(
        &self,
        mut result: Result<Response<ResponseBody>, ClientError>,
        in_flight: InFlight,
        endpoint: &Endpoint,
        flag: Option<ResponseFlag>,
    ) -> Result<Answered, ClientError> {
        let repeats = self.policy.is_some_and(|policy| policy.attempts > 0);
        match (&mut result, flag.filter(|_| repeats)) {
            (_, None) => {}
            (Err(error), Some(ResponseFlag::UO)) => {
                let cluster = self.cluster.spec.name.clone();
                // Counted where the request ends.
                *error = ClientError::RetryOverflow { cluster, error: Arc::new(error.clone()) };
            }
            (Err(_), Some(flag)) => self.record.count_failure(flag),
            (Ok(response), Some(flag)) => {
                response.extensions_mut().insert(flag);
                self.record.count_failure(flag);
            }
        }
        result.map(|response| Answered { response, in_flight, endpoint: endpoint.spec.address })
    }

    /// The endpoint of a session for its first attempt; else one that was not asked before, if there is one: also where it is hashed,
    /// for a key is better off at another endpoint than nowhere.
    fn pick(&self, tried: &[SocketAddr], rng: &mut Rng, now: Moment) -> Option<&Endpoint> {
        let session = self.session.filter(|_| tried.is_empty());
        let met = session.and_then(|session| self.cluster.met_by(session, now));
        let avoids_previous = self.policy.is_some_and(|policy| policy.avoids_previous);
        met.or_else(|| self.cluster.pick(rng, self.hash, if avoids_previous { tried } else { &[] }, now))
    }

    /// Tells the endpoint how long it has. When the attempt itself must be done, where it has a limit of its own; the
    /// request's is watched over all attempts.
    fn limit(&self, headers: &mut HeaderMap) -> Option<Instant> {
        let own = self.policy.and_then(|policy| policy.per_try_timeout);
        if own.is_none() && self.deadline.is_none() {
            return None;
        }
        let now = Instant::now();
        let own = own.and_then(|limit| now.checked_add(limit));
        if let Some(end) = [own, self.deadline].into_iter().flatten().min() {
            announce(headers, end.saturating_duration_since(now), self.protocol);
        }
        own
    }
}

/// What came of an attempt.
struct Attempted {
    result: Result<Response<ResponseBody>, ClientError>,
    /// What a retry policy looks at; none where nothing is to be repeated.
    outcome: Option<Outcome>,
    /// Whether nothing of the request was read.
    is_unsent: bool,
}

impl Attempted {
    /// What it says of the endpoint.
    fn verdict(&self) -> Verdict {
        match (self.outcome, &self.result) {
            (Some(Outcome::Answered { status, grpc_status }), _) => Verdict::answered(status, grpc_status),
            (Some(Outcome::NotConnected), _) => Verdict::NotConnected,
            (Some(Outcome::Refused | Outcome::Left | Outcome::NotSent | Outcome::Reset), _) => Verdict::Reset,
            (Some(Outcome::TimedOut), _) => Verdict::TimedOut,
            (None, Ok(response)) => Verdict::Answered(response.status()),
            // What may not be repeated whatever the policy says has failed on this side.
            (None, Err(_)) => Verdict::Cancelled,
        }
    }
}

/// What comes of an attempt before its time is over. The attempt stays where it is, for it is large.
async fn until(
    timer: Option<Timer>,
    mut attempt: Pin<&mut impl Future<Output = Result<Response<ResponseBody>, AttemptError>>>,
) -> Attempted {
    let ended = match timer {
        None => Some(attempt.await),
        Some(mut timer) => {
            poll_fn(|cx| match attempt.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending => timer.poll(cx).map(|()| None),
            })
            .await
        }
    };
    match ended {
        Some(Ok(response)) => {
            // A connection that has been handed over is no answer to be judged and thrown away.
            let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            let outcome = (!switched).then(|| answered(&response));
            Attempted { result: Ok(response), outcome, is_unsent: false }
        }
        Some(Err(AttemptError { error, outcome, is_unsent })) => {
            Attempted { result: Err(error), outcome, is_unsent }
        }
        None => Attempted {
            result: Err(ClientError::Deadline),
            outcome: Some(Outcome::TimedOut),
            is_unsent: false,
        },
    }
}

fn answered(response: &Response<ResponseBody>) -> Outcome {
    let grpc_status = response.headers().get("grpc-status");
    let grpc_status = grpc_status.and_then(|status| status.to_str().ok()?.parse().ok());
    Outcome::Answered { status: response.status(), grpc_status }
}
