//! The places between the statements of a batch's transaction.
//!
//! Two transactions can meet in any interleaving; whether every one of them ends in the same state
//! is proved by a test that holds each transaction at each of these places. Production passes `()`.

use std::future::Future;

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

impl Pace for () {
    async fn before(&self, _: Step) {}
}
