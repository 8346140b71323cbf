//! The split as bars, redrawn in place on a terminal; one line a stage where there is none.

use std::io::IsTerminal;

use super::load::Counts;
use crate::output;

/// Draws one line per stage.
pub(super) struct Screen {
    stages: &'static [(u32, u32)],
    in_place: bool,
    last: String,
}

impl Screen {
    /// Prints the heading.
    pub(super) fn new(stages: &'static [(u32, u32)]) -> Self {
        output::line(format_args!(
            "  wanted v1/v2   seen v1{:width$}v2   requests  failed",
            "",
            width = BAR_CELLS
        ));
        Self { stages, in_place: std::io::stdout().is_terminal(), last: String::new() }
    }

    /// Shows how a stage stands.
    pub(super) fn draw(&mut self, stage: usize, counts: &Counts, failed: u64) {
        let (v1, v2) = self.stages[stage];
        self.last = line(v1, v2, counts, failed);
        if self.in_place {
            output::print(format_args!("\r{}", self.last));
        }
    }

    /// The stage is over: its last state stays.
    pub(super) fn line_end(&mut self) {
        if self.in_place {
            output::line("");
        } else {
            output::line(&self.last);
        }
    }

    /// The sum of it all.
    pub(super) fn end(&self, total: &Counts) {
        output::line(format_args!("\n  {} requests in all, {} failed", total.requests(), total.failed));
    }
}

fn line(v1: u32, v2: u32, counts: &Counts, failed: u64) -> String {
    let answered = counts.v1 + counts.v2;
    let share = if answered == 0 { 0.0 } else { counts.v2 as f64 / answered as f64 };
    let cells = (share * BAR_CELLS as f64).round() as usize;
    let bar = format!("{}{}", "█".repeat(BAR_CELLS - cells), "░".repeat(cells));
    format!(
        "  {v1:>3} / {v2:<3}      {:>5.1} % {bar} {:>5.1} %   {answered:>7}  {failed:>6}",
        (1.0 - share) * if answered == 0 { 0.0 } else { 100.0 },
        share * 100.0
    )
}

const BAR_CELLS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_the_share() {
        let check = |v1: u64, v2: u64, full: usize| {
            let counts = Counts { v1, v2, ..Counts::default() };
            assert_eq!(line(0, 0, &counts, 0).matches('█').count(), full);
        };
        check(1, 1, BAR_CELLS / 2);
        check(4, 0, BAR_CELLS);
        check(0, 4, 0);
        check(0, 0, BAR_CELLS);
    }
}
