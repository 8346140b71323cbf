//! What the integration tests share: real processes of this workspace, started on free ports and ended with the test.
//!
//! # Layout
//!
//! [`calls`] calls of every kind · [`echo`] a service that says who answered · [`fault_proxy`] faults of the network before a server · [`recorder`] one that notes what it got · [`process`] a child process with its output · [`control_plane`] `mesh serve` and the commands against it ·
//! [`member`] a process of the mesh inside the test's own · [`stranger`] one that is no member · [`log`] what members tell
//! their operators · [`wait`] bounded waiting.

pub mod calls;
pub mod control_plane;
pub mod echo;
pub mod fault_proxy;
pub mod log;
pub mod member;
pub mod process;
pub mod recorder;
pub mod stranger;
pub mod wait;

pub use control_plane::ControlPlane;
pub use echo::Echo;
pub use fault_proxy::{FaultProxy, NetworkFault};
pub use member::Served;
pub use process::Process;
pub use recorder::{Received, Recorder};
pub use stranger::Stranger;

/// README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
