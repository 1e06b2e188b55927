//! Judges the invariants I1 to I6 from outside.
//!
//! ```text
//!  booking-requests, DLQ ──> gather ────────> requests ──┐ I2: one fate for each record
//!  the ledger's events ────> reading ──┬────> ledger ────┤ I1, I3, I4: inventory's auditor
//!  the ledgers' store ─────> run_ledger┴────> state ─────┤ I5: the store equals the fold
//!  the window tables ──────> database ──────> windows ───┘ I6: the tables equal the sums
//! ```
//!
//! The left side reads, and needs services. The right side judges the data with plain functions, and needs none.
//! Reading begins with the requests and the committed offsets, goes on with the events, then the store, then the window
//! tables: a source that is read later in this order may be ahead of the earlier ones, and the difference is known. All
//! of them are read through traits: Kafka, Redis and TimescaleDB in production, parts of the process in `interlock
//! dev`.
//!
//! Several ledgers are audited at the same time, each by a task of its own. In memory are the requests (some 100 bytes
//! each), the fold of the ledgers at work, and the rows of the window tables; the events pass through.

#[cfg(test)]
mod cases;
mod database;
mod error;
mod findings;
mod gather;
mod ledger;
mod past;
mod reading;
mod report;
mod requests;
mod run_ledger;
mod state;
mod totals;
mod windows;

use std::sync::Arc;
use std::time::Duration;

use interlock_schemas::registry::Registry;
use interlock_schemas::topics;
use interlock_streams::ledger::InspectLedgers;
use interlock_streams::log::Log;
use interlock_streams::runtime::group_name;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

pub use database::Tables;
pub use error::AuditError;
pub(crate) use error::Result;
use findings::Findings;
pub use findings::{Inconclusive, Place, Violation};
use gather::{Gathered, gather, ledgers, read_committed};
pub use interlock_inventory::invariants::Invariant;
pub use report::{AuditReport, Line, Verdict};
use requests::Copies;
use run_ledger::{Audited, audit_ledger};
pub use totals::{Money, Totals};

/// Longest time that a committed offset may lag behind the events of its transaction: markers reach the partitions of a
/// transaction one after the other.
const MARKERS_MAX: Duration = Duration::from_secs(5);

/// Shortest time without progress after which the audit gives up on a partition: a first answer takes a while.
const PATIENCE_MIN: Duration = Duration::from_secs(5);

/// Pause between two reads.
const READ_INTERVAL: Duration = Duration::from_millis(200);

/// The parameters of an audit.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// Longest wait for workers that are behind.
    pub wait: Duration,
    /// True if pending requests are violations.
    pub settled: bool,
    /// Number of violations to keep of each invariant; all are counted.
    pub violations_max: usize,
    /// Number of ledgers audited at the same time; each needs memory for its fold.
    pub parallel: usize,
}

/// An installation to audit.
pub struct Audit {
    log: Arc<dyn Log>,
    registry: Arc<dyn Registry>,
    store: Arc<dyn InspectLedgers>,
    application: String,
    group: String,
    ledgers: i32,
    options: AuditOptions,
}

impl Audit {
    /// Prepares an audit, and reads the number of ledgers.
    pub async fn new(
        log: Arc<dyn Log>,
        registry: Arc<dyn Registry>,
        store: Arc<dyn InspectLedgers>,
        application: &str,
        options: AuditOptions,
    ) -> Result<Audit> {
        let ledgers = ledgers(&*log).await?;
        Ok(Audit {
            log,
            registry,
            store,
            application: application.to_owned(),
            group: group_name(application, "booking"),
            ledgers,
            options,
        })
    }

