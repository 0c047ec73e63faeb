//! How far a replay is: told while it runs, and noted so that `reconciler operations` can tell.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use sqlx::PgPool;

use super::pace::Pace;
use crate::database::{self, settle, within};
use crate::fault::note;
use crate::operation;
use crate::store::replay::{Counts, Mark};

/// How often a terminal is told.
const DRAW_EVERY: Duration = Duration::from_millis(250);
/// How often everybody else is told, and the operation notes that it lives.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// How far a replay is.
#[derive(Debug)]
pub(super) struct Progress {
    places: Mutex<BTreeMap<i32, Place>>,
    started: Instant,
    bar: ProgressBar,
}

#[derive(Debug)]
struct Place {
    /// Where this run of it began.
    from: i64,
    next: i64,
    to: i64,
    counts: Counts,
}

impl Progress {
    /// At these places.
    pub(super) fn new(marks: &[Mark]) -> Self {
        let place = |mark: &Mark| {
            let (from, to) = (mark.range.from, mark.range.to);
            (mark.range.partition, Place { from, next: from, to, counts: mark.counts.clone() })
        };
        let places: BTreeMap<i32, Place> = marks.iter().map(place).collect();
        let length = places.values().map(|place| span(place.from, place.to)).sum();
        let bar = ProgressBar::new(length);
        if let Ok(style) = ProgressStyle::with_template(
            "{bar:30} {pos}/{len} records, {per_sec}, {eta} left {msg}",
        ) {
            bar.set_style(style);
        }
        Self { places: Mutex::new(places), started: Instant::now(), bar }
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<i32, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition was dealt with up to here.
    pub(super) fn reached(&self, partition: i32, next: i64, counts: &Counts) {
        if let Some(place) = self.places().get_mut(&partition) {
            place.next = next;
            place.counts.clone_from(counts);
        }
    }

    /// Records done by this run, and left.
    fn state(&self) -> (u64, u64) {
        let places = self.places();
        let done = places.values().map(|place| span(place.from, place.next)).sum();
        let left = places.values().map(|place| span(place.next, place.to)).sum();
        (done, left)
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for place in self.places().values() {
            counts.merge(&place.counts);
        }
        counts
    }

    /// Tells and notes how far it is, until it is dropped.
    pub(super) async fn tell(self: Arc<Self>, pool: PgPool, operation: i64, pace: Arc<Pace>) {
        let is_drawn = std::io::stderr().is_terminal();
        let mut told = Instant::now();
        loop {
            tokio::time::sleep(DRAW_EVERY).await;
            let (done, left) = self.state();
            if is_drawn {
                self.bar.set_position(done);
                let waits = if pace.is_held() { "(waits for live traffic)" } else { "" };
                self.bar.set_message(waits);
            }
            if told.elapsed() < TELL_EVERY {
                continue;
            }
            told = Instant::now();
            let (per_second, seconds_left) = rate(done, left, self.started.elapsed());
            if !is_drawn {
                let waits = pace.is_held();
                tracing::info!(operation, done, left, per_second, seconds_left, waits, "replaying");
            }
            let mut summary = json!(self.counts());
            summary["left"] = left.into();
            summary["per_second"] = per_second.into();
            let noted = async {
                let mut connection = database::acquire(&pool).await?;
                let noted = within(operation::note(&mut connection, operation, &summary)).await;
                settle(connection, "noting how far a replay is", noted).await
            };
            if let Err(fault) = noted.await {
                note("replay", &fault, TELL_EVERY);
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Records a second, and the seconds that are left at that rate.
fn rate(done: u64, left: u64, elapsed: Duration) -> (u64, Option<u64>) {
    let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let per_second = done.saturating_mul(1000) / milliseconds;
    (per_second, left.checked_div(per_second))
}

fn span(from: i64, to: i64) -> u64 {
    u64::try_from(to - from).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_unknown_until_something_is_done() {
        let second = Duration::from_secs(1);
        assert_eq!(rate(0, 100, second), (0, None));
        assert_eq!(rate(50, 100, second), (50, Some(2)));
        assert_eq!(rate(50, 0, Duration::ZERO), (50_000, Some(0)));
    }
}
