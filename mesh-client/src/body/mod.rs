//! Bodies in both directions: [`RequestBody`] is what connections send, [`ResponseBody`] what callers receive.

mod request;
mod response;

pub(crate) use request::{BoxError, RequestBody};
pub(crate) use response::Protocol;
pub use response::{BodyError, ResponseBody};
