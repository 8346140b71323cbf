//! The configuration stream: one ADS stream per process, and what it publishes for everybody else to read.

mod backoff;
mod config;
mod demand;
mod saved_config;
mod stream;
mod view;

pub(crate) use backoff::Backoff;
pub(crate) use config::Config;
pub(crate) use demand::Demand;
pub(crate) use saved_config::SavedConfig;
pub(crate) use stream::ConfigStream;
pub(crate) use view::{LinkState, View};

#[cfg(test)]
pub(crate) mod tests;
