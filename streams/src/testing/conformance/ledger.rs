//! The behaviour that every [`LedgerStore`] must have.
//!
//! A store passes it by one line in a test file; the expression yields a fresh, empty store, in a box or in a guard
//! that cleans up after it, or `None` where the service it needs isn't there (it says so aloud):
//!
//! ```ignore
//! interlock_streams::ledger_conformance!(Some(Box::new(MemoryLedgerStore::default())));
//! ```
//!
//! The cases are in [`state`], [`commit`], [`parts`] and [`rebuild`]; the helpers below keep them short.

pub mod commit;
pub mod parts;
pub mod rebuild;
pub mod state;

use bytes::Bytes;

use crate::ledger::index::digest;
use crate::ledger::{
    DocumentWrites, FieldWrite, Fields, Head, Holder, LedgerCommit, LedgerError, LedgerState, LedgerStore, Lineage,
    LogEntry, Token,
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
            commit::applies_fields_log_and_state,
            commit::last_write_to_a_field_wins,
            commit::document_without_fields_is_empty,
            commit::documents_are_loaded_in_the_order_asked_for,
            commit::values_of_lazy_fields_are_left_out_until_asked_for,
            commit::names_and_values_are_binary,
            commit::record_without_effect_advances_the_applied_offset,
            commit::log_is_ordered_by_number_and_trimmed,
            commit::refused_to_whoever_does_not_hold_the_ledger,
            commit::refused_on_another_version,
            commit::refused_while_rebuilding,
            commit::large_offsets_are_exact,
            commit::large_batch,
            rebuild::starts_empty_unless_kept,
            rebuild::writes_in_steps_and_finishes,
            rebuild::of_a_lost_ledger_to_before_the_first_record,
            rebuild::step_refused_where_one_before_is_missing,
            rebuild::interrupted_is_visible_and_starts_anew,
            rebuild::step_refused_to_a_zombie,
            rebuild::begin_refused_on_another_version,
            rebuild::steps_need_a_beginning,
            rebuild::demanded_is_left_to_the_owner,
            rebuild::demanded_by_the_holder_keeps_everything_and_refuses_batches,
            parts::heads_are_those_of_the_index,
            parts::a_view_has_what_is_asked_for,
            parts::fields_come_with_the_head,
            parts::a_write_onto_another_document_does_not_make_it_the_right_one,
            parts::what_lies_in_the_place_of_a_new_document_goes,
            parts::documents_split_between_writes_of_a_rebuild_have_one_head,
            parts::readers_take_no_document_that_the_index_does_not_name,
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
    let mut fields = loaded.remove(0).fields;
    fields.sort();
    fields
}

/// The head of a document of [`LEDGER`].
pub(super) async fn head(store: &dyn LedgerStore, document: &str) -> Option<Head> {
    let loaded = store.load(LEDGER, &[bytes(document)], None).await.expect("load");
    loaded.first().and_then(|loaded| loaded.head)
}

/// The log of [`LEDGER`].
pub(super) async fn log(store: &dyn LedgerStore) -> Vec<LogEntry> {
    store.log(LEDGER).await.expect("log")
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

/// The next batch after the present state: one record that says who decided it; its log entry is `out <applied>`.
pub(super) async fn batch(
    store: &dyn LedgerStore,
    holder: &Holder,
    applied: i64,
    writes: Vec<FieldWrite>,
) -> LedgerCommit {
    let state = store.state(holder.ledger).await.expect("state");
    let entry = bytes(&format!("out {applied}"));
    let chain = digest([&applied.to_be_bytes(), &entry]);
    LedgerCommit {
        version: state.version,
        applied,
        sequence: applied + 1,
        lineage: Lineage(vec![(1, holder.token.clone())]),
        documents: DocumentWrites::new(&state.index, writes, applied + 1, &holder.token, chain),
        entry,
        chain,
        trim: Vec::new(),
    }
}

/// Commits the next batch.
pub(super) async fn commit_next(store: &dyn LedgerStore, holder: &Holder, applied: i64, writes: Vec<FieldWrite>) {
    let batch = batch(store, holder, applied, writes).await;
    store.commit(holder, &batch).await.expect("commit");
}

/// The log entry of [`batch`].
pub(super) fn entry(last_offset: i64) -> LogEntry {
    LogEntry {
        last_offset,
        value: bytes(&format!("out {last_offset}")),
    }
}

/// Everything that a refused write must leave alone.
pub(super) async fn everything(
    store: &dyn LedgerStore,
    documents: &[&str],
) -> (LedgerState, Vec<Fields>, Vec<LogEntry>) {
    let mut loaded = Vec::new();
    for document in documents {
        loaded.push(fields(store, document).await);
    }
    (state(store).await, loaded, log(store).await)
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

/// Asserts that a write was refused because of the version.
pub(super) fn assert_behind(result: Result<(), LedgerError>, found: u64, expected: u64) {
    match result {
        Err(LedgerError::Behind {
            ledger,
            found: f,
            expected: e,
            ..
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