    /// Checks everything; I6 only with the window tables.
    pub async fn run(self, tables: Option<Tables<'_>>) -> Result<AuditReport> {
        let audit = Arc::new(self);
        let gathered = gather(
            &*audit.log,
            &audit.registry,
            &audit.group,
            audit.ledgers,
            (audit.options.wait, audit.patience()),
        )
        .await?;
        let mut findings = Findings::new(audit.options.violations_max);
        let mut ledgers = read_ledgers(&audit, gathered, &mut findings).await?;
        audit.check_visible(&ledgers, &mut findings).await?;
        let mut totals = check_fates(&mut ledgers, audit.options.settled, &mut findings);
        let (mut windows, mut reached) = (windows::WindowSums::default(), Vec::new());
        let truncated = ledgers.iter().any(|ledger| ledger.truncated);
        for ledger in ledgers {
            totals.merge(ledger.check.totals);
            findings.merge(ledger.check.findings);
            windows.merge(ledger.check.windows);
            reached.extend(ledger.reached);
        }
        let mut skipped = Vec::new();
        match tables {
            Some(mut tables) if !truncated => {
                let reading = database::Reading {
                    log: &*audit.log,
                    registry: &audit.registry,
                    application: &audit.application,
                    reached: &reached,
                    patience: audit.patience(),
                };
                database::check(&mut *tables.0, &reading, windows, audit.options.wait, &mut findings).await?;
            }
            Some(_) => {}
            None => skipped.push(Invariant::I6),
        }
        Ok(AuditReport::new(findings, totals, &skipped))
    }

    /// Returns how long a partition may stand still before the audit gives up: as long as it waits for workers.
    fn patience(&self) -> Duration {
        self.options.wait.max(PATIENCE_MIN)
    }

    /// Checks that visible events are below the committed offset, as both are committed together.
    async fn check_visible(&self, ledgers: &[Audited], findings: &mut Findings) -> Result<()> {
        let until = Instant::now() + MARKERS_MAX;
        loop {
            let committed = read_committed(&*self.log, &self.group, self.ledgers).await?;
            let ahead = ledgers.iter().zip(&committed).filter_map(|(ledger, committed)| {
                let seen = ledger.check.source_offset_max?;
                (seen >= committed.offset).then_some((ledger.check.state.number, seen, committed.offset))
            });
            let ahead: Vec<_> = ahead.collect();
            if ahead.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                for (ledger, seen, committed) in ahead {
                    let place = Place::record_of(ledger, None, (topics::BOOKING_REQUESTS, ledger, seen));
                    let group = &self.group;
                    let detail = format!(
                        "its events are visible, and group {group} has committed {committed} only: it will be decided again"
                    );
                    findings.violation(Invariant::I2, place, detail);
                }
                return Ok(());
            }
            sleep(READ_INTERVAL).await;
        }
    }
}

/// Audits all ledgers, several at the same time, and returns them in the order of their number.
async fn read_ledgers(audit: &Arc<Audit>, gathered: Gathered, findings: &mut Findings) -> Result<Vec<Audited>> {
    let mut requests = gathered.requests;
    for (partition, offset) in gathered.nameless {
        let place = Place::record(&topics::dlq(topics::BOOKING_REQUESTS), partition, offset);
        findings.violation(Invariant::I2, place, "has no headers that say which record it is");
    }
    for letter in &gathered.dead {
        let partition = letter.partition().and_then(|partition| usize::try_from(partition).ok());
        if let Some(requests) = partition.and_then(|partition| requests.get_mut(partition)) {
            requests.buried(letter, findings);
        }
    }
    let (mut tasks, mut done) = (JoinSet::new(), Vec::new());
    let committed = Arc::new(gathered.committed);
    for requests in requests {
        if tasks.len() >= audit.options.parallel.max(1) {
            done.extend(tasks.join_next().await.transpose()?);
        }
        tasks.spawn(audit_ledger(Arc::clone(audit), requests, Arc::clone(&committed)));
    }
    while let Some(ledger) = tasks.join_next().await {
        done.push(ledger?);
    }
    let mut ledgers = done.into_iter().collect::<Result<Vec<Audited>>>()?;
    ledgers.sort_unstable_by_key(|ledger| ledger.check.state.number);
    Ok(ledgers)
}

/// Checks I2 over all ledgers: a record of one may have its copy in another.
fn check_fates(ledgers: &mut [Audited], settled: bool, findings: &mut Findings) -> Totals {
    let mut totals = Totals::default();
    let mut copies = Copies::of(ledgers.iter().map(|ledger| &ledger.check.requests));
    for ledger in ledgers.iter().filter(|ledger| !ledger.truncated) {
        let requests = &ledger.check.requests;
        let fates = requests.check(ledger.committed, settled, &mut copies, findings);
        totals.count_fates(requests.records.len(), fates);
    }
    totals
}
