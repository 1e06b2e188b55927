//! The behaviour that every [`crate::log::Log`] must have, as a real broker shows it.
//!
//! Each case takes a log and a name of its own, which it uses as a prefix of all its topics, groups and
//! `transactional.id`s, so that the cases run at the same time against one real cluster. Nothing depends on exact
//! offsets (markers and earlier runs leave gaps) nor on how quickly things happen: a case waits for what must come, up
//! to [`DEADLINE`], and never for a while to pass.
//!
//! Instantiate it with one line; the argument is an async function that returns `Option<impl Log>`, none to skip:
//!
//! ```ignore
//! interlock_streams::log_conformance!(my_log);
//! ```

mod groups;
mod records;
mod support;
mod transactions;

pub use groups::*;
pub use records::*;
pub use support::{DEADLINE, unique_name};
pub use transactions::*;

/// Expands to one test for each case of the suite.
#[macro_export]
macro_rules! log_conformance {
    ($log:path) => {
        $crate::log_conformance!($log =>
            creates_topics_once,
            grows_topics_and_moves_nothing,
            keeps_records_as_they_are,
            keeps_a_large_batch_in_order,
            reads_from_any_offset,
            places_records_by_key_as_java_does,
            appends_outside_of_transactions,
            shows_a_transaction_only_when_committed,
            hides_an_aborted_transaction,
            passes_an_aborted_transaction_without_waiting,
            moves_the_position_to_the_high_watermark,
            counts_open_transactions_in_the_high_watermark,
            holds_back_what_follows_an_open_transaction,
            fences_an_earlier_producer,
            settles_an_unawaited_commit_before_a_new_producer,
            takes_effect_in_the_order_of_calls,
            makes_a_transaction_atomic_over_partitions,
            goes_on_after_an_abort,
            commits_offsets_with_metadata,
            has_no_offset_where_none_was_committed,
            drops_the_offsets_of_an_aborted_transaction,
            refuses_a_stale_generation,
            gives_everything_to_a_single_member,
            is_silent_until_started,
            restarts_backwards_and_stops,
            moves_a_members_position_past_markers,
            moves_nothing_before_the_revocation_is_complete,
            reads_nothing_of_a_revoked_partition,
            gives_back_what_a_member_leaves,
            loses_nothing_in_a_dropped_poll,
        );
    };
    ($log:path => $($case:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $case() {
                let name = $crate::testing::conformance::log::unique_name(stringify!($case));
                match $log().await {
                    Some(log) => $crate::testing::conformance::log::$case(&log, &name).await,
                    None => eprintln!("skipped: {}", stringify!($case)),
                }
            }
        )*
    };
}
