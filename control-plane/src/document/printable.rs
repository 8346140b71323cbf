//! Text of others on its way to a terminal.
//!
//! Findings quote documents, and a document may come from anybody: a raw line end would forge a line of ours, an escape
//! sequence command the terminal, and a letter that turns the direction of writing show another text than is there.

use std::fmt::{self, Write};

/// Text with every character escaped that acts on a terminal.
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| {
            if letter.is_control() || turns(letter) {
                write!(formatter, "{}", letter.escape_default())
            } else {
                formatter.write_char(letter)
            }
        })
    }
}

/// Whether a letter, itself unseen, moves those around it.
fn turns(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_acts_on_a_terminal_is_escaped() {
        let check = |text: &str, wanted: &str| assert_eq!(Printable(text).to_string(), wanted);
        check("`größe` is 90 %…", "`größe` is 90 %…");
        check("a\nb\tc\r", "a\\nb\\tc\\r");
        check("\u{1b}[31m\u{7f}\u{9b}", "\\u{1b}[31m\\u{7f}\\u{9b}");
        check("\u{202e}txt", "\\u{202e}txt");
    }
}
