//! Where the draws of requests come from: chance, or a seed, by which a test sees the same each time.

use std::sync::{Mutex, PoisonError};

use fastrand::Rng;

/// One mesh's source of draws.
#[derive(Debug)]
pub(super) enum Draws {
    /// What nobody can foretell.
    Chance,
    /// One request after another gets the next part of one sequence.
    Foretold(Mutex<Rng>),
}

impl Draws {
    pub(super) fn of(seed: Option<u64>) -> Self {
        seed.map_or(Self::Chance, |seed| Self::Foretold(Mutex::new(Rng::with_seed(seed))))
    }

    pub(super) fn next(&self) -> Rng {
        match self {
            Self::Chance => Rng::new(),
            // A sequence of numbers is never left half-made.
            Self::Foretold(rng) => rng.lock().unwrap_or_else(PoisonError::into_inner).fork(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_foretells_the_draws_of_each_request() {
        let draw = |draws: &Draws| [draws.next().u64(..), draws.next().u64(..)];
        let (one, two) = (draw(&Draws::of(Some(7))), draw(&Draws::of(Some(7))));
        assert_eq!(one, two);
        assert_ne!(one[0], one[1], "two requests draw differently");
        assert_ne!(draw(&Draws::of(None)), draw(&Draws::of(None)));
    }
}
