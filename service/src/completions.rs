//! What completes a command line in a shell.

use std::io::Write as _;

use anyhow::Context as _;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::exit::Outcome;
use crate::stdout;

/// How to use what is printed; for `--help`.
pub const EXAMPLES: &str = "\
Examples, with the program's name for PROGRAM:
  PROGRAM completions bash > /etc/bash_completion.d/PROGRAM
  PROGRAM completions zsh  > \"${fpath[1]}/_PROGRAM\"
  PROGRAM completions fish > ~/.config/fish/completions/PROGRAM.fish";

/// Which shell.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

impl Args {
    /// Prints the completions of this command line.
    pub fn print<C: CommandFactory>(self, program: &str) -> anyhow::Result<Outcome> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut C::command(), program, &mut script);
        stdout::print(|out| out.write_all(&script)).context("standard output")?;
        Ok(Outcome::Done)
    }
}
