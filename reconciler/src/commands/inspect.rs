//! `reconciler inspect ID`: the whole story of what an id of Stripe's or of ours stands for.
//!
//! Find what the id belongs to, read its story in one snapshot of the database, name the segments of
//! the archive, and show it: as text for a person, or as one JSON document.

mod layout;
mod text;

use std::io::Write as _;

use anyhow::bail;
use clap::Args;
use service::exit::Outcome;
use service::stdout;
use sqlx::Connection as _;

use crate::cli::Read;
use crate::story::segment::Archive;
use crate::story::{Found, Story};

/// Shown below `--help`.
pub(crate) const EXAMPLES: &str = "\
Ids that are understood:
  Stripe's  evt_ fetch_ pi_ ch_ py_ re_ pyr_ dp_ du_ po_ tr_ in_ inpay_ cs_ fee_ fr_ prv_ issfr_
            cus_ sub_ acct_, any other object's, a capability's name, and the balance transaction's
            (txn_) that a payment, dispute or other object names
  ours      txn_ rfd_ dsp_ pot_ inv_ fct_, a quote's, an order's, a provider's

Examples:
  reconciler inspect pi_3Nx…                    a payment: rows, events, ledger, facts
  reconciler inspect evt_1Nx…                   what became of an event, and of its object
  reconciler inspect qte_81                     a quote and all of its payments
  reconciler inspect --json du_1Nx… | jq .ledger
  reconciler inspect --snapshot cus_Nx…         also the newest snapshots, personal data masked
  S3_BUCKET=archive reconciler inspect ch_3Nx…  also the archive's segment of each event

A balance transaction is looked for in every snapshot: on a large database that takes a while, and
fails after 30 seconds. Exit code 1: nothing is known of the id.";

/// What the refusal of an unknown id says is understood.
const UNDERSTOOD: &str = "ids of Stripe's objects and events, balance transactions that a payment or \
    dispute names, our txn_, rfd_, dsp_, pot_, inv_ and fct_, quotes, orders and providers are \
    understood";

/// What is asked for.
#[derive(Debug, Clone, Args)]
pub(crate) struct Inspect {
    /// An id of Stripe's (`pi_…`, `ch_…`, `evt_…`, …) or of ours (`txn_…`, `rfd_…`, a quote's, …)
    id: String,
    /// Also print the newest snapshots of its objects, with personal data masked
    #[arg(long)]
    snapshot: bool,
    /// Bucket of the archive, to name the segment of each event
    #[arg(long, env, help_heading = "Archive")]
    s3_bucket: Option<String>,
    /// Prefix of the archive's keys
    #[arg(long, env, default_value = "", help_heading = "Archive")]
    s3_prefix: String,
    #[command(flatten)]
    read: Read,
}

/// Tells the story of an id. Says so, with exit code 1, when nothing is known of it.
pub(crate) async fn run(asked: &Inspect) -> anyhow::Result<Outcome> {
    let archive = Archive::open(asked.s3_bucket.as_deref(), &asked.s3_prefix).await?;
    let Some(mut story) = read(asked).await? else {
        bail!("nothing is known of {}; {UNDERSTOOD}", asked.id);
    };
    archive.name_segments(&mut story).await;
    let out = if asked.read.json {
        format!("{}\n", story.into_json())
    } else {
        text::render(&story, layout::terminal_width())
    };
    stdout::print(|to| to.write_all(out.as_bytes()))?;
    Ok(Outcome::Done)
}

/// The story as of one moment: one transaction that sees one snapshot and writes nothing.
async fn read(asked: &Inspect) -> anyhow::Result<Option<Story>> {
    let mut connection = asked.read.pool("inspect")?.acquire().await?;
    let mut tx = connection.begin().await?;
    sqlx::query("set transaction isolation level repeatable read read only")
        .execute(&mut *tx)
        .await?;
    let found = Found::by(&mut tx, &asked.id).await?;
    let story = Story::read(&mut tx, &asked.id, &found, asked.snapshot).await?;
    tx.commit().await?;
    Ok((!story.is_empty()).then_some(story))
}
