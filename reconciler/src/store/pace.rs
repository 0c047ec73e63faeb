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

/// Decides when a transaction may go on.
pub trait Pace: Sync {
    /// Called before each statement.
    fn before(&self, step: Step) -> impl Future<Output = ()> + Send;
}

impl Pace for () {
    async fn before(&self, _: Step) {}
}
