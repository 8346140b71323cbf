//! Bodies in both directions: [`RequestBody`] is what connections send, [`ResponseBody`] what callers receive. A [`Tee`] keeps a
//! copy of a request's body for mirrors, a [`Replay`] for another attempt.

mod replay;
mod request;
mod response;
mod tee;

pub(crate) use replay::Replay;
pub(crate) use request::{Beginning, BoxError, RequestBody};
pub(crate) use response::Protocol;
pub use response::{BodyError, ResponseBody};
pub(crate) use tee::{BodyCopy, Tee};
