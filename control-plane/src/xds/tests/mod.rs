//! The ADS server over real sockets, against clients that speak Envoy's messages by hand.

mod delta;
mod economy;
mod limits;
mod member;
mod rig;
mod state_of_the_world;
