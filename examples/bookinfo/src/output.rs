//! What goes to standard output, for people and for the scripts that read it.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints as it is. Whoever has closed the pipe wants no more, which is no reason for a service or the demo to end.
pub(crate) fn print(text: impl Display) {
    let text = text.to_string();
    let mut output = io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// Prints a line.
pub(crate) fn line(text: impl Display) {
    print(format_args!("{text}\n"));
}
