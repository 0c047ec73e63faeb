//! `reconciler archive erase`: erases a person from the archive.
//!
//! Every segment is read, for no index could name all that speaks of somebody. A segment that holds
//! such a record is written anew with a tombstone in its place, on condition that it is still the one
//! that was read; then its older versions are deleted. A segment with tombstones is looked at for
//! older versions too: a run that was killed in between is made good by the next.

mod postgres;
mod segment;
mod summary;

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::bail;
use clap::{ArgGroup, Args};
use domain::archive::{Manifest, Place};
use domain::record::RawRecord;
use serde_json::json;
use service::exit::Outcome;
use tokio::task::JoinSet;

use self::segment::{Eraser, Segment};
use self::summary::Summary;
use super::place::{At, Where};
use crate::cli::Read;
use crate::commands::quarantine::said;
use crate::operation::{self, Operator};
use crate::s3::Bucket;
use crate::source::archive::{Archive, ReadError, Start};
use crate::source::filter::{Filter, id};

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whom").required(true).multiple(true).args(["events", "objects", "at"])))]
#[command(group(ArgGroup::new("how").required(true).args(["dry_run", "yes"])))]
pub(crate) struct Arguments {
    /// Records of this event, `evt_…`; may be repeated
    #[arg(long = "event", value_name = "ID", value_parser = id)]
    events: Vec<String>,
    /// Records that name this object anywhere, `cus_…` or any other id of Stripe's; may be repeated
    #[arg(long = "object", value_name = "ID", value_parser = id)]
    objects: Vec<String>,
    /// The record at this place; may be repeated
    #[arg(long, value_name = "P:OFFSET")]
    at: Vec<At>,
    /// Why; kept in `pay.operation`
    #[arg(long, value_parser = said)]
    reason: String,
    /// Change nothing; say what would be erased
    #[arg(long)]
    dry_run: bool,
    /// Erase: it cannot be undone
    #[arg(long)]
    yes: bool,
    /// Segments that are read at the same time
    #[arg(long, env, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    erase_segments: u16,
    #[command(flatten)]
    by: Operator,
    #[command(flatten)]
    read: Read,
    #[command(flatten)]
    archive: Where,
}

/// What is erased.
#[derive(Debug, Default)]
struct Choice {
    filters: Vec<Filter>,
    at: BTreeSet<At>,
}

impl Choice {
    fn matches(&self, record: &RawRecord) -> bool {
        let at = At { partition: record.partition, offset: record.offset };
        self.at.contains(&at) || self.filters.iter().any(|filter| filter.matches(record))
    }

    /// Whether a segment may hold any of it.
    fn may_be_in(&self, manifest: &Manifest) -> bool {
        let at = |offset| At { partition: manifest.partition, offset };
        !self.filters.is_empty()
            || self.at.range(at(manifest.first_offset)..=at(manifest.last_offset)).next().is_some()
    }
}

/// Erases, or says what would be erased; exit code 3 when a bucket keeps older versions.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let pool = arguments.read.pool("archive")?;
    let archive = Arc::new(arguments.archive.open().await?);
    let place = arguments.archive.place(&archive, None).await?;
    let url = arguments.archive.url(&place);
    if arguments.dry_run {
        let mut summary = Summary::new(&url, None);
        arguments.erase(&archive, &place, &mut summary).await?;
        summary.find_elsewhere(&pool, &arguments.events, &arguments.objects).await?;
        return Ok(summary.print(arguments.read.json)?);
    }
    let at: Vec<String> = arguments.at.iter().map(ToString::to_string).collect();
    let asked = json!({"archive": url, "events": arguments.events, "objects": arguments.objects,
        "at": at, "reason": arguments.reason});
    operation::record(&pool, &arguments.by, "archive erase", asked, async |operation| {
        let mut summary = Summary::new(&url, Some(operation));
        arguments.erase(&archive, &place, &mut summary).await?;
        summary.find_elsewhere(&pool, &arguments.events, &arguments.objects).await?;
        let outcome = summary.print(arguments.read.json)?;
        match summary.damaged() {
            Some(damaged) => bail!(
                "{damaged}: what is damaged was left as it is, the others are done; `reconciler \
                 archive verify` names all of it"
            ),
            None => Ok((outcome, summary.document())),
        }
    })
    .await
}

impl Arguments {
    fn choice(&self) -> Choice {
        let event = |id: &String| Filter { event: Some(id.clone()), ..Filter::default() };
        let object = |id: &String| Filter { object: Some(id.clone()), ..Filter::default() };
        Choice {
            filters: self.events.iter().map(event).chain(self.objects.iter().map(object)).collect(),
            at: self.at.iter().copied().collect(),
        }
    }

    async fn erase(
        &self,
        archive: &Arc<Archive<Bucket>>,
        place: &Place,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        let choice = Arc::new(self.choice());
        let eraser = Eraser {
            archive: archive.clone(),
            place: place.clone(),
            choice: choice.clone(),
            dry_run: self.dry_run,
        };
        let mut segments: JoinSet<anyhow::Result<Segment>> = JoinSet::new();
        for partition in archive.partitions(place).await? {
            let mut chain = archive.chain(place, partition, Start::Beginning, None).await?;
            let mut next_offset = 0;
            loop {
                let manifest = match archive.next(&mut chain).await {
                    Ok(Some(manifest)) => manifest,
                    Ok(None) => break,
                    // What follows can be erased all the same.
                    Err(ReadError::Damage(damage)) => {
                        summary.damage(&damage);
                        continue;
                    }
                    Err(ReadError::Fault(fault)) => return Err(fault.into()),
                };
                next_offset = manifest.next_offset();
                if !choice.may_be_in(&manifest) {
                    continue;
                }
                if segments.len() >= usize::from(self.erase_segments)
                    && let Some(segment) = segments.join_next().await
                {
                    summary.add(segment??);
                }
                segments.spawn(eraser.clone().erase(manifest));
            }
            summary.reach(partition, next_offset);
        }
        while let Some(segment) = segments.join_next().await {
            summary.add(segment??);
        }
        Ok(())
    }
}
