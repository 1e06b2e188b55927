//! Audits one ledger: reads its events, then compares what they make of it with what the store holds.
//!
//! Redis is written before Kafka, so it may be ahead of the events that are visible; never behind. A comparison counts
//! only if the ledger didn't move while its documents were read, and had as many events as were folded.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use interlock_schemas::topics;
use interlock_streams::ledger::{ForeignKey, KeyDifference, LedgerState};
use interlock_streams::record::TopicPartition;
use tokio::time::{Instant, sleep};

use super::Audit;
use super::ledger::{Committed, LastEvent, LedgerCheck};
use super::past::Past;
use super::reading::{LedgerEvents, Reached};
use super::requests::Requests;
use super::state::{Documents, check_committed, check_foreign, check_head, check_meta};
use crate::findings::Findings;
use interlock_inventory::invariants::Invariant;

/// Number of documents compared at once.
const DOCUMENTS_PER_READ: usize = 64;

/// Pause before the ledger is looked at again.
const LEDGER_CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// The reason why a comparison with a busy ledger doesn't count.
const MOVING: &str = "the ledger kept changing while it was read; audit when the system is quieter";

/// Largest number of times that the ends of the topics are read again while they still advance.
const EXTENSIONS_MAX: usize = 50;

/// A ledger that was read to its end.
pub(crate) struct Audited {
    pub(crate) check: LedgerCheck,
    pub(crate) committed: i64,
    pub(crate) reached: Vec<Reached>,
    /// The log doesn't keep all of its events any more.
    pub(crate) truncated: bool,
}

/// Reads and judges a ledger. `committed` are the positions of all.
pub(crate) async fn audit_ledger(
    audit: Arc<Audit>,
    requests: Requests,
    committed: Arc<Vec<Committed>>,
) -> crate::Result<Audited> {
    let ledger = requests.partition;
    let own = usize::try_from(ledger)
        .ok()
        .and_then(|ledger| committed.get(ledger))
        .cloned();
    let own = own.unwrap_or_default();
    let patience = audit.patience();
    let open = |ledger| LedgerEvents::open(Arc::clone(&audit.log), Arc::clone(&audit.registry), ledger, patience);
    let mut events = open(ledger).await?;
    let mut past = Past::open(ledger, &committed, open).await?;
    let mut check = LedgerCheck::new(audit.ledgers, requests, &own, audit.options.violations_max);
    let foreign = audit.store.foreign_keys(ledger).await?;
    check_foreign(ledger, &foreign, &mut check.findings);
    let reached = past.reached().chain(events.reached(ledger));
    let cut = reached.into_iter().find(|reached| reached.low > 0);
    if let Some(Reached {
        topic, partition, low, ..
    }) = &cut
    {
        for invariant in [
            Invariant::I1,
            Invariant::I2,
            Invariant::I3,
            Invariant::I4,
            Invariant::I5,
            Invariant::I6,
        ] {
            let reason = format!(
                "{topic}[{partition}] begins at offset {low}: older events of ledger {partition} are gone. The retention of the \
                 event topics must outlive the sale (topics.retention)"
            );
            check.findings.inconclusive(invariant, reason);
        }
    } else {
        past.read(&mut events, &mut check).await?;
        read_to_end(&mut events, &mut check).await?;
        check_committed(ledger, &own, &check.last_committed, &mut check.findings);
        compare(&audit, &mut events, &mut check, (&own, &foreign)).await?;
        check.finish();
    }
    check.release();
    Ok(Audited {
        committed: own.offset,
        reached: events.reached(ledger),
        truncated: cut.is_some(),
        check,
    })
}

/// Reads until nothing is new, so that the last command's events are all there.
async fn read_to_end(events: &mut LedgerEvents, check: &mut LedgerCheck) -> crate::Result<()> {
    for _ in 0..EXTENSIONS_MAX {
        let mut is_new = false;
        while let Some(found) = events.next().await? {
            is_new = true;
            check.read(&found);
        }
        if !is_new {
            break;
        }
        events.extend().await?;
    }
    Ok(())
}

/// I5, as often as the ledger moves and as long as there is time.
async fn compare(
    audit: &Audit,
    events: &mut LedgerEvents,
    check: &mut LedgerCheck,
    (committed, foreign): (&Committed, &[ForeignKey]),
) -> crate::Result<()> {
    let until = Instant::now() + audit.options.wait;
    loop {
        if let Some(reason) = &check.unfoldable {
            let reason = format!("ledger {}: the events can't be folded ({reason})", check.state.number);
            check.findings.inconclusive(Invariant::I5, reason);
            return Ok(());
        }
        let too_late = Instant::now() >= until;
        match compare_once(audit, events, check, (committed, foreign), too_late).await? {
            Comparison::Counted(found) => {
                check.findings.merge(found);
                return Ok(());
            }
            Comparison::Moved(reason) if too_late => {
                let reason = format!("ledger {}: {reason}", check.state.number);
                check.findings.inconclusive(Invariant::I5, reason);
                return Ok(());
            }
            Comparison::Moved(_) | Comparison::Behind => {}
        }
        sleep(LEDGER_CHECK_INTERVAL).await;
        events.extend().await?;
        read_to_end(events, check).await?;
    }
}

