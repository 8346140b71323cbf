//! Choosing an endpoint: the runtime state of endpoints and the picker over it.
//!
//! Configuration says which endpoints there are, runtime state how each does. The state outlives the configuration that
//! named it: the same cluster and address keep it over every change, so that a change of weights closes no connection.
//!
//! ```text
//!   attempt ends ─► verdict ─► state of the endpoint ─► is it available otherwise? ─► the cluster's epoch
//!                                                                                           │
//!   pick ─► picker, while its epoch and its time hold ◄──────── else made anew ◄────────────┘
//! ```
//! No task and no timer: what changes at a certain time ends the picker's own time, and the next pick makes another.

mod cluster_state;
mod endpoint;
mod endpoint_states;
mod hash_table;
mod latency;
mod levels;
mod moment;
mod outlier;
mod picker;
mod probed;
mod retry_budget;
mod shares;
mod usage;
mod verdict;

pub use cluster_state::ClusterState;
pub use endpoint::{Availability, Endpoint, EndpointState, InFlight, Newcomers, Transport};
pub use endpoint_states::EndpointStates;
pub use levels::LevelPolicy;
pub use moment::Moment;
pub use outlier::{EjectionReason, Outliers};
pub(crate) use outlier::{Ended, Watch};
pub use picker::{PickPolicy, Picker};
pub use probed::Probed;
pub use usage::{Count, OpaqueConnection, OpenConnection, Place, Usage};
pub use verdict::Verdict;
