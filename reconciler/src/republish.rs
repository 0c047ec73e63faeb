//! Publishing again: domain events from `pay.fact` to one sink.
//!
//! The queue keeps nothing of what it has sent, but every event is a function of its fact, so the
//! facts are read a page at a time and sent through the same calls as the role publish's. What was
//! acknowledged is behind the cursor: whoever stops here goes on there.

mod select;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota};
use sqlx::PgPool;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::select::Told;
pub(crate) use self::select::{Cursor, Plan, Selection};
use crate::fault::{Backoff, Fault, insist, note};
use crate::publish::{BATCH_RECORDS, Event, EventStream, batches, call};
use crate::sink::Sink;

/// What its faults are logged under.
const ROLE: &str = "republish";
/// How often in a row a call may come to nothing before it is given up.
const MAX_ATTEMPTS: u32 = 12;
/// Most ids that are named of what was not sent.
const MAX_NAMED: usize = 20;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Events that the sink has acknowledged.
    pub(crate) sent: u64,
    /// Records that were refused and sent again.
    pub(crate) refused: u64,
    /// Events that no sink can take, or whose fact no longer is what its hash says.
    pub(crate) left_out: BTreeMap<&'static str, LeftOut>,
    /// The last fact that is dealt with.
    pub(crate) cursor: Option<Cursor>,
    /// Whether it came to the end.
    pub(crate) is_whole: bool,
}

/// Events that were not sent for one reason.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    pub(crate) events: u64,
    /// The first of their facts.
    pub(crate) facts: Vec<String>,
}

/// A run: where it sends and how fast.
pub(crate) struct Republisher<E> {
    pool: PgPool,
    stream: E,
    sink: Sink,
    limiter: DefaultDirectRateLimiter,
    /// Most events of one call: a tenth of a second's, so that they flow and do not come in gulps.
    burst: NonZeroU32,
    stop: CancellationToken,
}

impl<E: EventStream> Republisher<E> {
    /// `rate` is in events a second.
    pub(crate) fn new(
        pool: PgPool,
        stream: E,
        sink: Sink,
        rate: NonZeroU32,
        stop: CancellationToken,
    ) -> Self {
        let most = u32::try_from(BATCH_RECORDS).unwrap_or(u32::MAX);
        let burst = NonZeroU32::new((rate.get() / 10).min(most)).unwrap_or(NonZeroU32::MIN);
        let limiter = DefaultDirectRateLimiter::direct(Quota::per_second(rate).allow_burst(burst));
        Self { pool, stream, sink, limiter, burst, stop }
    }

    /// Sends what is selected, until the end or until it is stopped between two calls. `progress` is
    /// told how many more facts are dealt with. The report says how far it came, after a fault too.
    pub(crate) async fn run(
        &self,
        selection: &Selection,
        progress: impl Fn(u64),
    ) -> (Report, Result<(), Fault>) {
        let mut report = Report { cursor: selection.after.clone(), ..Report::default() };
        let done = self.pages(selection, &mut report, progress).await;
        (report, done)
    }

    async fn pages(
        &self,
        selection: &Selection,
        report: &mut Report,
        progress: impl Fn(u64),
    ) -> Result<(), Fault> {
        while !self.stop.is_cancelled() {
            let Some(page) = self.page(selection, report.cursor.as_ref()).await? else { break };
            let Some(last) = page.last().map(Told::cursor) else {
                report.is_whole = true;
                break;
            };
            let (fit, unfit): (Vec<Told>, Vec<Told>) =
                page.into_iter().partition(|told| told.unfit().is_none());
            for batch in batches(&fit, self.burst.get() as usize, Told::event) {
                if self.stop.is_cancelled() || !self.send(batch, report).await? {
                    return Ok(());
                }
                report.cursor = batch.last().map(Told::cursor);
                progress(batch.len() as u64);
            }
            for told in &unfit {
                report.leave_out(told);
            }
            progress(unfit.len() as u64);
            report.cursor = Some(last);
        }
        Ok(())
    }

    /// The next facts; nothing when it is stopped while PostgreSQL does not answer.
    async fn page(
        &self,
        selection: &Selection,
        after: Option<&Cursor>,
    ) -> Result<Option<Vec<Told>>, Fault> {
        let page = insist(ROLE, MAX_ATTEMPTS, || selection.page(&self.pool, after));
        self.stop.run_until_cancelled(page).await.transpose()
    }

    /// Sends a batch, and what of it was refused again, until the sink has all of it. Says whether it
    /// has: it may be stopped between two attempts.
    async fn send(&self, batch: &[Told], report: &mut Report) -> Result<bool, Fault> {
        let mut waiting: Vec<Event<'_>> = batch.iter().map(Told::event).collect();
        let mut patience = Patience::default();
        while let Some(records) = count(&waiting) {
            if patience.attempts > 0 && self.stop.is_cancelled() {
                return Ok(false);
            }
            // A batch is never larger than the burst.
            let _ = self.limiter.until_n_ready(records).await;
            let answers = match call(&self.stream, self.sink, &waiting).await {
                Ok(answers) => answers,
                Err(fault) => {
                    patience.wait_out(fault, &self.stop).await?;
                    continue;
                }
            };
            let mut refused = answers.iter().map(Option::is_some);
            waiting.retain(|_| refused.next().unwrap_or(true));
            report.refused += waiting.len() as u64;
            let sent = records.get() as usize - waiting.len();
            report.sent += sent as u64;
            if sent > 0 {
                patience = Patience::default();
            }
            if !waiting.is_empty() {
                let fault = Fault::retry("sending domain events", "the sink refuses the records");
                patience.wait_out(fault, &self.stop).await?;
            }
        }
        Ok(true)
    }
}

/// How many there are, if any.
fn count(events: &[Event<'_>]) -> Option<NonZeroU32> {
    u32::try_from(events.len()).ok().and_then(NonZeroU32::new)
}

impl Report {
    fn leave_out(&mut self, told: &Told) {
        let Some(why) = told.unfit() else { return };
        let left = self.left_out.entry(why).or_default();
        left.events += 1;
        if left.facts.len() < MAX_NAMED {
            left.facts.push(told.fact.fact_id.clone());
        }
    }
}

/// How long the same is tried again.
#[derive(Default)]
struct Patience {
    attempts: u32,
    backoff: Backoff,
}

impl Patience {
    /// Waits before the next attempt. The fault itself, if that cannot help or was tried enough.
    async fn wait_out(&mut self, fault: Fault, stop: &CancellationToken) -> Result<(), Fault> {
        self.attempts += 1;
        if !fault.decision.is_transient() || self.attempts >= MAX_ATTEMPTS {
            return Err(fault);
        }
        let delay = self.backoff.delay();
        note(ROLE, &fault, delay);
        stop.run_until_cancelled(sleep(delay)).await;
        Ok(())
    }
}
