//! The whole mesh under test, in one binary: real processes, real sockets, real files.

mod actions;
mod agent;
mod bookinfo;
mod command_line;
mod control_plane_away;
mod corpora;
mod demo;
mod destinations;
mod documents;
mod ending;
mod envoy;
mod expectations;
mod foreign;
mod gateway_routes;
mod grpcio;
mod impostor;
mod joining;
mod matcher;
mod opaque;
mod sessions;
mod simple_mode;
mod store_kill;
mod story;
mod strangers;
mod upgrades;
mod weight_shifts;
