//! Parts of a ledger that are lost, older or another history's by themselves (docs/LEDGER.md): a deleted key, an
//! evicted one, one that was put back. Each trace passes, and fails without its clause.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures::executor::block_on;
use interlock_streams::ledger::memory::{MemoryLedgerStore, Part};
use interlock_streams::ledger::{LedgerStore as _, read_document};
use interlock_streams::log::Log as _;
use interlock_streams::mutation::{Clause, leave_out};
use interlock_streams::record::{OutputRecord, TopicPartition};
use interlock_streams::serde::Utf8;
use interlock_streams::testing::{Failure, TopologyTestDriver};
use interlock_tests::traces::{self, VERSION, Workers, notes};

const SECOND: Duration = Duration::from_secs(1);

/// The document that commands change.
fn document() -> Part {
    Part::Document("key".into())
}

fn driver() -> Result<TopologyTestDriver> {
    VERSION.set(1);
    Ok(TopologyTestDriver::new(notes()?, 1)?)
}

fn command(driver: &TopologyTestDriver, text: &str) -> Result<()> {
    command_for(driver, "key", text)
}

fn command_for(driver: &TopologyTestDriver, key: &'static str, text: &str) -> Result<()> {
    Ok(driver.input("commands", Utf8).pipe(key, text)?)
}

/// A command that the driver does not wait for.
fn record(text: &'static str) -> OutputRecord {
    OutputRecord {
        key: Some("key".into()),
        ..traces::record("commands", 0, text)
    }
}

fn judge(driver: &TopologyTestDriver) -> Result<()> {
    driver.advance_wall_clock(SECOND * 120)?;
    traces::judge(driver.log(), driver.ledgers(), 0)
}

/// Runs a schedule that must pass, and without the clause must fail with a message that contains `violation`.
fn needs(clause: Clause, violation: &str, trace: fn() -> Result<()>) {
    leave_out(None);
    trace().expect("the schedule holds");
    leave_out(Some(clause));
    let seen = trace().expect_err("the clause is not needed").to_string();
    leave_out(None);
    assert!(seen.contains(violation), "{clause:?}: {seen}");
}

/// Lets another worker take the ledger, with nothing in its cache.
fn reload(driver: &TopologyTestDriver) -> Result<()> {
    Ok(driver.redeploy(notes()?)?)
}

#[test]
fn a_document_that_is_missing_is_not_a_new_one() {
    needs(Clause::DocumentAbsent, "I1", || {
        let driver = driver()?;
        command(&driver, "first")?;
        reload(&driver)?;
        driver.ledgers().lose(0, &document());
        command(&driver, "second")?;
        judge(&driver)
    });
}

#[test]
fn a_document_that_is_older_is_not_decided_from() {
    needs(Clause::DocumentOlder, "I1", || {
        let driver = driver()?;
        command(&driver, "first")?;
        let before = driver.ledgers().snapshot(0);
        command(&driver, "second")?;
        reload(&driver)?;
        driver.ledgers().put_back(0, &document(), &before);
        command(&driver, "third")?;
        judge(&driver)
    });
}

/// The command is decided; its transaction is aborted, and the ledger goes back to before, all but the document.
fn all_but_the_document_goes_back(driver: &TopologyTestDriver) -> Result<()> {
    command(driver, "first")?;
    let before = driver.ledgers().snapshot(0);
    let worker = driver.transactional_id();
    driver.log().hold_commits(&worker);
    command(driver, "second")?;
    let after = driver.ledgers().snapshot(0);
    driver.ledgers().restore(0, before);
    driver.ledgers().put_back(0, &document(), &after);
    block_on(driver.log().producer(&worker))?;
    driver.log().release_commits(&worker);
    driver.advance_wall_clock(SECOND * 10)?;
    Ok(())
}

#[test]
fn a_document_that_is_newer_is_not_decided_from() {
    needs(Clause::DocumentNewer, "I1", || {
        let driver = driver()?;
        all_but_the_document_goes_back(&driver)?;
        judge(&driver)
    });
}

