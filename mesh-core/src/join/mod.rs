//! Joining a mesh: the join string, the first certificate, its renewal, and the way to the control plane.

mod address;
mod source;
mod string;
mod token;

pub use address::{ControlPlaneAddress, ControlPlaneAddressError};
pub use source::{JoinSource, JoinSourceError};
pub use string::{JoinString, JoinStringError};
pub use token::{JoinToken, SECRET_BYTES, TokenError, TokenId, TokenSecret};
