//! Sticky splits: the same key meets the same destination in every process, and moves only where a weight moves it.
//!
//! Weighted rendezvous: a key gives every destination `i` an exponentially distributed number `e(i)`, and goes where
//! `e(i) / weight(i)` is least, which happens by weight. A key goes from X to Y only when Y passes X, and since their
//! `e` stay as they are, only when Y's weight has risen relative to X's.
//!
//! The quotients are compared exactly, as `e(X) · weight(Y)` against `e(Y) · weight(X)` in integers: a rounded quotient
//! could move a key between two that are nearly equal. `e` itself comes of additions, multiplications and divisions of
//! floats alone, which every machine rounds alike; a system's own logarithm is not that certain.

use std::f64::consts::{LN_2, SQRT_2};
use std::net::SocketAddr;

use super::sip_hash::SipHash;
use super::{SessionLifetime, StickyKey, WeightedDestination, session};

/// By what a split is sticky, and the numbers that make its choices.
#[derive(Debug)]
pub(super) struct Sticky {
    pub(super) key: StickyKey,
    hash: SipHash,
    /// Whether a key keeps its endpoint too, and how long.
    pub(super) session: Option<SessionLifetime>,
    /// One per destination, made of its name, so that neither place nor neighbours matter.
    seeds: Box<[u64]>,
}

impl Sticky {
    /// Splits with another salt choose independently.
    pub(super) fn new(key: StickyKey, salt: &str, destinations: &[WeightedDestination]) -> Self {
        let seed = |(at, destination): (usize, &WeightedDestination)| {
            // A destination may stand there twice, with other header operations.
            let earlier = destinations[..at].iter().filter(|one| one.cluster == destination.cluster).count();
            SipHash::new(3, earlier as u64).hash(destination.cluster.as_bytes())
        };
        let seeds = destinations.iter().enumerate().map(seed).collect();
        Self { key, hash: SipHash::named(salt), session: None, seeds }
    }

    /// The place of the destination that a key meets; none where all weights are 0.
    pub(super) fn choose(&self, destinations: &[WeightedDestination], key: &[u8]) -> Option<usize> {
        let key = self.hash.hash(key);
        let mut best: Option<Contender> = None;
        for (at, (destination, seed)) in destinations.iter().zip(&self.seeds).enumerate() {
            if destination.weight == 0 {
                continue;
            }
            let next = Contender { at, weight: destination.weight, seed: *seed, number: number(key ^ seed) };
            if best.as_ref().is_none_or(|best| next.passes(best)) {
                best = Some(next);
            }
        }
        best.map(|best| best.at)
    }

    /// A key for a request that has none: made of its draw, and such that it meets what the draw did. The place that the key
    /// does meet comes with it, which is another one only where none was found for a share far below a thousandth.
    pub(super) fn key_for(
        &self,
        destinations: &[WeightedDestination],
        drawn: usize,
        draw: f64,
    ) -> (HexNumber, usize) {
        let mut state = draw.to_bits();
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            HexNumber::new(mixed(state))
        };
        // On average over the draws, this takes as many attempts as there are destinations.
        let mut key = next();
        for _ in 0..KEY_ATTEMPTS_MAX {
            if self.choose(destinations, key.as_bytes()).is_none_or(|met| met == drawn) {
                return (key, drawn);
            }
            key = next();
        }
        let met = self.choose(destinations, key.as_bytes()).unwrap_or(drawn);
        (key, met)
    }

    /// What an endpoint is called in a session's token.
    pub(super) fn number_of(&self, endpoint: SocketAddr) -> HexNumber {
        HexNumber::new(self.hash.hash(&session::address_bytes(endpoint)))
    }
}

/// What tells a browser its key. The root path, or one would be told anew in every folder; scripts have no use for it.
pub(super) fn set_cookie(name: &str, key: &str, seconds_max: Option<u64>) -> String {
    let age = seconds_max.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    format!("{name}={key}; Path=/; HttpOnly{age}")
}

/// A destination on its way through the comparison.
struct Contender {
    at: usize,
    weight: u32,
    seed: u64,
    number: u64,
}

impl Contender {
    /// Whether `number / weight` is less; equal ones are told apart by name, never by place.
    fn passes(&self, other: &Self) -> bool {
        let own = u128::from(self.number) * u128::from(other.weight);
        let others = u128::from(other.number) * u128::from(self.weight);
        (own, self.seed) < (others, other.seed)
    }
}

/// Sixteen hexadecimal digits, as a cookie carries them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HexNumber([u8; 16]);

impl HexNumber {
    fn new(number: u64) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        Self(std::array::from_fn(|at| DIGITS[(number >> (60 - 4 * at)) as usize & 0xf]))
    }

    /// Exactly as [`as_str`](Self::as_str) writes it.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let digits: [u8; 16] = text.try_into().ok()?;
        digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')).then_some(Self(digits))
    }

    pub(super) fn number(&self) -> u64 {
        u64::from_str_radix(self.as_str(), 16).expect("sixteen hexadecimal digits are 64 bits")
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}

/// An exponentially distributed number of an evenly distributed one: `-ln(u)` with 57 binary places, and never 0.
fn number(bits: u64) -> u64 {
    // Odd, so that `u` lies inside (0, 1), and below 2^53, so that the float is exact.
    let odd = (mixed(bits) >> 12) << 1 | 1;
    let minus_ln = (53.0 * LN_2 - ln(odd as f64)).max(0.0);
    ((minus_ln * PLACES) as u64).max(1)
}

/// The natural logarithm of a positive normal number, by the series of the inverse hyperbolic tangent.
fn ln(number: f64) -> f64 {
    let bits = number.to_bits();
    let mut exponent = (bits >> 52) as i32 - 1023;
    let mut mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if mantissa > SQRT_2 {
        (mantissa, exponent) = (mantissa / 2.0, exponent + 1);
    }
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let series = SERIES.iter().rev().fold(0.0, |sum, term| sum * square + term);
    f64::from(exponent) * LN_2 + 2.0 * ratio * series
}

/// Each bit of the result depends on each of the argument (Stafford's thirteenth mixer, as in SplitMix64).
fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// About a millisecond's work, which the smallest of shares may cost now and then.
const KEY_ATTEMPTS_MAX: u32 = 1 << 15;
/// 2^57: the largest number, 53 ln 2, then fits 64 bits.
const PLACES: f64 = 144_115_188_075_855_872.0;
/// One over the odd numbers; with a ratio of at most 0.172 the next term is below a float's last place.
const SERIES: [f64; 11] = [
    1.0,
    1.0 / 3.0,
    1.0 / 5.0,
    1.0 / 7.0,
    1.0 / 9.0,
    1.0 / 11.0,
    1.0 / 13.0,
    1.0 / 15.0,
    1.0 / 17.0,
    1.0 / 19.0,
    1.0 / 21.0,
];

#[cfg(test)]
mod tests;
