//! The configuration stream: one ADS stream per process, and what it publishes for everybody else to read.

mod config;
mod demand;
mod resolver;
mod saved_config;
mod stream;
mod view;

pub(crate) use config::Config;
pub(crate) use demand::Demand;
pub(crate) use saved_config::SavedConfig;
pub(crate) use stream::{ConfigStream, RECONNECT};
pub(crate) use view::{LinkState, View};

#[cfg(test)]
pub(crate) mod tests;