/// The result of comparing a ledger with its events once.
enum Comparison {
    /// The ledger stood still: this is what was found.
    Counted(Findings),
    /// The comparison doesn't count, because the ledger or its events moved.
    Moved(String),
    /// The ledger is behind its events; after a fail-over a worker rebuilds it.
    Behind,
}

/// Compares once. A ledger that is behind its events counts only at the `last` comparison.
async fn compare_once(
    audit: &Audit,
    events: &mut LedgerEvents,
    check: &mut LedgerCheck,
    (committed, foreign): (&Committed, &[ForeignKey]),
    last: bool,
) -> crate::Result<Comparison> {
    let (ledger, folded) = (check.state.number, check.last.sequence);
    let state = audit.store.state(ledger).await?;
    let sequence = state.sequence;
    if state.rebuilding {
        return Ok(Comparison::Moved(
            "a rebuild was begun and is not finished; a worker finishes it".to_owned(),
        ));
    }
    if sequence > folded {
        if !is_committed(audit, ledger, &state).await? {
            return Ok(Comparison::Moved(format!(
                "Redis has {sequence} events, Kafka shows {folded}: either the workers are busy (audit when the system is \
                 quieter), or they stopped before they committed (start one, it sends these events again)"
            )));
        }
        // The events of all that the store has applied are committed, so that they can be read by now.
        events.extend().await?;
        read_to_end(events, check).await?;
        if check.last.sequence > folded {
            return Ok(Comparison::Moved(MOVING.to_owned()));
        }
    }
    if sequence < folded && !last {
        return Ok(Comparison::Behind);
    }
    let mut found = Findings::new(audit.options.violations_max);
    let log = audit.store.log(ledger).await?;
    if sequence == folded {
        let names = readable(&state, foreign);
        let mut documents = Documents::new(ledger, &check.state);
        for names in names.chunks(DOCUMENTS_PER_READ) {
            for (name, document) in names.iter().zip(audit.store.load(ledger, names, None).await?) {
                check_head(ledger, name, &state, &document, &mut found);
                documents.compare(name, &document.fields, &mut found);
            }
        }
        documents.finish(&names, &mut found);
    }
    let after = audit.store.state(ledger).await?;
    if moved(&state) != moved(&after) {
        return Ok(Comparison::Moved(MOVING.to_owned()));
    }
    let since = committed_offset(audit, ledger).await?;
    let last = LastEvent {
        token: committed.token_of(&check.last).to_owned(),
        ..check.last
    };
    check_meta(ledger, (&state, &log), &last, (committed.offset, since), &mut found);
    Ok(Comparison::Counted(found))
}

/// Returns the documents to compare: those that the index names, except those that can't be read.
fn readable(state: &LedgerState, foreign: &[ForeignKey]) -> Vec<Bytes> {
    let is_other = |difference: &KeyDifference| matches!(difference, KeyDifference::OtherType(_));
    let unreadable = foreign.iter().filter(|foreign| is_other(&foreign.difference));
    let unreadable: Vec<&Bytes> = unreadable.filter_map(|foreign| foreign.document.as_ref()).collect();
    let names = state.index.keys().filter(|name| !unreadable.contains(name));
    names.cloned().collect()
}

async fn committed_offset(audit: &Audit, ledger: i32) -> crate::Result<i64> {
    let source = TopicPartition::new(topics::BOOKING_REQUESTS, ledger);
    let committed = audit.log.committed_unstable(&audit.group, &[source]).await?;
    Ok(committed
        .into_iter()
        .flatten()
        .next()
        .map_or(0, |committed| committed.offset))
}

/// Returns whether the log has committed everything that the ledger has applied.
async fn is_committed(audit: &Audit, ledger: i32, state: &LedgerState) -> crate::Result<bool> {
    Ok(state.applied.is_none_or(|applied| applied < 0) || state.applied < Some(committed_offset(audit, ledger).await?))
}

/// The parts of the head that change with every write to the documents.
fn moved(state: &LedgerState) -> (u64, i64, &str, bool) {
    (state.version, state.epoch, &state.token.0, state.rebuilding)
}