/// The same sequence was reached by another decision.
#[test]
fn a_document_of_another_history_is_not_decided_from() {
    needs(Clause::DocumentOther, "I5", || {
        let driver = driver()?;
        command(&driver, "first")?;
        let before = driver.ledgers().snapshot(0);
        let worker = driver.transactional_id();
        driver.log().hold_commits(&worker);
        command(&driver, "second")?;
        let other = driver.ledgers().snapshot(0);
        driver.ledgers().restore(0, before);
        block_on(driver.log().producer(&worker))?;
        driver.log().release_commits(&worker);
        VERSION.set(2);
        driver.advance_wall_clock(SECOND * 10)?;
        reload(&driver)?;
        driver.ledgers().put_back(0, &document(), &other);
        command(&driver, "third")?;
        judge(&driver)
    });
}

/// Nothing was ever committed, so there is nothing to rebuild from; the state and the log are lost, and the document
/// stays.
fn only_the_document_stays(driver: &TopologyTestDriver) -> Result<()> {
    let worker = driver.transactional_id();
    driver.log().hold_commits(&worker);
    command(driver, "first")?;
    driver.ledgers().lose(0, &Part::State);
    driver.ledgers().lose(0, &Part::Log);
    block_on(driver.log().producer(&worker))?;
    driver.log().release_commits(&worker);
    driver.advance_wall_clock(SECOND / 2)?;
    Ok(())
}

#[test]
fn a_document_that_the_index_does_not_name_is_not_read() {
    needs(Clause::NamedOnly, "I1", || {
        let driver = driver()?;
        only_the_document_stays(&driver)?;
        judge(&driver)
    });
}

/// Safe without it, as the sum is another one; but the ledger is rebuilt once more.
#[test]
fn what_lies_in_the_place_of_a_new_document_is_removed() {
    needs(Clause::RemoveUnnamed, "acquired again", || {
        let driver = driver()?;
        only_the_document_stays(&driver)?;
        let held = driver.ledger_state(0)?.token;
        driver.advance_wall_clock(SECOND * 10)?;
        ensure!(driver.ledger_state(0)?.token == held, "the ledger was acquired again");
        judge(&driver)
    });
}

/// The state goes back to before a document existed, under the same token; the next batch would hide that.
#[test]
fn every_write_states_the_version() {
    needs(Clause::StateVersion, "I5", || {
        let driver = driver()?;
        command(&driver, "first")?;
        let before = driver.ledgers().snapshot(0);
        command_for(&driver, "other", "second")?;
        driver.ledgers().put_back(0, &Part::State, &before);
        command(&driver, "third")?;
        reload(&driver)?;
        command_for(&driver, "other", "fourth")?;
        driver.advance_wall_clock(SECOND * 120)?;
        let kept = driver.ledgers().fields(0, b"other");
        let kept = kept.values().next().context("there is no document")?;
        ensure!(
            String::from_utf8_lossy(kept).contains("second"),
            "I5: the second note is gone"
        );
        Ok(())
    });
}

#[test]
fn a_log_that_is_not_whole_is_not_sent() {
    needs(Clause::LogWhole, "I2", || {
        let driver = driver()?;
        driver.log().hold_commits(&driver.transactional_id());
        command(&driver, "first")?;
        driver.ledgers().lose(0, &Part::Log);
        driver.inject(Failure::Crash)?;
        judge(&driver)
    });
}

/// A worker that lost its ledger without knowing decides on the former master. Its entry fits by the offsets.
#[test]
fn entries_are_compared_by_digest() {
    needs(Clause::LogDigest, "another acquisition", || {
        let (old, new) = (MemoryLedgerStore::default(), MemoryLedgerStore::default());
        let mut workers = Workers::new(1)?;
        workers.start("a", &old)?;
        workers.pass(SECOND)?;
        workers.command(0, "first")?;
        workers.pass(SECOND)?;
        new.restore(0, old.snapshot(0));
        workers.log.hold_news(&Workers::id("a"));
        workers.start("b", &new)?;
        // The session of a ends, and b acquires the partition.
        workers.pass(SECOND * 50)?;
        workers.log.hold_commits(&Workers::id("b"));
        workers.command(0, "second")?;
        workers.pass(SECOND / 2)?;
        ensure!(old.parts(0).contains(&Part::Entry(1)), "a has not decided it");
        ensure!(new.parts(0).contains(&Part::Entry(1)), "b has not decided it");
        workers.kill("a");
        workers.kill("b");
        new.put_back(0, &Part::Entry(1), &old.snapshot(0));
        workers.start("c", &new)?;
        workers.pass(SECOND * 120)?;
        let lineage = workers.wait_for(new.state(0))?.lineage;
        let events = workers.log.read(&TopicPartition::new("events", 0), 0, usize::MAX)?;
        let last = events.last().and_then(|event| event.value.clone()).unwrap_or_default();
        let token = lineage.last().context("there is no lineage")?;
        let is_ours = String::from_utf8_lossy(&last).contains(&format!("\"{token}\""));
        ensure!(
            is_ours,
            "the last event is of another acquisition than {token}: {last:?}"
        );
        traces::judge(&workers.log, &new, 0)
    });
}

