//! The traces that break the ledger protocol without a clause (docs/PROTOCOL.md, section 5), each as a schedule of its
//! own: the production code survives it, and without the clause the violation shows.
//!
//! If another clause catches the error, the trace shows the purpose of the missing one instead: the time or work that
//! is lost without it.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::executor::block_on;
use interlock_streams::ledger::memory::MemoryLedgerStore;
use interlock_streams::ledger::{Holder, LedgerStore as _, Release, Token};
use interlock_streams::log::Log as _;
use interlock_streams::mutation::{Clause, leave_out};
use interlock_streams::serde::Utf8;
use interlock_streams::testing::{Failure, TopologyTestDriver};
use interlock_tests::traces::{self, UNREADABLE, VERSION, Workers, notes, record};

fn driver() -> Result<TopologyTestDriver> {
    VERSION.set(1);
    Ok(TopologyTestDriver::new(notes()?, 1)?)
}

fn command(driver: &TopologyTestDriver, text: &str) -> Result<()> {
    Ok(driver.input("commands", Utf8).pipe("key", text)?)
}

/// Lets the driver come to rest, and checks the final state.
fn judge(driver: &TopologyTestDriver) -> Result<()> {
    driver.advance_wall_clock(Duration::from_secs(120))?;
    traces::judge(driver.log(), driver.ledgers(), 0)
}

const SECOND: Duration = Duration::from_secs(1);

/// Runs a schedule that must pass, and without the clause must fail with a message that contains `violation`.
fn needs(clause: Clause, violation: &str, trace: fn() -> Result<()>) {
    leave_out(None);
    trace().expect("the schedule holds");
    leave_out(Some(clause));
    let seen = trace().expect_err("the clause is not needed").to_string();
    leave_out(None);
    assert!(seen.contains(violation), "{clause:?}: {seen}");
}

/// The worker decides a command, and its transaction is aborted while Redis fails over to a replica that lacks the
/// decision. It decides again, by another version; then the old master's state comes back.
fn the_other_branch_comes_back(driver: &TopologyTestDriver, meanwhile: &[&str]) -> Result<()> {
    command(driver, "first")?;
    let before = driver.ledgers().snapshot(0);
    let worker = driver.transactional_id();
    driver.log().hold_commits(&worker);
    command(driver, "second")?;
    let other_branch = driver.ledgers().snapshot(0);
    driver.ledgers().restore(0, before);
    // Another producer fences the worker, as an owner does that the worker does not know of.
    block_on(driver.log().producer(&worker))?;
    driver.log().release_commits(&worker);
    VERSION.set(2);
    driver.advance_wall_clock(Duration::from_secs(10))?;
    for text in meanwhile {
        command(driver, text)?;
    }
    driver.ledgers().restore(0, other_branch);
    Ok(())
}

/// Safe without it, as the floor is compared with C; but the ledger is rebuilt, and what was decided is decided again.
#[test]
fn trim_only_below_an_acknowledged_commit() {
    needs(Clause::TrimBelowAcknowledged, "decided again", || {
        let ledgers = MemoryLedgerStore::default();
        let mut workers = Workers::new(1)?;
        workers.has_backlog = true;
        workers.start("a", &ledgers)?;
        workers.pass(SECOND)?;
        workers.log.hold_commits(&Workers::id("a"));
        workers.command(0, "first")?;
        workers.command(0, "second")?;
        workers.pass(SECOND / 10)?;
        let decided_by = tokens(&workers, &ledgers)?;
        workers.kill("a");
        workers.start("b", &ledgers)?;
        workers.pass(SECOND * 120)?;
        ensure!(tokens(&workers, &ledgers)? == decided_by, "it was decided again");
        traces::judge(&workers.log, &ledgers, 0)
    });
}

/// The acquisitions that decided a ledger's events.
fn tokens(workers: &Workers, ledgers: &MemoryLedgerStore) -> Result<Vec<Token>> {
    let lineage = workers.wait_for(ledgers.state(0))?.lineage;
    Ok(lineage.0.into_iter().map(|(_, token)| token).collect())
}

#[test]
fn send_the_outbox_again() {
    needs(Clause::Resend, "I2", || {
        let driver = driver()?;
        driver.log().hold_commits(&driver.transactional_id());
        command(&driver, "first")?;
        driver.inject(Failure::Crash)?;
        judge(&driver)
    });
}

