//! The traces that break the ledger protocol where a clause is left out (docs/PROTOCOL.md, section 5), each as a schedule
//! of its own: the production code survives it, and without the clause the violation is seen.
//!
//! Where another clause catches what the missing one lets through, the trace shows what the clause is for instead: time or
//! work that is lost without it.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Result, ensure};
use interlock_streams::log::Log as _;
use interlock_streams::record::{OutputRecord, Record};
use interlock_streams::runtime::mutation::{Clause, leave_out};
use interlock_streams::serde::{Json, Utf8};
use interlock_streams::testing::{Failure, TopologyTestDriver};
use interlock_streams::{Aggregate, Event, Message, StreamsBuilder, Topology};
use serde::{Deserialize, Serialize};

thread_local! {
    /// Version of the program: what is decided differs between versions.
    static VERSION: Cell<u32> = const { Cell::new(1) };
}

/// All that was decided, in order.
#[derive(Default, Serialize, Deserialize)]
struct Notes(Vec<String>);

impl Aggregate for Notes {
    type Command = String;
    type Event = String;

    fn decide(&self, command: &Message<String>) -> Vec<String> {
        vec![format!("{} by version {}", command.value, VERSION.get())]
    }

    fn evolve(&mut self, note: &String) {
        self.0.push(note.clone());
    }
}

fn notes() -> Result<Topology> {
    let builder = StreamsBuilder::new("notes");
    builder
        .stream("commands", || Utf8)
        .aggregate::<Notes>("notes", "events");
    Ok(builder.build()?)
}

fn driver() -> Result<TopologyTestDriver> {
    VERSION.set(1);
    Ok(TopologyTestDriver::new(notes()?, 1)?)
}

fn command(driver: &TopologyTestDriver, text: &str) -> Result<()> {
    Ok(driver.input("commands", Utf8).pipe("key", text)?)
}

/// A record that nobody can read, which leaves a dead letter and no event.
fn unreadable(driver: &TopologyTestDriver) -> Result<()> {
    Ok(driver.pipe(vec![record("commands", b"\xff")])?)
}

fn record(topic: &str, value: &'static [u8]) -> OutputRecord {
    OutputRecord {
        topic: topic.into(),
        partition: Some(0),
        timestamp: None,
        key: Some("key".into()),
        value: Some(value.into()),
        headers: Vec::new(),
    }
}

/// Lets everything come to rest, and judges what remains: each readable command has one answer (I2), events are numbered
/// without gap or repeat (I4), the ledger is their fold (I5), unreadable records are dead letters once.
fn judge(driver: &TopologyTestDriver) -> Result<()> {
    driver.advance_wall_clock(Duration::from_secs(120))?;
    let events = driver.output::<Event<String>, _>("events", Json).read_values()?;
    let numbers: Vec<i64> = events.iter().map(|event| event.sequence).collect();
    let expected: Vec<i64> = (1..).take(events.len()).collect();
    ensure!(numbers == expected, "I4: events are numbered {numbers:?}");
    let readable = |record: &&Record| record.value.as_deref() != Some(b"\xff");
    let commands = driver.records("commands")?;
    let asked: Vec<i64> = commands.iter().filter(readable).map(|record| record.offset).collect();
    let answered: Vec<i64> = events.iter().map(|event| event.source_offset).collect();
    ensure!(answered == asked, "I2: commands {asked:?}, answers to {answered:?}");
    let dead = driver.records("commands.dlq")?.len();
    ensure!(dead == commands.len() - asked.len(), "{dead} dead letters");
    let fields = driver.ledgers().fields(0, b"key");
    let kept: Notes = fields
        .values()
        .next()
        .map_or(Ok(Notes::default()), |json| serde_json::from_slice(json))?;
    let folded: Vec<String> = events.into_iter().map(|event| event.event).collect();
    ensure!(
        kept.0 == folded,
        "I5: the ledger has {:?}, its events are {folded:?}",
        kept.0
    );
    Ok(())
}

/// A schedule that holds, and that doesn't without the clause: it then fails saying `violation`.
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
    // Somebody fences the worker, as the owner does whom it knows nothing of.
    futures::executor::block_on(driver.log().producer(&worker))?;
    driver.log().release_commits(&worker);
    VERSION.set(2);
    driver.advance_wall_clock(Duration::from_secs(10))?;
    for text in meanwhile {
        command(driver, text)?;
    }
    driver.ledgers().restore(0, other_branch);
    Ok(())
}

#[test]
fn trim_only_below_an_acknowledged_commit() {
    needs(Clause::TrimBelowAcknowledged, "answers would be lost", || {
        let driver = driver()?;
        driver.log().hold_commits(&driver.transactional_id());
        command(&driver, "first")?;
        command(&driver, "second")?;
        driver.inject(Failure::Crash)?;
        judge(&driver)
    });
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
fn claim_before_the_first_decision() {
    needs(Clause::Claim, "has no committed offset", || {
        let driver = driver()?;
        driver.log().hold_commits(&driver.transactional_id());
        command(&driver, "first")?;
        driver.inject(Failure::Crash)?;
        judge(&driver)
    });
}

/// Somebody's transaction hangs before the events: they are committed, and not yet to be read.
#[test]
fn rebuild_up_to_the_high_watermark() {
    needs(Clause::RebuildToHighWatermark, "I4", || {
        let driver = driver()?;
        let mut somebody = futures::executor::block_on(driver.log().producer("somebody"))?;
        somebody.send(vec![record("events", b"never committed")]);
        command(&driver, "first")?;
        driver.inject(Failure::FlushedLedgers)?;
        driver.advance_wall_clock(Duration::from_secs(20))?;
        command(&driver, "second")?;
        judge(&driver)
    });
}

#[test]
fn a_rebuilt_watermark_is_one_below_the_committed_offset() {
    needs(Clause::WatermarkBelowCommitted, "dead letters", || {
        let driver = driver()?;
        command(&driver, "first")?;
        unreadable(&driver)?;
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

/// Safe without it, as the watermark is stated; but the ledger is given up and acquired again.
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

#[test]
fn look_at_the_ledgers_while_idle() {
    needs(Clause::IdleCheck, "I5", || {
        let driver = driver()?;
        command(&driver, "first")?;
        driver.inject(Failure::FlushedLedgers)?;
        judge(&driver)
    });
}
