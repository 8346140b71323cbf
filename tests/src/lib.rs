//! What the integration tests share: real processes of this workspace, started on free ports and ended with the test.
//!
//! # Layout
//!
//! [`process`] a child process with its output · [`control_plane`] `mesh serve` and the commands against it ·
//! [`wait`] bounded waiting.

pub mod control_plane;
pub mod process;
pub mod wait;

pub use control_plane::ControlPlane;
pub use process::Process;
