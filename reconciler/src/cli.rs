//! The command line.

use clap::{Args, Parser, Subcommand};
use service::completions;
use sqlx::PgPool;

use crate::commands::inspect::{self, Inspect};
use crate::commands::republish::{self, Republish};
use crate::commands::{archive, operations, quarantine, rebuild, replay};
use crate::config::{Database, Run};
use crate::console;
use crate::database;
use crate::operation::Operator;

/// Follows the raw topic of Stripe events: keeps transaction, refund, payout and dispute state in
/// Postgres, archives every payload to S3, streams domain events to Firehose.
///
/// Every flag is also an environment variable; `reconciler COMMAND --help` names them.
/// Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 done and found something.
#[derive(Debug, Parser)]
#[command(name = "reconciler", version)]
pub struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) logs: service::logs::Options,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Follow the topic until SIGTERM
    ///
    /// Each role has its own position and its own lag: an outage of S3 or Firehose never delays
    /// money state. Run all roles in one process, or each as a deployment of its own; partitions
    /// spread over the processes that run the same role.
    Run(Box<Run>),
    /// Bring the database to this program's schema; again changes nothing
    Migrate {
        #[command(flatten)]
        by: Operator,
        #[command(flatten)]
        database: Database,
    },
    /// Check the archive, read it, erase a person from it, or go on over what is lost
    #[command(after_help = archive::EXAMPLES)]
    Archive {
        #[command(subcommand)]
        command: Box<archive::Command>,
    },
    /// Print the hash of the state, a part a line: equal sets of records give equal hashes
    Hash(Read),
    /// Tell the whole story of one payment, refund, payout, dispute, provider or event
    ///
    /// What it is and where it stands; its rows; its events in Stripe's order, with the order in which
    /// they came and what each changed or why not; ledger, facts and their publication, discrepancies,
    /// newest snapshots; where the archive holds it; the link to Stripe's dashboard. An id that
    /// several accounts have is told for each.
    #[command(after_help = inspect::EXAMPLES)]
    Inspect(Box<Inspect>),
    /// Serve pages for support and finance until SIGTERM: search, stories, lists, ledger
    ///
    /// They write nothing but who revealed personal data, which is masked otherwise. Off this
    /// machine they need a rule of access: tokens, or a proxy that names its user. `reconciler run`
    /// serves them too, when it is given --console-listen.
    #[command(after_help = console::EXAMPLES)]
    Console(Box<console::Arguments>),
    /// Print one line an event as it is applied, until interrupted
    Tail(Read),
    /// Build the state again from the log, in a database beside the live one, and compare
    ///
    /// What the live database holds must be what its records, quotes and providers say. This applies
    /// all records below its positions to an empty database, the archive first and the topic for the
    /// rest, and compares. Where they differ it names tables and rows, before and after.
    #[command(after_help = rebuild::EXAMPLES)]
    Rebuild(Box<rebuild::Arguments>),
    /// Publish domain events again, from what is known, to one sink
    ///
    /// Every fact that may be told is sent as it was: the same id, the same bytes. For a sink that
    /// was added later, or a consumer that has lost something. What consumers drop as a repetition
    /// does no harm. What waits in the queue is left alone.
    #[command(after_help = republish::EXAMPLES)]
    Republish(Box<Republish>),
    /// Apply records of the past once more, from the topic or the archive
    ///
    /// By the same code as live traffic, beside it or without it, as often as you like.
    #[command(after_help = replay::EXAMPLES)]
    Replay {
        #[command(subcommand)]
        command: Box<replay::Command>,
    },
    /// List what was begun by commands that change something: by whom, and what came of it
    ///
    /// The newest first. A replay that was stopped, failed or killed goes on with `--resume`.
    Operations(operations::Arguments),
    /// Print what completes this command line in a shell
    #[command(after_help = completions::EXAMPLES)]
    Completions(completions::Args),
    /// Deal with records that could not be applied, and with the breaker
    ///
    /// A record that cannot be applied is kept whole, with the reason; the others go on. Look at it,
    /// try it again once the program understands it, or give it up. When too many of the newest
    /// records would go there, the role project pauses instead: `list` says so, `resume` goes on.
    #[command(after_help = quarantine::EXAMPLES)]
    Quarantine {
        #[command(subcommand)]
        command: Box<quarantine::Command>,
    },
}

/// What a command that reads needs.
#[derive(Debug, Clone, Args)]
pub(crate) struct Read {
    /// Print JSON: one document, or one a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: Database,
}

impl Read {
    /// Connections for this command.
    pub(crate) fn pool(&self, purpose: &str) -> anyhow::Result<PgPool> {
        Ok(database::pool(&self.database.url()?, purpose, 1)?)
    }
}
