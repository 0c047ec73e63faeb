//! `reconciler quarantine`: records that could not be applied, and the breaker.

use clap::Subcommand;
use service::exit::Outcome;

mod discard;
mod kept;
mod list;
mod place;
mod redrive;
mod resume;
mod show;

/// What `reconciler quarantine --help` ends with.
pub(crate) const EXAMPLES: &str = "\
Examples:
  reconciler quarantine list                        what is open, oldest first
  reconciler quarantine list --reason too_large --json | jq -r '.records[].position'
  reconciler quarantine show 3:1207                 one record, personal data masked
  reconciler quarantine redrive --all --dry-run     which rows and balances would change, and how
  reconciler quarantine redrive --reason unknown_status
  reconciler quarantine discard 3:1207 --reason 'sent by a test of ours'
  reconciler quarantine resume --reason 'reader fixed in 1.4.2'

A POSITION is PARTITION:OFFSET, TOPIC_ID/PARTITION:OFFSET where several topics have the same, or the
id of an event.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List records, and say whether the topic is paused
    ///
    /// Exit code 3 when open records are listed or a topic is paused, 0 otherwise.
    List(list::Arguments),
    /// Print a record with its reason: headers and body, personal data masked
    Show(show::Arguments),
    /// Put records through this program's decoding and applying, as if they came now
    ///
    /// What is applied becomes `redriven`; what fails again stays, with its new reason. Use the
    /// settings of `reconciler run`: they decide what a record means. Exit code 0 when everything
    /// was applied, 3 when something stays.
    Redrive(Box<redrive::Arguments>),
    /// Give records up, with a reason; they are kept
    Discard(discard::Arguments),
    /// Let a paused topic go on
    ///
    /// The batch that tripped the breaker is let through: what of it cannot be applied is
    /// quarantined. What comes after it is judged again.
    Resume(resume::Arguments),
}

/// Carries out the command.
pub(crate) async fn run(command: Box<Command>) -> anyhow::Result<Outcome> {
    match *command {
        Command::List(arguments) => list::run(&arguments).await,
        Command::Show(arguments) => show::run(&arguments).await,
        Command::Redrive(arguments) => redrive::run(&arguments).await,
        Command::Discard(arguments) => discard::run(&arguments).await,
        Command::Resume(arguments) => resume::run(&arguments).await,
    }
}

/// A text that says something.
pub(crate) fn said(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() { Err("must say something") } else { Ok(text.to_owned()) }
}
