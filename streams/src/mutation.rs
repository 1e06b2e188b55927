//! Clauses of the protocol that a test can leave out, to check that the simulator or the model notices.
//!
//! This is compiled only with the feature `mutations`, which only the tests enable; otherwise `left_out` is a constant,
//! and the compiler removes its uses. The omitted clause is a property of the OS thread, because a simulation runs on
//! one.

/// A clause of the protocol, named by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clause {
    /// Trim only below an acknowledged commit.
    TrimBelowAcknowledged,
    /// End the transaction before a revocation is completed, and send no offsets of partitions of others.
    SettleBeforeRevocation,
    /// End the own transaction before acquiring again.
    AbortBeforeAcquiring,
    /// Rebuild up to the high watermark.
    RebuildToHighWatermark,
    /// After a rebuild W is C − 1, not the last event's offset.
    AppliedBelowCommitted,
    /// Fold only events of records below C.
    FoldBelowCommitted,
    /// Compare the lineage.
    CompareLineage,
    /// A ledger behind the log agrees only by its own last token.
    AgreeByLastToken,
    /// A fresh token for each acquisition and rebuild.
    FreshToken,
    /// Commit C unchanged under the own id before the first decision.
    SignOffset,
    /// Fence earlier owners.
    FenceOwners,
    /// Send the outbox again.
    Resend,
    /// Read C with stable offsets.
    StableOffsets,
    /// Check the ledgers while idle.
    IdleCheck,
    /// Check after a lost reply whether the commit happened.
    AskAfterLostReply,
    /// Notice a document that the index names and that is missing.
    DocumentAbsent,
    /// Notice a document that is older than the index.
    DocumentOlder,
    /// Notice a document that is newer than the index.
    DocumentNewer,
    /// Notice a document that reached the same sequence by other writes.
    DocumentOther,
    /// Notice that a settled outcome is missing although its request is known.
    OutcomeLost,
    /// Read only documents that the index names.
    NamedOnly,
    /// Remove what is found in the place of a new document before its first write.
    RemoveUnnamed,
    /// Every write states the version.
    StateVersion,
    /// Use a ledger's log only if it is whole.
    LogWhole,
    /// Compare the entries of a ledger's log by their digests, not by their offsets alone.
    LogDigest,
    /// Mark a ledger that has lost a part, so that its next owner rebuilds it.
    MarkLost,
    /// Compare the log and some documents while idle.
    IdleParts,
    /// Decide nothing on a store that may drop parts of ledgers.
    StoreFit,
    /// Readers compare a document with the index.
    ReadersCompare,
    /// Compare token and position in the sink's transaction that adds the rows. The in-memory sink leaves it out.
    SinkPositions,
    /// Fence the owner that the offset's metadata names, too. Left out in the model alone.
    FenceNamed,
    /// Forget earlier owners only after they are fenced. Left out in the model alone.
    ForgetAfterFencing,
    /// Every write states the token. Left out in the model alone.
    StateToken,
    /// Every write states the applied offset. Left out in the model alone; the runtime states the version instead.
    StateApplied,
    /// Conclude nothing from a ledger's log or documents without checking that the ledger was held during the read.
    /// Left out in the model alone: the runtime writes under the version that it has read, which shows the same.
    JudgeAsHolder,
}

impl Clause {
    /// The clauses that the runtime can leave out.
    pub const OF_RUNTIME: [Clause; 30] = [
        Clause::TrimBelowAcknowledged,
        Clause::SettleBeforeRevocation,
        Clause::AbortBeforeAcquiring,
        Clause::RebuildToHighWatermark,
        Clause::AppliedBelowCommitted,
        Clause::FoldBelowCommitted,
        Clause::CompareLineage,
        Clause::AgreeByLastToken,
        Clause::FreshToken,
        Clause::SignOffset,
        Clause::FenceOwners,
        Clause::Resend,
        Clause::StableOffsets,
        Clause::IdleCheck,
        Clause::AskAfterLostReply,
        Clause::DocumentAbsent,
        Clause::DocumentOlder,
        Clause::DocumentNewer,
        Clause::DocumentOther,
        Clause::OutcomeLost,
        Clause::NamedOnly,
        Clause::RemoveUnnamed,
        Clause::StateVersion,
        Clause::LogWhole,
        Clause::LogDigest,
        Clause::MarkLost,
        Clause::IdleParts,
        Clause::StoreFit,
        Clause::ReadersCompare,
        Clause::SinkPositions,
    ];
}

#[cfg(feature = "mutations")]
thread_local! {
    static LEFT_OUT: std::cell::Cell<Option<Clause>> = const { std::cell::Cell::new(None) };
}

/// Makes this thread's runtimes leave out a clause, or none.
#[cfg(feature = "mutations")]
pub fn leave_out(clause: Option<Clause>) {
    LEFT_OUT.set(clause);
}

/// Returns whether to leave out a clause.
#[cfg(feature = "mutations")]
pub(crate) fn left_out(clause: Clause) -> bool {
    LEFT_OUT.get() == Some(clause)
}

/// Returns whether to leave out a clause.
#[cfg(not(feature = "mutations"))]
pub(crate) const fn left_out(_clause: Clause) -> bool {
    false
}
