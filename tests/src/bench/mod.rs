//! What benchmarks share: contenders in turn, what processes use, and the table that comes of it.
//!
//! A speed alone says little, for it changes with the machine. So each is told as a ratio to a
//! floor that is taken in the same run, in turn with what is measured.

mod machine;
mod report;
mod rounds;
mod usage;

pub use machine::Machine;
pub use report::{Report, Table, float, mib, number};
pub use rounds::{Spread, in_turn, median};
pub use usage::{Part, Usage, pause_part, resume_part};

use clap::Args;

/// How a benchmark is run.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Check that it works, in a few seconds; its numbers mean nothing
    #[arg(long)]
    pub short: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Rounds of each contender, in turn, after one that does not count [default: 5, short 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: Option<u16>,
}

impl Options {
    /// How often each contender is measured.
    pub fn rounds(&self) -> usize {
        self.rounds.map_or(if self.short { 1 } else { 5 }, usize::from)
    }

    /// One value for a measurement, another for the short form.
    pub fn or_short<T>(&self, full: T, short: T) -> T {
        if self.short { short } else { full }
    }
}
