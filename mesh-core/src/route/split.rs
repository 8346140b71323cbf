//! Weighted destinations, and the choice among them: by a sticky key where there is one, else by a draw.

use std::sync::Arc;

use http::HeaderValue;

use super::session::{Session, SessionLifetime};
use super::sticky::{self, Sticky};
use super::{HeaderOperations, KeySource, StickyKey};

/// Weighted destinations.
#[derive(Debug)]
pub struct Split {
    /// In the document's order.
    pub destinations: Vec<WeightedDestination>,
    sticky: Option<Box<Sticky>>,
}

/// One choice of a split.
#[derive(Debug)]
pub struct WeightedDestination {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// Its place in [`crate::snapshot::HostConfig::clusters`].
    pub cluster_index: usize,
    /// Relative to the sum of all.
    pub weight: u32,
    /// What the authority becomes, unless the route says it.
    pub authority: Option<HeaderValue>,
    /// Applied after the route's.
    pub request_headers: HeaderOperations,
    /// Applied after the route's.
    pub response_headers: HeaderOperations,
}

/// What a split makes of a request.
#[derive(Debug)]
pub struct Choice<'s> {
    /// Where it goes.
    pub destination: &'s WeightedDestination,
    /// What tells the caller the key by which it comes back here, for the response; apart, since few requests have one.
    pub set_cookie: Option<Box<HeaderValue>>,
    /// The session that keeps its endpoint too.
    pub session: Option<Session<'s>>,
}

impl Split {
    /// A split by draws alone.
    pub fn new(destinations: Vec<WeightedDestination>) -> Self {
        Self { destinations, sticky: None }
    }

    /// The same, sticky by `key`. Splits of different salts choose independently of each other.
    pub fn sticking_to(self, key: StickyKey, salt: &str) -> Self {
        let sticky = Some(Box::new(Sticky::new(key, salt, &self.destinations)));
        Self { sticky, ..self }
    }

    /// The same, its keys keeping the endpoint that answered as well as the destination.
    pub fn keeping_endpoints(mut self, lifetime: SessionLifetime) -> Self {
        if let Some(sticky) = &mut self.sticky {
            sticky.session = Some(lifetime);
        }
        self
    }

    /// By what it is sticky, if it is.
    pub fn sticky_key(&self) -> Option<&StickyKey> {
        self.sticky.as_ref().map(|sticky| &sticky.key)
    }

