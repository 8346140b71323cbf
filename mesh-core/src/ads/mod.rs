//! The configuration stream: one ADS stream per process, and what it publishes for everybody else to read.

mod demand;
mod view;

pub(crate) use demand::Demand;
pub(crate) use view::{LinkState, View};
