//! `reconciler archive cat`: records as they are stored, or their bodies.

use std::io::{ErrorKind, Write as _};
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use domain::archive::{Entry, Manifest, Place, Problem};
use serde_json::json;
use service::exit::Outcome;

use super::place::Where;
use crate::config::Database;
use crate::database;
use crate::operation::{self, Operator};
use crate::s3::Bucket;
use crate::source::archive::{Archive, Start, check_segment};
use crate::source::filter::Filter;
use crate::source::topic::Part;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only this partition, or these offsets of it; TO is not read. May be repeated
    #[arg(long = "partition", value_name = "P[:FROM..TO]")]
    parts: Vec<Part>,
    /// Print bodies only, each with a newline behind it; what has no body is left out
    #[arg(long)]
    body: bool,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    archive: Where,
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    by: Operator,
}

/// Prints records by partition and offset until there are no more, or nobody reads on. With a
/// database, that somebody looked is kept in `pay.operation`.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let archive = arguments.archive.open().await?;
    let place = arguments.archive.place(&archive, None).await?;
    let database = &arguments.database;
    if database.database_url.is_none() && database.database_url_file.is_none() {
        print(arguments, archive, place).await?;
        return Ok(Outcome::Done);
    }
    let pool = database::pool(&database.url()?, "archive", 1)?;
    let parts: Vec<String> = arguments.parts.iter().map(ToString::to_string).collect();
    let asked = json!({"filter": arguments.filter, "partitions": parts, "body": arguments.body});
    operation::record(&pool, &arguments.by, "archive cat", asked, async |_| {
        let records = print(arguments, archive, place).await?;
        Ok((Outcome::Done, json!({"records": records})))
    })
    .await
}

/// Comes back with how many records it printed.
async fn print(
    arguments: &Arguments,
    archive: Archive<Bucket>,
    place: Place,
) -> anyhow::Result<u64> {
    let parts = match &arguments.parts[..] {
        [] => archive.partitions(&place).await?.into_iter().map(Part::whole).collect(),
        parts => parts.to_vec(),
    };
    let archive = Arc::new(archive);
    let filter = Arc::new(arguments.filter.clone());
    let mut printed = 0;
    for part in parts {
        let start = match (part.from, filter.from) {
            (Some(offset), _) => Start::Offset(offset),
            (None, Some(from)) => Start::Time(from),
            (None, None) => Start::Beginning,
        };
        let mut chain = archive.chain(&place, part.partition, start, filter.to).await?;
        while let Some(manifest) = archive.next(&mut chain).await? {
            if part.to.is_some_and(|to| manifest.first_offset >= to) {
                break;
            }
            let left = filter.limit.map_or(u64::MAX, |limit| limit - printed);
            if left == 0 {
                return Ok(printed);
            }
            let choice = Choice { part, filter: filter.clone(), body: arguments.body, left };
            let page = choice.page(&archive, &place, manifest).await?;
            if !page.write()? {
                return Ok(printed);
            }
            printed += page.records;
        }
    }
    Ok(printed)
}

/// What is printed of a segment.
struct Choice {
    part: Part,
    filter: Arc<Filter>,
    body: bool,
    left: u64,
}

/// What a segment gives to print.
#[derive(Default)]
struct Page {
    bytes: Vec<u8>,
    records: u64,
}

impl Choice {
    async fn page(
        self,
        archive: &Archive<Bucket>,
        place: &Place,
        manifest: Manifest,
    ) -> anyhow::Result<Page> {
        let Some(key) = manifest.segment.clone() else { return Ok(Page::default()) };
        let Some(stored) = archive.object(&key).await? else {
            bail!("{key}: {}", Problem::SegmentMissing);
        };
        let place = place.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut page = Page::default();
            let checked = check_segment(&stored, &place, &manifest, |line, entry| {
                self.add(&mut page, line, &entry);
            });
            (page, checked)
        });
        let (page, checked) = read.await?;
        match checked.findings.into_iter().next() {
            Some(damage) => bail!("{damage}; nothing of this segment is printed"),
            None => Ok(page),
        }
    }

    fn add(&self, page: &mut Page, line: &[u8], entry: &Entry) {
        let offset = entry.offset();
        let is_within = self.part.from.is_none_or(|from| offset >= from)
            && self.part.to.is_none_or(|to| offset < to);
        if !is_within || page.records >= self.left {
            return;
        }
        match entry {
            Entry::Record(record) if !self.filter.matches(record) => return,
            Entry::Record(record) if self.body => {
                let Some(body) = &record.value else { return };
                page.bytes.extend_from_slice(body);
                page.bytes.push(b'\n');
            }
            // Nobody knows what it was: it is shown where all is.
            Entry::Erased(_) if self.body || *self.filter != Filter::default() => return,
            Entry::Record(_) | Entry::Erased(_) => page.bytes.extend_from_slice(line),
        }
        page.records += 1;
    }
}

impl Page {
    /// False when nobody reads any more.
    fn write(&self) -> std::io::Result<bool> {
        let mut out = std::io::stdout().lock();
        match out.write_all(&self.bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            written => written.map(|()| true),
        }
    }
}
