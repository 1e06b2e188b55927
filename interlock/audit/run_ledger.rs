//! Audits one ledger: reads its events, then compares what they make of it with what the store holds.
//!
//! Redis is written before Kafka, so it may be ahead of the events that are visible; never behind. A comparison counts
//! only if the ledger didn't move while its documents were read, and had as many events as were folded.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use interlock_redis::RedisLedgerStore;
use interlock_schemas::topics;
use interlock_streams::ledger::memory::MemoryLedgerStore;
use interlock_streams::ledger::{LedgerError, LedgerState, LedgerStore};
use interlock_streams::record::TopicPartition;
use tokio::time::{Instant, sleep};

use super::Audit;
use super::findings::{Findings, Invariant};
use super::ledger::{Committed, LastEvent, LedgerCheck};
use super::past::Past;
use super::reading::{LedgerEvents, Reached};
use super::requests::Requests;
use super::state::{Documents, check_committed, check_meta};

/// Documents compared in one go.
const DOCUMENTS_PER_READ: usize = 64;

/// Pause before the ledger is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How often the ends of the topics are looked up again, as long as something new is found there.
const EXTENSIONS_MAX: usize = 50;

/// A ledger store that can be audited: it tells the names of its documents.
#[async_trait]
pub(crate) trait AuditedStore: LedgerStore {
    /// Names of all documents of a ledger.
    async fn names(&self, ledger: i32) -> Result<Vec<Bytes>, LedgerError>;
}

#[async_trait]
impl AuditedStore for RedisLedgerStore {
    async fn names(&self, ledger: i32) -> Result<Vec<Bytes>, LedgerError> {
        self.documents(ledger).await
    }
}

#[async_trait]
impl AuditedStore for MemoryLedgerStore {
    async fn names(&self, ledger: i32) -> Result<Vec<Bytes>, LedgerError> {
        Ok(self.documents(ledger))
    }
}

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
) -> anyhow::Result<Audited> {
    let ledger = requests.partition;
    let own = usize::try_from(ledger)
        .ok()
        .and_then(|ledger| committed.get(ledger))
        .cloned();
    let own = own.unwrap_or_default();
    let open = |ledger| LedgerEvents::open(Arc::clone(&audit.log), Arc::clone(&audit.registry), ledger);
    let mut events = open(ledger).await?;
    let mut past = Past::open(ledger, &committed, open).await?;
    let mut check = LedgerCheck::new(audit.ledgers, requests, &own, audit.options.violations_max);
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
        compare(&audit, &mut events, &mut check, &own).await?;
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
async fn read_to_end(events: &mut LedgerEvents, check: &mut LedgerCheck) -> anyhow::Result<()> {
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
    committed: &Committed,
) -> anyhow::Result<()> {
    let until = Instant::now() + audit.options.wait;
    loop {
        if let Some(reason) = &check.unfoldable {
            let reason = format!("ledger {}: the events can't be folded ({reason})", check.state.number);
            check.findings.inconclusive(Invariant::I5, reason);
            return Ok(());
        }
        let too_late = Instant::now() >= until;
        let reason = match compare_once(audit, check, committed, too_late).await? {
            Ok(found) => {
                check.findings.merge(found);
                return Ok(());
            }
            Err(reason) => reason,
        };
        if too_late {
            let reason = format!("ledger {}: {reason}", check.state.number);
            check.findings.inconclusive(Invariant::I5, reason);
            return Ok(());
        }
        sleep(LOOK_AGAIN).await;
        events.extend().await?;
        read_to_end(events, check).await?;
    }
}

/// One comparison; the inner error says why it doesn't count. A ledger that is behind its events is a violation only when
/// it is still behind at the `last` look: after a fail-over a worker rebuilds it.
async fn compare_once(
    audit: &Audit,
    check: &LedgerCheck,
    committed: &Committed,
    last: bool,
) -> anyhow::Result<Result<Findings, String>> {
    let (ledger, folded) = (check.state.number, check.last.sequence);
    let state = audit.store.state(ledger).await?;
    let sequence = state.sequence;
    if state.rebuilding {
        return Ok(Err(
            "a rebuild was begun and is not finished; a worker finishes it".to_owned()
        ));
    }
    if sequence > folded {
        return Ok(Err(format!(
            "Redis has {sequence} events, Kafka shows {folded}: either the workers are busy (audit when the system is \
             quieter), or they stopped before they committed (start one, it sends these events again)"
        )));
    }
    if sequence < folded && !last {
        return Ok(Err(String::new()));
    }
    let mut found = Findings::new(audit.options.violations_max);
    let outbox = audit.store.outbox(ledger).await?;
    if sequence == folded {
        let names = audit.store.names(ledger).await?;
        let mut documents = Documents::new(ledger, &check.state);
        for names in names.chunks(DOCUMENTS_PER_READ) {
            for (name, fields) in names.iter().zip(audit.store.load(ledger, names, None).await?) {
                documents.compare(name, &fields, &mut found);
            }
        }
        documents.finish(&names, &mut found);
    }
    let after = audit.store.state(ledger).await?;
    if moved(&state) != moved(&after) {
        return Ok(Err(
            "the ledger kept changing while it was read; audit when the system is quieter".to_owned(),
        ));
    }
    let source = TopicPartition::new(topics::BOOKING_REQUESTS, ledger);
    let since = audit.log.committed_unstable(&audit.group, &[source]).await?;
    let since = since
        .into_iter()
        .flatten()
        .next()
        .map_or(0, |committed| committed.offset);
    let last = LastEvent {
        token: committed.token_of(&check.last).to_owned(),
        ..check.last
    };
    check_meta(ledger, (&state, &outbox), &last, (committed.offset, since), &mut found);
    Ok(Ok(found))
}

/// What changes with every write to the documents.
fn moved(state: &LedgerState) -> (Option<i64>, i64, i64, &str, bool) {
    (
        state.applied,
        state.sequence,
        state.epoch,
        &state.token.0,
        state.rebuilding,
    )
}
