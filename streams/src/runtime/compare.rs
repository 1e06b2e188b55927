//! Compares a ledger with the log's committed offset. Every acquisition does this first.
//!
//! `C` is the committed offset, `W` the ledger's applied offset (−1 where there is none). The offset's metadata
//! names the sequence that the records below C reached and the token that decided it.
//!
//! | ledger | lineage agrees | verdict |
//! | --- | --- | --- |
//! | a rebuild was not finished | – | rebuild from the first event |
//! | W ≥ C | yes | send the records of C..=W from the ledger's log again |
//! | W = C − 1, same sequence | yes | go on |
//! | W < C − 1 | yes | rebuild from the ledger's own sequence on |
//! | any | no | rebuild from the first event |
//!
//! A ledger whose log is not whole (`entry`) is rebuilt from the first event as well.

use super::metadata::OffsetMetadata;
use crate::ledger::LedgerState;
use crate::mutation::{Clause, left_out};

/// The work to do before the first decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The ledger is where the log is.
    Continue,
    /// The ledger is ahead: the log's transaction was not committed, and the ledger's own log holds its records.
    Resend,
    /// The ledger lost acknowledged writes. `keep`: its documents are a prefix of the log's events.
    Rebuild { keep: bool },
}

impl Verdict {
    /// Returns the value of the metrics' label `verdict`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Resend => "resend",
            Self::Rebuild { .. } => "rebuild",
        }
    }
}

/// Returns whether a ledger holds everything that is committed, decided by the same acquisitions. Otherwise its next
/// owner rebuilds it, and until then nothing may be read from it.
pub fn holds_committed(state: &LedgerState, committed: i64, metadata: &OffsetMetadata) -> bool {
    !matches!(compare(state, committed, metadata), Verdict::Rebuild { .. })
}

pub(crate) fn compare(state: &LedgerState, committed: i64, metadata: &OffsetMetadata) -> Verdict {
    if state.rebuilding {
        return Verdict::Rebuild { keep: false };
    }
    let applied = state.applied.unwrap_or(-1);
    let agrees = left_out(Clause::CompareLineage) || agrees(state, metadata);
    if !agrees {
        return Verdict::Rebuild { keep: false };
    }
    if applied >= committed && state.sequence >= metadata.sequence {
        Verdict::Resend
    } else if applied == committed - 1 && state.sequence == metadata.sequence {
        Verdict::Continue
    } else {
        // With the sequences crossed (such as W ≥ C with fewer events) nothing of the ledger can be trusted. One
        // without events has nothing to keep, and may lack the events of its keys under an earlier layout.
        Verdict::Rebuild {
            keep: applied < committed - 1 && (1..=metadata.sequence).contains(&state.sequence),
        }
    }
}

