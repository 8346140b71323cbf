//! Where a request would go, what happens to it on the way, and whether it would be let in.
//!
//! ```text
//!  documents, instances ─► World ─► translate ─► encoded xDS ─► mesh_core::resource::parse ─► host closure, inbound listener
//!                                                                      Question ─► route, authz decisions ─► Decision
//! ```
//! Nothing is decided on the documents themselves: whatever translation gets wrong, the answer gets wrong with it, as the
//! data path would. The JSON of question and answer is a stable interface (EXPLAIN.md).
//!
//! # Layout
//!
//! `question` and `decision` (with `inbound_decision`) are the contract, read from an `object`; `explainer` answers; `closure`
//! goes through the wire; `request`, `outbound`, `fault`, `external_auth`, `split`, `destination`, `target` and `inbound` are the steps; `text` is the
//! answer for people.

mod closure;
mod decision;
mod destination;
mod explainer;
mod external_auth;
mod fault;
mod hash;
mod inbound;
mod inbound_decision;
mod object;
mod outbound;
mod question;
mod request;
mod split;
mod target;
mod text;

pub use closure::Translate;
pub use decision::{
    AsksService, Decision, Destination, DirectAnswer, DocumentAt, EndpointSeen, FaultAbort, FaultDelay,
    Faults, HeaderChanges, Inbound, InboundRequest, Mirror, Outcome, RedirectTaken, Retries, RouteTaken,
    Sticky, TransportResult, UpstreamRequest, UpstreamTls, Verdict,
};
pub use explainer::{Explainer, Unanswerable};
pub use question::{
    At, ExportTo, From, InvalidArgument, LocalityOverride, Overrides, Protocol, Question, Transport,
};
pub use text::render;

#[cfg(test)]
mod tests;