#[test]
fn sign_the_offset_before_the_first_decision() {
    needs(Clause::SignOffset, "has no committed offset", || {
        let driver = driver()?;
        driver.log().hold_commits(&driver.transactional_id());
        command(&driver, "first")?;
        driver.inject(Failure::Crash)?;
        judge(&driver)
    });
}

/// Another transaction hangs before the events: they are committed, but can't be read yet.
#[test]
fn rebuild_up_to_the_high_watermark() {
    needs(Clause::RebuildToHighWatermark, "I4", || {
        let driver = driver()?;
        let mut somebody = block_on(driver.log().producer("somebody"))?;
        somebody.send(vec![record("events", 0, "never committed")]);
        command(&driver, "first")?;
        driver.inject(Failure::FlushedLedgers)?;
        driver.advance_wall_clock(Duration::from_secs(20))?;
        command(&driver, "second")?;
        judge(&driver)
    });
}

#[test]
fn a_rebuilt_applied_is_one_below_the_committed_offset() {
    needs(Clause::AppliedBelowCommitted, "dead letters", || {
        let driver = driver()?;
        command(&driver, "first")?;
        driver.pipe(vec![record("commands", 0, UNREADABLE)])?;
        driver.inject(Failure::FlushedLedgers)?;
        driver.advance_wall_clock(Duration::from_secs(20))?;
        judge(&driver)
    });
}

#[test]
fn compare_the_lineage() {
    needs(Clause::CompareLineage, "I5", || {
        let driver = driver()?;
        the_other_branch_comes_back(&driver, &[])?;
        judge(&driver)
    });
}

#[test]
fn a_fresh_token_for_each_acquisition() {
    needs(Clause::FreshToken, "I5", || {
        let driver = driver()?;
        the_other_branch_comes_back(&driver, &[])?;
        judge(&driver)
    });
}

#[test]
fn a_ledger_behind_agrees_only_by_its_own_last_token() {
    needs(Clause::AgreeByLastToken, "I5", || {
        let driver = driver()?;
        the_other_branch_comes_back(&driver, &["third", "fourth"])?;
        judge(&driver)
    });
}

/// A worker that released its ledger cleanly is not fenced: its last commit may be decided and not yet visible.
#[test]
fn read_stable_offsets() {
    needs(Clause::StableOffsets, "I4", || {
        let driver = driver()?;
        command(&driver, "first")?;
        driver.log().hold_offsets("test-notes");
        command(&driver, "second")?;
        let log = driver.log().clone();
        driver.after(Duration::from_secs(5), move || log.release_offsets("test-notes"));
        driver.redeploy(notes()?)?;
        judge(&driver)
    });
}

/// Safe without it, as stable offsets are waited for; but for as long as the dead worker's transaction lasts.
#[test]
fn fence_earlier_owners() {
    needs(Clause::FenceOwners, "waited for the transaction to time out", || {
        let driver = driver()?;
        driver.log().hold_commits(&driver.transactional_id());
        command(&driver, "first")?;
        let died = driver.now();
        driver.inject(Failure::Crash)?;
        let waited = Duration::from_millis(u64::try_from(driver.now() - died)?);
        ensure!(
            waited < Duration::from_secs(55),
            "waited for the transaction to time out: {waited:?}"
        );
        judge(&driver)
    });
}

/// Safe without it, as the applied offset is stated; but the ledger is given up and acquired again.
#[test]
fn ask_whether_a_commit_happened_whose_reply_was_lost() {
    needs(Clause::AskAfterLostReply, "acquired again", || {
        let driver = driver()?;
        let held = driver.ledger_state(0)?.token;
        driver.inject(Failure::LostLedgerReply)?;
        command(&driver, "first")?;
        ensure!(driver.ledger_state(0)?.token == held, "the ledger was acquired again");
        judge(&driver)
    });
}

