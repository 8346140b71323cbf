//! The whole mesh under test, in one binary: real processes, real sockets, real files.

mod corpora;
mod store_kill;
