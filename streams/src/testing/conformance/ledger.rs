//! The behaviour that every [`LedgerStore`] must have.
//!
//! A store passes it by one line in a test file; the expression yields a fresh, empty store, in a box or in a guard
//! that cleans up after it, or `None` where the service it needs isn't there (it says so aloud):
//!
//! ```ignore
//! interlock_streams::ledger_conformance!(Some(Box::new(MemoryLedgerStore::default())));
//! ```
//!
//! The cases are in [`state`], [`commit`] and [`rebuild`]; the helpers below keep them short.

pub mod commit;
pub mod rebuild;
pub mod state;

use bytes::Bytes;

use crate::ledger::{
    FieldWrite, Fields, Holder, LedgerCommit, LedgerError, LedgerState, LedgerStore, Lineage, OutboxEntry, Token,
};

/// Makes one test of each case of the suite for the store that the (asynchronous) expression yields.
#[macro_export]
macro_rules! ledger_conformance {
    ($store:expr) => {
        $crate::ledger_conformance!(@cases $store;
            state::fresh_ledger,
            state::acquire_increments_and_tells_what_was_before,
            state::acquire_repeated_with_its_token_is_the_same_acquisition,
            state::owners_are_kept_until_forgotten_or_released,
            state::owners_are_forgotten_only_under_the_claim,
            state::release_is_recorded_until_its_owner_acquires_again,
            state::release_is_refused_to_a_zombie,
            state::ledgers_are_independent,
            commit::applies_fields_outbox_and_state,
            commit::last_write_to_a_field_wins,
            commit::document_without_fields_is_empty,
            commit::documents_are_loaded_in_the_order_asked_for,
            commit::values_of_lazy_fields_are_left_out_until_asked_for,
            commit::names_and_values_are_binary,
            commit::record_without_effect_advances_the_applied_offset,
            commit::outbox_is_ordered_by_number_and_trimmed,
            commit::refused_to_whoever_does_not_hold_the_ledger,
            commit::refused_on_another_applied_offset,
            commit::refused_while_rebuilding,
            commit::large_offsets_are_exact,
            commit::large_batch,
            rebuild::starts_empty_unless_kept,
            rebuild::writes_in_steps_and_finishes,
            rebuild::of_a_lost_ledger_to_before_the_first_record,
            rebuild::step_refused_where_one_before_is_missing,
            rebuild::interrupted_is_visible_and_starts_anew,
            rebuild::step_refused_to_a_zombie,
            rebuild::begin_refused_on_another_applied_offset,
            rebuild::steps_need_a_beginning,
            rebuild::demanded_is_left_to_the_owner,
        );
    };
    (@cases $store:expr; $($module:ident :: $case:ident),+ $(,)?) => {
        $(
            #[::tokio::test]
            async fn $case() {
                if let Some(store) = $store {
                    $crate::testing::conformance::ledger::$module::$case(&*store).await;
                }
            }
        )+
    };
}

/// The ledger that most cases use.
pub(super) const LEDGER: i32 = 7;

/// A token with this text.
pub(super) fn token(text: &str) -> Token {
    Token(text.to_owned())
}

/// The lineage with these entries.
pub(super) fn lineage(entries: &[(i64, &str)]) -> Lineage {
    Lineage(
        entries
            .iter()
            .map(|(sequence, text)| (*sequence, token(text)))
            .collect(),
    )
}

/// Acquires [`LEDGER`].
pub(super) async fn acquire(store: &dyn LedgerStore, owner: &str, text: &str) -> Holder {
    let state = store.acquire(LEDGER, owner, &token(text)).await.expect("acquire");
    Holder {
        ledger: LEDGER,
        epoch: state.epoch,
        token: token(text),
    }
}

/// The state of [`LEDGER`].
pub(super) async fn state(store: &dyn LedgerStore) -> LedgerState {
    store.state(LEDGER).await.expect("state")
}

/// The fields of a document of [`LEDGER`], sorted.
pub(super) async fn fields(store: &dyn LedgerStore, document: &str) -> Fields {
    let mut loaded = store.load(LEDGER, &[bytes(document)], None).await.expect("load");
    assert_eq!(loaded.len(), 1);
    let mut fields = loaded.remove(0);
    fields.sort();
    fields
}

/// The outbox of [`LEDGER`].
pub(super) async fn outbox(store: &dyn LedgerStore) -> Vec<OutboxEntry> {
    store.outbox(LEDGER).await.expect("outbox")
}

/// A text as bytes.
pub(super) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Fields as [`fields`] yields them.
pub(super) fn expected(fields: &[(&str, &str)]) -> Fields {
    fields
        .iter()
        .map(|(field, value)| (bytes(field), bytes(value)))
        .collect()
}

/// Sets a field.
pub(super) fn set(document: &str, field: &str, value: &str) -> FieldWrite {
    FieldWrite {
        document: bytes(document),
        field: bytes(field),
        value: Some(bytes(value)),
    }
}

/// Deletes a field.
pub(super) fn delete(document: &str, field: &str) -> FieldWrite {
    FieldWrite {
        document: bytes(document),
        field: bytes(field),
        value: None,
    }
}

/// A batch of one record that says who decided it; its outbox entry is `out <applied>`.
pub(super) fn batch(holder: &Holder, expected: Option<i64>, applied: i64, writes: Vec<FieldWrite>) -> LedgerCommit {
    LedgerCommit {
        expected_applied: expected,
        applied,
        sequence: applied + 1,
        lineage: Lineage(vec![(1, holder.token.clone())]),
        writes,
        outbox: bytes(&format!("out {applied}")),
        trim: Vec::new(),
    }
}

/// The outbox entry of [`batch`].
pub(super) fn entry(last_offset: i64) -> OutboxEntry {
    OutboxEntry {
        last_offset,
        value: bytes(&format!("out {last_offset}")),
    }
}

/// Everything that a refused write must leave alone.
pub(super) async fn everything(
    store: &dyn LedgerStore,
    documents: &[&str],
) -> (LedgerState, Vec<Fields>, Vec<OutboxEntry>) {
    let mut loaded = Vec::new();
    for document in documents {
        loaded.push(fields(store, document).await);
    }
    (state(store).await, loaded, outbox(store).await)
}

/// Asserts that a write was refused because another worker holds the ledger.
pub(super) fn assert_fenced(result: Result<(), LedgerError>, holder: &Holder) {
    match result {
        Err(LedgerError::Fenced { ledger, epoch, token }) => {
            assert_eq!(
                (ledger, epoch, token),
                (holder.ledger, holder.epoch, holder.token.clone())
            );
        }
        other => panic!("expected Fenced by {holder:?}, got {other:?}"),
    }
}

/// Asserts that a write was refused because of the applied offset.
pub(super) fn assert_behind(result: Result<(), LedgerError>, found: Option<i64>, expected: Option<i64>) {
    match result {
        Err(LedgerError::Behind {
            ledger,
            found: f,
            expected: e,
        }) => {
            assert_eq!((ledger, f, e), (LEDGER, found, expected));
        }
        other => panic!("expected Behind at {found:?}, got {other:?}"),
    }
}

/// Asserts that a call was refused as a mistake of the caller or of what is stored.
pub(super) fn assert_fatal(result: &Result<(), LedgerError>) {
    assert!(
        matches!(
            result,
            Err(LedgerError::Fatal {
                ledger: Some(LEDGER),
                ..
            })
        ),
        "expected Fatal, got {result:?}"
    );
}
