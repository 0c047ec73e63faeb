//! `reconciler archive`: whether the archive is whole, what it holds, and what must change in it.

use clap::Subcommand;
use service::exit::Outcome;

mod cat;
mod erase;
mod place;
mod skip;
mod verify;

/// What `reconciler archive --help` ends with.
pub(crate) const EXAMPLES: &str = "\
Examples:
  reconciler archive verify                          all of it, the position and the log too
  reconciler archive verify --offline --json         the bucket alone, as one JSON document
  reconciler archive verify --from 2026-01-01        what was archived from that day on
  STRIPE_WEBHOOK_SECRETS=whsec_… reconciler archive verify --require-signatures
  reconciler archive cat --object pi_3Nx… --body | jq .type
  reconciler archive erase --object cus_Nx… --reason 'request 81' --dry-run
  reconciler archive erase --object cus_Nx… --reason 'request 81' --yes
  reconciler archive skip --partition 3 --to 1207 --reason 'S3 was denied for a month'

docs/ARCHIVE.md tells what an archive is made of.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check that nothing is missing, doubled, cut or changed, and that Stripe signed it
    ///
    /// Reads every manifest and every record: the chain of hashes, counts, offsets, the SHA-256 of
    /// each record; that the archive reaches as far as the role's position and the log's beginning;
    /// and the signature of each webhook, as of its receipt, with the secrets that are given (old ones
    /// too). What was not checked is said. Exit code 0: whole; 3: something was found; 1: it could
    /// not look.
    Verify(verify::Arguments),
    /// Print records as JSON lines, as they are stored, or their bodies
    Cat(cat::Arguments),
    /// Erase a person: replace records by tombstones that keep the chain whole
    ///
    /// A tombstone keeps the record's place and time and the SHA-256 of its line. Manifests stay as
    /// they are. Older versions of the rewritten segments are deleted. It may be run again, and goes
    /// on where it was stopped. What Postgres and the topic hold of the same records is not touched:
    /// the summary says where to look. Exit code 3: a bucket keeps older versions all the same.
    Erase(erase::Arguments),
    /// Go on over records that are lost to the archive, and record why in the archive
    ///
    /// For a role archive that has halted because the topic begins after the archive's end. Writes a
    /// manifest of a hole, with who, when and why, and moves the role's position to the log's
    /// beginning.
    Skip(skip::Arguments),
}

/// Carries out the command.
pub(crate) async fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Verify(arguments) => verify::run(&arguments).await,
        Command::Cat(arguments) => cat::run(&arguments).await,
        Command::Erase(arguments) => erase::run(&arguments).await,
        Command::Skip(arguments) => skip::run(&arguments).await,
    }
}
