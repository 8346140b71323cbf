//! The configuration stream against a control plane of our own that can be slow, silent, wrong and away.

mod config;
mod control_plane;
mod process;
mod stream;
mod wire;

pub(crate) use control_plane::{Heard, Script};
pub(crate) use process::{Process, patiently};
pub(crate) use wire::{endpoints, host, named_host};
