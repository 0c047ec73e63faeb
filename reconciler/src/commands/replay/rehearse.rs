//! `reconciler replay … --dry-run`: what it would change, and nothing changed.

use domain::event::decode;
use domain::record::RawRecord;
use serde_json::json;
use service::exit::Outcome;

use super::Replay;
use super::choice::Choice;
use super::report;
use crate::commands::changes::Changes;
use crate::fault::Fault;
use crate::source::Chunk;
use crate::store::replay::Counts;
use crate::store::{Forecast, Item};

impl Replay {
    /// Reads one partition after the other into a forecast, and tells what that comes to.
    pub(super) async fn rehearse(self) -> anyhow::Result<Outcome> {
        let (filter, ranges) = (&self.plan.asked.filter, &self.plan.ranges);
        let store = self.store()?;
        let choice = Choice::new(filter.clone(), &[]);
        let queues = self.plan.source.read(ranges, filter).await?;
        let mut forecast = Forecast::begin(&store, self.common.forecast.limits()).await?;
        let mut counts = Counts::default();
        for (range, mut chunks) in ranges.iter().zip(queues) {
            let within = range.from..range.to;
            while let Some(chunk) = chunks.recv().await {
                let chunk = chunk.map_err(Fault::from)?;
                let Chunk { records, erased, next_offset, room: _room } = chunk;
                counts.erased += erased as u64;
                let records = records.into_iter().filter(|it| within.contains(&it.offset));
                let mut chosen: Vec<RawRecord> = Vec::new();
                for record in records {
                    counts.read += 1;
                    if choice.takes(&record) {
                        chosen.push(record);
                    } else {
                        counts.skipped += 1;
                    }
                }
                for records in chosen.chunks(self.common.project.batch().records) {
                    let item = |record: &RawRecord| Item {
                        outcome: decode(record, store.settings()),
                        record: record.clone(),
                    };
                    let items: Vec<Item> = records.iter().map(item).collect();
                    counts.add(&forecast.add(&items).await?);
                }
                if next_offset >= range.to || choice.is_over() {
                    break;
                }
            }
        }
        let mut changes = Changes::begin(self.common.read.json)?;
        let totals = forecast.end(|change| Ok::<_, anyhow::Error>(changes.tell(&change)?)).await?;
        counts.facts_new = totals.new_facts + totals.corrected_facts;
        counts.domain_events_queued = totals.domain_events;
        counts.rows_changed = changes.rows();
        changes.end(json!(counts), |out| report::tell(out, &counts))?;
        let outcome = if counts.quarantined.is_empty() { Outcome::Done } else { Outcome::Found };
        Ok(outcome)
    }
}
