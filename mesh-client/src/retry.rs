//! Trying again, where it is certain that nothing was done yet, and another endpoint first.
//!
//! What was processed, or may have been, is never repeated; nor is a body of which somebody has read. Another endpoint is asked
//! at once; the same one only after a pause, for it has just failed.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use fastrand::Rng;
use http::{HeaderMap, Response};
use mesh_core::backoff::Backoff;
use mesh_core::balance::InFlight;
use mesh_core::route::{RetryPolicy, Session};
use mesh_core::snapshot::Cluster;

use crate::attempt::{Keep, RetryCondition, attempt};
use crate::body::{Protocol, ResponseBody};
use crate::connection::Outgoing;
use crate::deadline::{Timer, announce};
use crate::endpoint::pool;
use crate::error::ClientError;
use crate::outbound::Outbound;
use crate::record::ClusterRecord;

/// A request on its way to a cluster.
pub(crate) struct Forwarding<'a> {
    pub(crate) outbound: &'a Outbound,
    pub(crate) cluster: &'a Cluster,
    /// Whose first attempt goes where it has been before.
    pub(crate) session: Option<&'a Session<'a>>,
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

impl Forwarding<'_> {
    /// Sends the request, to several endpoints if need be.
    pub(crate) async fn send(&self, request: &mut Outgoing, rng: &mut Rng) -> Result<Answered, ClientError> {
        let mut retries_left = self.policy.map_or(0, |policy| policy.attempts);
        let mut tried: Vec<SocketAddr> = Vec::new();
        let mut last = None;
        loop {
            let met =
                self.session.filter(|_| tried.is_empty()).and_then(|session| self.cluster.met_by(session));
            let Some(endpoint) = met.or_else(|| self.cluster.pick(rng, &tried)) else {
                let cluster = self.cluster.spec.name.clone();
                return Err(last.unwrap_or(ClientError::NoHealthyEndpoint { cluster }));
            };
            let address = endpoint.spec.address;
            if tried.contains(&address) {
                tokio::time::sleep(pause(tried.len(), rng.f64())).await;
            }
            let try_timer = self.limit(&mut request.head.headers).map(Timer::at);
            let keep = if retries_left > 0 { Keep::Whole } else { Keep::Nothing };
            let in_flight = endpoint.state.begin();
            let pool = pool(endpoint, &self.cluster.spec, self.outbound.mesh.identity());
            let sending = pin!(attempt(pool, self.cluster.spec.connect_timeout, request, keep));
            let failed = match until(try_timer, sending).await? {
                Ok(response) => return Ok(Answered { response, in_flight, endpoint: address }),
                Err(failed) => failed,
            };
            tracing::debug!(endpoint = %address, cause = %failed.error, "attempt failed");
            let again = failed.is_whole && is_allowed(self.policy, failed.condition);
            if retries_left == 0 || !again {
                return Err(failed.error);
            }
            retries_left -= 1;
            self.record.count_retry();
            tried.push(address);
            last = Some(failed.error);
        }
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

/// What comes of an attempt before its time is over. The attempt stays where it is, for it is large.
async fn until<T>(
    timer: Option<Timer>,
    mut attempt: Pin<&mut impl Future<Output = T>>,
) -> Result<T, ClientError> {
    let Some(mut timer) = timer else { return Ok(attempt.await) };
    poll_fn(|cx| match attempt.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => timer.poll(cx).map(|()| Err(ClientError::Deadline)),
    })
    .await
}

/// Whether the policy repeats a request after this failure.
fn is_allowed(policy: Option<&RetryPolicy>, condition: Option<RetryCondition>) -> bool {
    let (Some(policy), Some(condition)) = (policy, condition) else { return false };
    policy.on.iter().any(|on| **on == *condition.as_str())
}

/// Envoy's: any part of a wait of 25 ms, doubled from failure to failure up to ten times that.
fn pause(failures: usize, draw: f64) -> Duration {
    let failures_before = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    BACKOFF.longest(failures_before).mul_f64(draw)
}

const BACKOFF: Backoff = Backoff::new(Duration::from_millis(25), Duration::from_millis(250));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_policy_names_is_repeated() {
        let policy = RetryPolicy {
            attempts: 2,
            on: vec!["connect-failure".into(), "refused-stream".into()],
            ..RetryPolicy::default()
        };
        let check = |policy, condition, expected| assert_eq!(is_allowed(policy, condition), expected);
        check(Some(&policy), Some(RetryCondition::ConnectFailure), true);
        check(Some(&policy), Some(RetryCondition::RefusedStream), true);
        check(Some(&policy), Some(RetryCondition::ResetBeforeRequest), false);
        check(Some(&policy), None, false);
        check(None, Some(RetryCondition::ConnectFailure), false);
    }

    #[test]
    fn the_pause_before_the_same_endpoint_doubles_up_to_a_quarter_second() {
        let check = |failures, jitter, millis: u64| {
            assert_eq!(pause(failures, jitter), Duration::from_millis(millis), "{failures}");
        };
        check(1, 1.0, 25);
        check(2, 1.0, 50);
        check(3, 0.5, 50);
        check(4, 1.0, 200);
        check(60, 1.0, 250);
        check(1, 0.0, 0);
    }
}