/// Worker a gave its ledger up, got it back, and the store fails over to a replica that knows of the release only: b
/// has no reason to fence a.
#[test]
fn settle_before_a_revocation_is_completed() {
    // A second worker gets the higher one of two partitions.
    const MOVES: i32 = 1;
    needs(Clause::SettleBeforeRevocation, "I4", || {
        let ledgers = MemoryLedgerStore::default();
        let mut workers = Workers::new(2)?;
        workers.has_backlog = true;
        workers.start("a", &ledgers)?;
        workers.pass(SECOND)?;
        workers.command(MOVES, "first")?;
        workers.pass(SECOND)?;
        let replica = given_up(&workers, &ledgers, MOVES)?;
        workers.log.revoke(Workers::GROUP);
        workers.pass(SECOND)?;
        // One commit is under way, and more is applied.
        workers.log.hold_commits(&Workers::id("a"));
        workers.command(MOVES, "second")?;
        workers.command(MOVES, "third")?;
        workers.command(MOVES, "fourth")?;
        workers.pass(SECOND / 10)?;
        ledgers.restore(MOVES, replica.snapshot(MOVES));
        workers.start("b", &ledgers)?;
        workers.pass(SECOND * 5)?;
        workers.log.release_commits(&Workers::id("a"));
        workers.pass(SECOND * 120)?;
        traces::judge(&workers.log, &ledgers, MOVES)
    });
}

/// The ledger as it is after worker a has given it up.
fn given_up(workers: &Workers, ledgers: &MemoryLedgerStore, ledger: i32) -> Result<MemoryLedgerStore> {
    let state = workers.wait_for(ledgers.state(ledger))?;
    let release = Release {
        transactional_id: Workers::id("a"),
        token: state.token.clone(),
    };
    let holder = Holder {
        ledger,
        epoch: state.epoch,
        token: state.token,
    };
    let replica = MemoryLedgerStore::default();
    replica.restore(ledger, ledgers.snapshot(ledger));
    workers.wait_for(replica.release(&holder, &release))?;
    Ok(replica)
}

/// Worker b rebuilds the ledger on a new master. Another transaction hangs before it can, and meanwhile a, connected to
/// the old master, has the partition again and commits more. Then b goes on, as it hears nothing from the group.
#[test]
fn fold_only_what_lies_below_the_committed_offset() {
    needs(Clause::FoldBelowCommitted, "I4", || {
        let (old, new) = (MemoryLedgerStore::default(), MemoryLedgerStore::default());
        let mut workers = Workers::new(1)?;
        workers.start("a", &old)?;
        workers.pass(SECOND)?;
        workers.command(0, "first")?;
        workers.pass(SECOND)?;
        let mut somebody = workers.wait_for(workers.log.producer("somebody"))?;
        workers.log.hold_news(&Workers::id("a"));
        workers.has_backlog = true;
        workers.start("b", &new)?;
        workers.pass(SECOND * 40)?;
        somebody.send(vec![record("events", 0, "never committed")]);
        // The session of a ends, b reads C and waits for the other transaction; the session of b ends.
        workers.pass(SECOND * 10)?;
        workers.log.release_news(&Workers::id("a"));
        workers.log.hold_news(&Workers::id("b"));
        workers.pass(SECOND * 47)?;
        workers.command(0, "second")?;
        workers.pass(SECOND)?;
        workers.kill("a");
        workers.command(0, "third")?;
        // The other transaction times out.
        workers.pass(SECOND * 10)?;
        workers.log.release_news(&Workers::id("b"));
        workers.pass(SECOND * 120)?;
        traces::judge(&workers.log, &new, 0)
    });
}

/// The store loses everything after a worker has compared its ledger, and before it reads the log.
#[test]
fn a_log_that_is_gone_before_it_is_read_is_nobodys() {
    leave_out(None);
    let trace = || -> Result<()> {
        let ledgers = MemoryLedgerStore::default();
        let mut workers = Workers::new(1)?;
        workers.start("a", &ledgers)?;
        workers.pass(SECOND)?;
        workers.log.hold_commits(&Workers::id("a"));
        workers.command(0, "first")?;
        workers.pass(SECOND)?;
        workers.kill("a");
        workers.log.hold_commits(&Workers::id("b"));
        workers.start("b", &ledgers)?;
        // The session of a ends, and b acquires the partition.
        workers.pass(SECOND * 50)?;
        ledgers.flush();
        workers.log.release_commits(&Workers::id("b"));
        workers.pass(SECOND * 120)?;
        traces::judge(&workers.log, &ledgers, 0)
    };
    trace().expect("the schedule holds");
}

#[test]
fn look_at_the_ledgers_while_idle() {
    needs(Clause::IdleCheck, "I5", || {
        let driver = driver()?;
        command(&driver, "first")?;
        driver.inject(Failure::FlushedLedgers)?;
        judge(&driver)
    });
}