/// A worker that only started over would find the same loss without end.
#[test]
fn a_lost_part_is_marked() {
    needs(Clause::MarkLost, "still doesn't work", || {
        let driver = driver()?;
        command(&driver, "first")?;
        reload(&driver)?;
        driver.ledgers().lose(0, &document());
        driver.log().append(vec![record("second")])?;
        judge(&driver)
    });
}

/// Nobody asks for the document any more.
#[test]
fn a_loss_after_the_last_command_is_noticed() {
    needs(Clause::IdleParts, "I5", || {
        let driver = driver()?;
        command(&driver, "first")?;
        driver.ledgers().lose(0, &document());
        judge(&driver)
    });
}

#[test]
fn nothing_is_decided_on_a_store_that_may_drop_parts() {
    needs(Clause::StoreFit, "decided", || {
        let ledgers = MemoryLedgerStore::default();
        let mut workers = Workers::new(1)?;
        workers.start("a", &ledgers)?;
        workers.pass(SECOND)?;
        workers.command(0, "first")?;
        workers.pass(SECOND)?;
        ledgers.set_unfit(true);
        workers.pass(SECOND * 5)?;
        workers.command(0, "second")?;
        workers.pass(SECOND * 20)?;
        let events = workers.log.read(&TopicPartition::new("events", 0), 0, usize::MAX)?;
        ensure!(events.len() == 1, "{} events were decided", events.len());
        ledgers.set_unfit(false);
        workers.pass(SECOND * 120)?;
        traces::judge(&workers.log, &ledgers, 0)
    });
}

#[test]
fn readers_compare_documents_with_the_index() {
    needs(Clause::ReadersCompare, "was read", || {
        let driver = driver()?;
        command(&driver, "first")?;
        driver.ledgers().lose(0, &document());
        let read = block_on(read_document(driver.ledgers(), 0, &Bytes::from("key")))?;
        ensure!(read.fields.is_err(), "a lost document was read");
        judge(&driver)
    });
}

/// Each part, lost or put back, alone: while its owner has everything in memory, and when it has nothing.
#[test]
fn every_single_part_may_be_lost_or_put_back() -> Result<()> {
    leave_out(None);
    for is_cached in [true, false] {
        for is_lost in [true, false] {
            for number in 0.. {
                let driver = driver()?;
                command(&driver, "first")?;
                command_for(&driver, "other", "second")?;
                let before = driver.ledgers().snapshot(0);
                command(&driver, "third")?;
                let Some(part) = driver.ledgers().parts(0).into_iter().nth(number) else {
                    break;
                };
                if !is_cached {
                    reload(&driver)?;
                }
                match is_lost {
                    true => driver.ledgers().lose(0, &part),
                    false => driver.ledgers().put_back(0, &part, &before),
                }
                command(&driver, "fourth")?;
                command_for(&driver, "other", "fifth")?;
                driver.advance_wall_clock(SECOND * 120)?;
                let notes = |document: &str| {
                    let fields = driver.ledgers().fields(0, document.as_bytes());
                    fields
                        .values()
                        .map(|value| String::from_utf8_lossy(value).into_owned())
                        .collect::<String>()
                };
                let says = |document, texts: &[&str]| {
                    let notes = notes(document);
                    let missing = texts.iter().find(|text| !notes.contains(**text));
                    ensure!(
                        missing.is_none(),
                        "{part:?} ({is_cached}, {is_lost}): {document} has {notes}"
                    );
                    Ok(())
                };
                says("key", &["first", "third", "fourth"])?;
                says("other", &["second", "fifth"])?;
                let events = driver.records("events")?.len();
                ensure!(events == 5, "{part:?} ({is_cached}, {is_lost}): {events} events");
            }
        }
    }
    Ok(())
}
