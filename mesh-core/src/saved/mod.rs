//! Saved state: what lets a restarted service come up while the control plane is away.
//!
//! ```text
//! STATE-DIR / <membership> / <slot> / lock, identity, config      directories 0700, files 0600
//! ```
//! [`SavedState`] keeps bytes; what they mean is known to whoever stores them.

mod envelope;
mod identity;
mod location;
pub mod owner_only;
mod state;

pub use identity::{SavedIdentityError, decode_identity, encode_identity};
pub use location::{StateLocation, StateLocationError};
pub use state::{Loaded, Rejected, SavedItem, SavedState, SavedStateError};
