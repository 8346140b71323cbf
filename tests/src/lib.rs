//! What the integration tests share: real processes of this workspace, started on free ports and ended with the test.
//!
//! # Layout
//!
//! [`echo`] a service that says who answered · [`process`] a child process with its output · [`control_plane`] `mesh serve` and the commands against it ·
//! [`wait`] bounded waiting.

pub mod control_plane;
pub mod echo;
pub mod member;
pub mod process;
pub mod wait;

pub use control_plane::ControlPlane;
pub use echo::Echo;
pub use member::Served;
pub use process::Process;
