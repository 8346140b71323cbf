//! The `mesh` binary: control plane and command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    control_plane::cli::run()
}