/// Did the same acquisitions decide both, as far as both reach?
fn agrees(state: &LedgerState, metadata: &OffsetMetadata) -> bool {
    if state.sequence >= metadata.sequence {
        // Nothing was ever committed: there is nothing that the ledger could disagree with. A new layout names its
        // token before the first event, and only a ledger that was rebuilt since knows it.
        let is_first = metadata.sequence == 0 && metadata.token.0.is_empty();
        is_first || state.lineage.token_at(metadata.sequence) == Some(&metadata.token)
    } else {
        // The metadata's sequence lies beyond the ledger: only its own last token can tell. An empty ledger agrees.
        state.sequence == 0 || left_out(Clause::AgreeByLastToken) || state.lineage.last() == Some(&metadata.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Lineage, Token};

    fn state(applied: i64, sequence: i64, lineage: &[(i64, &str)]) -> LedgerState {
        LedgerState {
            applied: (applied >= 0).then_some(applied),
            sequence,
            lineage: Lineage(
                lineage
                    .iter()
                    .map(|(first, token)| (*first, Token((*token).into())))
                    .collect(),
            ),
            ..LedgerState::default()
        }
    }

    fn metadata(sequence: i64, token: &str) -> OffsetMetadata {
        OffsetMetadata {
            sequence,
            token: Token(token.into()),
            transactional_id: "x".into(),
            layouts: None,
        }
    }

    #[test]
    fn a_fresh_ledger_of_a_fresh_group_goes_on() {
        assert_eq!(compare(&state(-1, 0, &[]), 0, &metadata(0, "")), Verdict::Continue);
    }

    #[test]
    fn a_ledger_ahead_sends_again() {
        assert_eq!(
            compare(&state(9, 12, &[(1, "a"), (11, "b")]), 5, &metadata(10, "a")),
            Verdict::Resend
        );
        assert_eq!(compare(&state(3, 4, &[(1, "a")]), 0, &metadata(0, "")), Verdict::Resend);
    }

    #[test]
    fn the_same_applied_offset_decided_by_another_is_rebuilt() {
        assert_eq!(
            compare(&state(9, 10, &[(1, "b")]), 10, &metadata(10, "a")),
            Verdict::Rebuild { keep: false }
        );
        assert_eq!(
            compare(&state(12, 14, &[(1, "b")]), 10, &metadata(10, "a")),
            Verdict::Rebuild { keep: false }
        );
    }

    #[test]
    fn a_ledger_behind_keeps_its_prefix_only_by_its_own_last_token() {
        assert_eq!(
            compare(&state(3, 4, &[(1, "a")]), 10, &metadata(10, "a")),
            Verdict::Rebuild { keep: true }
        );
        assert_eq!(
            compare(&state(3, 4, &[(1, "z")]), 10, &metadata(10, "a")),
            Verdict::Rebuild { keep: false }
        );
        assert_eq!(
            compare(&state(-1, 0, &[]), 10, &metadata(10, "a")),
            Verdict::Rebuild { keep: false }
        );
    }

    #[test]
    fn an_unfinished_rebuild_starts_anew() {
        let unfinished = LedgerState {
            rebuilding: true,
            ..state(9, 10, &[(1, "a")])
        };
        assert_eq!(
            compare(&unfinished, 10, &metadata(10, "a")),
            Verdict::Rebuild { keep: false }
        );
    }

    #[test]
    fn dead_letters_alone_move_the_applied_offset_without_events() {
        assert_eq!(compare(&state(4, 0, &[]), 5, &metadata(0, "")), Verdict::Continue);
        assert_eq!(
            compare(&state(2, 0, &[]), 5, &metadata(0, "")),
            Verdict::Rebuild { keep: false }
        );
    }

    #[test]
    fn a_new_layout_is_known_to_ledgers_that_were_rebuilt_under_it_only() {
        let switched = metadata(10, "switch");
        let rebuild = Verdict::Rebuild { keep: false };
        assert_eq!(compare(&state(9, 10, &[(1, "a")]), 10, &switched), rebuild);
        assert_eq!(
            compare(&state(9, 10, &[(1, "a"), (10, "switch")]), 10, &switched),
            Verdict::Continue
        );
        assert_eq!(
            compare(&state(12, 14, &[(10, "switch"), (11, "b")]), 10, &switched),
            Verdict::Resend
        );
        // A new ledger.
        let switched = metadata(0, "switch");
        assert_eq!(compare(&state(-1, 0, &[]), 0, &switched), rebuild);
        assert_eq!(
            compare(&state(-1, 0, &[(0, "switch")]), 0, &switched),
            Verdict::Continue
        );
    }

    #[test]
    fn crossed_sequences_are_rebuilt() {
        assert_eq!(
            compare(&state(12, 8, &[(1, "a")]), 10, &metadata(10, "a")),
            Verdict::Rebuild { keep: false }
        );
        assert_eq!(
            compare(&state(9, 11, &[(1, "a")]), 10, &metadata(10, "a")),
            Verdict::Rebuild { keep: false }
        );
    }
}
