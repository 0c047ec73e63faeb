//! What is to be applied, and from where.

use std::collections::BTreeMap;

use anyhow::bail;
use domain::archive::Place;
use sqlx::PgConnection;

use super::apply::{Sources, Way};
use super::picture::{self, LogId, Picture, Positions};
use super::route::{Known, Leg, Span};

/// Most gaps that are named.
const MAX_GAPS: usize = 20;

/// The way from where the rebuilt database stands to where the live one does, of each partition.
pub(super) async fn ways(
    sources: &Sources,
    snapshot: &mut PgConnection,
    picture: &Picture,
    reached: &Positions,
) -> anyhow::Result<Vec<Way>> {
    let topic = match &sources.log {
        Some(log) => {
            let id = (log.topic().cluster_id.clone(), log.topic().topic_id.clone());
            Some((id, log.ends().await?))
        }
        None => None,
    };
    // Events do not say of which topic they are.
    let seen = if reached.is_empty() && picture.positions.len() == 1 {
        picture::first_seen(snapshot).await?
    } else {
        BTreeMap::new()
    };
    let mut ways = Vec::new();
    for (id, positions) in &picture.positions {
        for (&partition, &to) in positions {
            let ends = topic.as_ref().filter(|(topic, _)| topic == id);
            let ends = ends.and_then(|(_, ends)| ends.get(&partition));
            let known = Known {
                reached: reached.get(id).and_then(|at| at.get(&partition)).copied(),
                to,
                seen: seen.get(&partition).copied().filter(|seen| *seen < to),
                archive: archived(sources, id, partition).await?,
                topic: ends.map(|&(from, to)| Span { from, to }),
            };
            let (log, start, legs) = (id.clone(), known.start(), known.legs());
            ways.push(Way { log, partition, start, legs });
        }
    }
    Ok(ways)
}

/// What the archive holds of a partition.
async fn archived(
    sources: &Sources,
    (cluster, topic_id): &LogId,
    partition: i32,
) -> anyhow::Result<Option<Span>> {
    let Some(archive) = &sources.archive else { return Ok(None) };
    let (prefix, cluster) = (sources.prefix.clone(), cluster.clone());
    let place = Place { prefix, cluster, topic_id: topic_id.clone() };
    let range = archive.range(&place, partition, None, None).await?;
    Ok(range.map(|range| Span { from: range.from, to: range.to }))
}

/// What nobody has any more.
pub(super) fn gaps(ways: &[Way]) -> Vec<String> {
    let gaps = ways.iter().flat_map(|way| {
        let gaps = way.legs.iter().filter(|leg| matches!(leg, Leg::Gap(_)));
        gaps.map(|gap| format!("partition {}, {}", way.partition, gap.span()))
    });
    gaps.collect()
}

/// Says where gaps were looked for, and what may help.
pub(super) fn complaint(gaps: &[String], sources: &Sources) -> String {
    let places = match (&sources.archive, &sources.log) {
        (Some(_), Some(_)) => "neither in the archive nor in the topic",
        (Some(_), None) => "not in the archive; KAFKA_BROKERS names the topic for the rest",
        _ => "not in the topic; --from archive reads the archive first",
    };
    let more = match gaps.len().saturating_sub(MAX_GAPS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}: {places}", gaps[..gaps.len().min(MAX_GAPS)].join("; "))
}

/// A database that has applied what the live one has not is not being rebuilt: it is at work.
pub(super) fn check_ahead(live: &Positions, reached: &Positions) -> anyhow::Result<()> {
    for (id, positions) in reached {
        for (partition, next) in positions {
            let live = live.get(id).and_then(|live| live.get(partition));
            if live.is_none_or(|live| live < next) {
                bail!(
                    "the database to rebuild has applied more of partition {partition} than the \
                     live one: it has taken over, or DATABASE_URL is not the live one"
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(positions: &[(&str, i32, i64)]) -> Positions {
        let mut all = Positions::new();
        for (topic, partition, next) in positions {
            let id = ("c".to_owned(), (*topic).to_owned());
            all.entry(id).or_default().insert(*partition, *next);
        }
        all
    }

    #[test]
    fn what_is_ahead_of_the_live_database_is_at_work() {
        let live = at(&[("t", 0, 5), ("t", 1, 9)]);
        for reached in [at(&[]), at(&[("t", 0, 5)]), at(&[("t", 0, 0), ("t", 1, 9)])] {
            assert!(check_ahead(&live, &reached).is_ok(), "{reached:?}");
        }
        for reached in [at(&[("t", 0, 6)]), at(&[("t", 2, 0)]), at(&[("u", 0, 1)])] {
            assert!(check_ahead(&live, &reached).is_err(), "{reached:?}");
        }
    }
}