    /// The destination of a request, given a number drawn from [0, 1): the only one that can be, else the one that the
    /// request's key meets, else the drawn one. A request that should have a cookie and has not is told one that leads back
    /// to where it was drawn. `None` where all weights are 0; without a draw, also where a draw would have to decide.
    pub fn choose(&self, source: &KeySource<'_>, draw: Option<f64>) -> Option<Choice<'_>> {
        let choice = |at: usize| self.at(at);
        if let Some(sticky) = self.sticky.as_ref().filter(|sticky| sticky.session.is_some()) {
            return self.in_session(sticky, source, draw);
        }
        if let Some(only) = self.only() {
            return Some(choice(only));
        }
        let Some(sticky) = &self.sticky else { return self.draw(draw?).map(choice) };
        if let Some(key) = sticky.key.of(source) {
            return sticky.choose(&self.destinations, &key).map(choice);
        }
        let draw = draw?;
        let drawn = self.draw(draw)?;
        let StickyKey::Cookie(name) = &sticky.key else { return Some(choice(drawn)) };
        let (key, met) = sticky.key_for(&self.destinations, drawn, draw);
        let told = HeaderValue::try_from(sticky::set_cookie(name, key.as_str(), None)).ok().map(Box::new);
        Some(Choice { set_cookie: told, ..choice(met) })
    }

    /// As [`choose`](Self::choose), where the endpoint is kept too: a single destination has endpoints to keep as well.
    fn in_session<'s>(
        &'s self,
        sticky: &'s Sticky,
        source: &KeySource<'_>,
        draw: Option<f64>,
    ) -> Option<Choice<'s>> {
        let only = self.only();
        let now = source.unix_seconds.filter(|_| self.minds_time());
        let token = sticky.key.of(source);
        if let Some(session) = token.and_then(|token| Session::resumed(sticky, &token, now)) {
            let at = only.or_else(|| sticky.choose(&self.destinations, session.key()))?;
            return Some(Choice { session: Some(session), ..self.at(at) });
        }
        let Some(draw) = draw else { return only.map(|at| self.at(at)) };
        let drawn = only.or_else(|| self.draw(draw))?;
        let (key, met) = sticky.key_for(&self.destinations, drawn, draw);
        Some(Choice { session: Some(Session::new(sticky, key, now)), ..self.at(met) })
    }

    fn at(&self, at: usize) -> Choice<'_> {
        Choice { destination: &self.destinations[at], set_cookie: None, session: None }
    }

    /// What a request is told whose key is not drawn: the cookie with its key left out.
    pub fn set_cookie_to_come(&self) -> Option<String> {
        let sticky = self.sticky.as_ref()?;
        let StickyKey::Cookie(name) = &sticky.key else { return None };
        let lifetime = sticky.session.filter(|lifetime| lifetime.permanent);
        let seconds_max = lifetime.and_then(|lifetime| lifetime.seconds_max).map(u64::from);
        Some(sticky::set_cookie(name, "…", seconds_max))
    }

    /// Whether a key keeps its endpoint too.
    pub fn keeps_endpoints(&self) -> bool {
        self.sticky.as_ref().is_some_and(|sticky| sticky.session.is_some())
    }

    /// Whether a choice depends on the time of day: where sessions end.
    pub fn minds_time(&self) -> bool {
        self.sticky.as_ref().and_then(|sticky| sticky.session).is_some_and(|lifetime| lifetime.is_limited())
    }

    /// The one destination that can be chosen: a single one is, whatever its weight; 0 among others never is.
    fn only(&self) -> Option<usize> {
        if self.destinations.len() == 1 {
            return Some(0);
        }
        let mut possible = self.destinations.iter().enumerate().filter(|(_, one)| one.weight > 0);
        let (only, _) = possible.next()?;
        possible.next().is_none().then_some(only)
    }

    /// The destination whose share holds the draw. Weights are relative to their sum.
    fn draw(&self, draw: f64) -> Option<usize> {
        let total: u64 = self.destinations.iter().map(|destination| u64::from(destination.weight)).sum();
        // Rounding may carry a draw just below 1 up to the total, which belongs to no one.
        let mut point = ((draw * total as f64) as u64).min(total.saturating_sub(1));
        self.destinations.iter().position(|destination| {
            let weight = u64::from(destination.weight);
            let hit = point < weight;
            point = point.saturating_sub(weight);
            hit
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn split(weights: &[u32]) -> Split {
        let destination = |(at, weight): (usize, &u32)| WeightedDestination {
            cluster: at.to_string().into(),
            cluster_index: at,
            weight: *weight,
            authority: None,
            request_headers: HeaderOperations::default(),
            response_headers: HeaderOperations::default(),
        };
        Split::new(weights.iter().enumerate().map(destination).collect())
    }

    #[track_caller]
    fn check(weights: &[u32], draw: f64, expected: Option<usize>) {
        let headers = HeaderMap::new();
        let source = KeySource { headers: &headers, identity: None, unix_seconds: None };
        let split = split(weights);
        let chosen = split.choose(&source, Some(draw));
        assert_eq!(chosen.map(|chosen| chosen.destination.cluster_index), expected);
    }

    #[test]
    fn a_draw_falls_to_the_destination_whose_share_holds_it() {
        check(&[90, 10], 0.0, Some(0));
        check(&[90, 10], 0.8999, Some(0));
        check(&[90, 10], 0.9, Some(1));
        check(&[90, 10], 0.9999, Some(1));
        check(&[1, 2], 0.34, Some(1));
        check(&[u32::MAX, u32::MAX], 1.0 - f64::EPSILON / 2.0, Some(1));
    }

    #[test]
    fn nothing_falls_to_weight_zero_among_others() {
        check(&[0, 1], 0.0, Some(1));
        check(&[1, 0], 1.0 - f64::EPSILON / 2.0, Some(0));
        check(&[0, 0], 0.5, None);
        check(&[], 0.5, None);
    }

    #[test]
    fn a_single_destination_ignores_its_weight() {
        check(&[0], 0.5, Some(0));
    }

    #[test]
    fn evenly_spread_draws_fall_exactly_by_weight() {
        let split = split(&[7, 0, 2, 1]);
        let mut counts = [0; 4];
        for step in 0..1000 {
            let draw = f64::from(step) / 1000.0;
            counts[split.draw(draw).expect("a destination")] += 1;
        }
        assert_eq!(counts, [700, 0, 200, 100]);
    }
}
