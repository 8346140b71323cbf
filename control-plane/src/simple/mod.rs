//! Documents written for people who have none: `mesh split` and `mesh allow` make them, print them and apply them.

mod allow;
mod split;

pub use allow::{Allow, NotAnAllowance};
pub use split::{NotASplit, Share, Split};

/// The label on every document made here, so that a second run replaces its own work and nobody else's.
pub const MADE_BY: &str = "proxyless.mesh/made-by";
