//! The clauses that can be left out of the model.

/// A clause of docs/LEDGER.md, named by what is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clause {
    /// L1: a write states the token.
    StateToken,
    /// L1: a write states the version.
    StateVersion,
    /// L1: checkpoints and their index fields are one transaction.
    OneTransaction,
    /// L1: no batch is written to a ledger that is marked for a rebuild.
    RefuseMarked,
    /// L2: the log must lead from `floor` to W.
    WholeLog,
    /// L2: the log must lead to `chain` by digests, not by offsets alone.
    ChainByDigest,
    /// L3: an entry is trimmed only when its commit is acknowledged.
    TrimAcknowledged,
    /// L3: an entry is trimmed only when its documents are checkpointed.
    TrimCheckpointed,
    /// L3: a document with a tail is dirty, loaded or not.
    DirtyThoughNotLoaded,
    /// L3: `floor` is the end of the last trimmed entry.
    ExactFloor,
    /// L4: a document that the index doesn't name isn't read.
    UnnamedIsNotRead,
    /// L4: a document that the index doesn't name is unlinked before its first checkpoint is written.
    UnlinkFirst,
    /// L4: the index is part of `meta`, so that it can't be lost alone.
    IndexInMeta,
    /// L5: the tail is folded onto the checkpoint.
    FoldTail,
    /// L5: a named document that is absent is lost.
    NoticeAbsent,
    /// L5: a document that is older than the index says is lost.
    NoticeOlder,
    /// L5: a document that is newer than the index says is lost.
    NoticeNewer,
    /// L5: the digests of the heads are compared.
    CompareDigest,
    /// L5: the segments are compared with the head.
    CompareSegments,
    /// L5: a closing ends the tails of its documents.
    ClosingEndsTail,
    /// L6: a document that a commit under way touches is neither let go nor loaded.
    KeepUnderWay,
    /// L7: a lost document marks the ledger for a rebuild.
    MarkLost,
    /// L8: a log that isn't whole is rebuilt, also where W ≥ C.
    RebuildInsteadOfStop,
    /// L8: a `floor` beyond C is noticed.
    FloorBelowCommitted,
    /// L9: a rebuild checkpoints tails before the log goes.
    CheckpointTails,
    /// L9: a rebuild's write states how many writes came before.
    CountRebuildWrites,
    /// L10: the idle check looks at log and documents.
    LookWhileIdle,
    /// C1: a day is closed only when nothing of it is due.
    NothingDue,
    /// C2: `closed` is stored.
    StoreClosed,
    /// C2: the index fields of the day go with the closing.
    DropIndexFields,
    /// C3: commands for a closed day are refused, before anything is looked up.
    RefuseClosed,
    /// C4: a rebuild folds the closing.
    FoldClosing,
    /// T1: the log overlays what the index says is due.
    OverlayByLog,
    /// T3: the note that a timer was sent goes with the cache.
    ForgetSent,
    /// T3: the note goes when the record is decided, whatever it found.
    ForgetSentWhenDecided,
    /// T4: only a decision changes what is due.
    DueByDecision,
    /// T5: a timer is decided by the time of its record.
    TimeOfRecord,
    /// T5: a batch without outputs has an entry, too.
    EntryWithoutOutput,
}
