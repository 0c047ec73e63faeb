//! The places between the statements of a batch's transaction.
//!
//! Two transactions can meet in any interleaving; whether every one of them ends in the same state
//! is proved by a test that holds each transaction at each of these places. Production measures here
//! how long each of them takes.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use service::metrics::Histogram;

use crate::metrics;

/// A statement of the transaction, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "named for their statements")]
pub enum Step {
    InsertEvents,
    TakeUpEvents,
    FindVariants,
    InsertStubs,
    LockObjects,
    ReadObjects,
    ReadProviders,
    ReadQuotes,
    SaveObjects,
    WriteTxns,
    WriteRefunds,
    WriteDisputes,
    WritePayouts,
    WriteProviders,
    WriteInvoices,
    WriteLedger,
    WriteDiscrepancies,
    WriteFacts,
    SetHeld,
    Queue,
    SetVerdicts,
    Quarantine,
    Judge,
    MovePositions,
    Commit,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 25] = [
        Self::InsertEvents,
        Self::TakeUpEvents,
        Self::FindVariants,
        Self::InsertStubs,
        Self::LockObjects,
        Self::ReadObjects,
        Self::ReadProviders,
        Self::ReadQuotes,
        Self::SaveObjects,
        Self::WriteTxns,
        Self::WriteRefunds,
        Self::WriteDisputes,
        Self::WritePayouts,
        Self::WriteProviders,
        Self::WriteInvoices,
        Self::WriteLedger,
        Self::WriteDiscrepancies,
        Self::WriteFacts,
        Self::SetHeld,
        Self::Queue,
        Self::SetVerdicts,
        Self::Quarantine,
        Self::Judge,
        Self::MovePositions,
        Self::Commit,
    ];

    /// The label of a metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InsertEvents => "insert_events",
            Self::TakeUpEvents => "take_up_events",
            Self::FindVariants => "find_variants",
            Self::InsertStubs => "insert_stubs",
            Self::LockObjects => "lock_objects",
            Self::ReadObjects => "read_objects",
            Self::ReadProviders => "read_providers",
            Self::ReadQuotes => "read_quotes",
            Self::SaveObjects => "save_objects",
            Self::WriteTxns => "write_txns",
            Self::WriteRefunds => "write_refunds",
            Self::WriteDisputes => "write_disputes",
            Self::WritePayouts => "write_payouts",
            Self::WriteProviders => "write_providers",
            Self::WriteInvoices => "write_invoices",
            Self::WriteLedger => "write_ledger",
            Self::WriteDiscrepancies => "write_discrepancies",
            Self::WriteFacts => "write_facts",
            Self::SetHeld => "set_held",
            Self::Queue => "queue",
            Self::SetVerdicts => "set_verdicts",
            Self::Quarantine => "quarantine",
            Self::Judge => "judge",
            Self::MovePositions => "move_positions",
            Self::Commit => "commit",
        }
    }
}

/// Decides when a transaction may go on.
pub trait Pace: Sync {
    /// Called before each statement.
    fn before(&self, step: Step) -> impl Future<Output = ()> + Send;
}

/// Measures the steps of production's transactions.
#[derive(Debug)]
pub(super) struct Steps([Histogram; Step::ALL.len()]);

impl Steps {
    pub(super) fn new() -> Self {
        Self(Step::ALL.map(|step| metrics::STEP_SECONDS.with([step.as_str()])))
    }

    /// For one transaction. A step ends where the next begins, the last one with the stopwatch.
    pub(super) fn stopwatch(&self) -> Stopwatch<'_> {
        Stopwatch { steps: self, running: Mutex::default() }
    }
}

pub(super) struct Stopwatch<'a> {
    steps: &'a Steps,
    running: Mutex<Option<(Step, Instant)>>,
}

impl Stopwatch<'_> {
    fn switch_to(&self, next: Option<Step>) {
        let next = next.map(|step| (step, Instant::now()));
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((step, began)) = std::mem::replace(&mut *running, next) {
            self.steps.0[step as usize].record(began.elapsed());
        }
    }
}

impl Pace for Stopwatch<'_> {
    async fn before(&self, step: Step) {
        self.switch_to(Some(step));
    }
}

impl Drop for Stopwatch<'_> {
    fn drop(&mut self) {
        self.switch_to(None);
    }
}

impl Pace for () {
    async fn before(&self, _: Step) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_a_place_of_its_own() {
        for (index, step) in Step::ALL.into_iter().enumerate() {
            assert_eq!(step as usize, index, "{step:?}");
        }
    }
}
