//! What can be left out of the model.

/// A clause of docs/PROTOCOL.md, named by what is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clause {
    /// Trim only below an acknowledged commit.
    TrimBelowAcknowledged,
    /// End the transaction before a revocation is completed, and send no offsets of what isn't ours.
    SettleBeforeRevocation,
    /// End the own transaction before acquiring again.
    AbortBeforeAcquiring,
    /// Rebuild up to the high watermark of every event topic.
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
    /// Fence earlier owners by their `transactional.id`.
    FenceOwners,
    /// Fence whom the offset's metadata names, too.
    FenceNamed,
    /// Forget earlier owners only after they are fenced.
    ForgetAfterFencing,
    /// Send the outbox again.
    Resend,
    /// Read C with stable offsets.
    StableOffsets,
    /// Look at the ledger while idle.
    IdleCheck,
    /// Every write states the token: what makes it safe to load documents one by one, when first touched.
    StateToken,
    /// Every write states the applied offset.
    StateApplied,
    /// Only the ledger's holder judges that its outbox lacks answers.
    JudgeAsHolder,
}
