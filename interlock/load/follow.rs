//! The following side: reads the outcomes as any client may, committed only.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::bail;
use interlock_loadgen::{Latencies, Outcomes};
use interlock_schemas::registry::Registry;
use interlock_schemas::{Decoder, Event, EventKind, Remedy};
use tokio::runtime::Runtime;

use super::pending::{Answer, Pending, hash};
use super::send::Told;
use super::{Inlet, Progress};

/// How long a poll waits before it is looked whether all is done.
const POLL: Duration = Duration::from_millis(20);
/// Pause before the registry is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Passengers are counted in slices of time as long as this.
pub(crate) const SLICE: Duration = Duration::from_millis(10);

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    pub(crate) latencies: Latencies,
    pub(crate) outcomes: Outcomes,
    /// When the first and the last answer came, since the start.
    pub(crate) first_answer: Option<Duration>,
    pub(crate) last_answer: Duration,
    /// Requests answered, also those that an earlier process had sent.
    pub(crate) answered: u64,
    /// Passengers who got seats in each [`SLICE`] since the start.
    pub(crate) seated: Vec<u64>,
    /// Keys of the requests that have no answer.
    pub(crate) unanswered: HashSet<u64>,
    /// Answers more than requests.
    surplus: u64,
    /// Events that could not be decoded.
    undecodable: u64,
}

impl Followed {
    /// Says on standard error what is odd.
    pub(super) fn complain(&self) {
        if self.surplus > 0 {
            eprintln!(
                "warning: {} answers more than requests: is somebody else sending the same seed?",
                self.surplus
            );
        }
        if self.undecodable > 0 {
            eprintln!("warning: {} outcomes could not be decoded", self.undecodable);
        }
    }
}

/// Reads the outcomes.
pub(super) struct Follower {
    inlet: Box<dyn Inlet>,
    notes: Notes,
}

/// What is known of requests and their outcomes.
struct Notes {
    decoder: Decoder<Event>,
    runtime: Runtime,
    heard: Receiver<Told>,
    progress: Arc<Progress>,
    pending: Pending,
    found: Followed,
}

impl Follower {
    pub(super) fn new(
        inlet: Box<dyn Inlet>,
        registry: Arc<dyn Registry>,
        heard: Receiver<Told>,
        progress: Arc<Progress>,
    ) -> anyhow::Result<Self> {
        let notes = Notes {
            decoder: Decoder::new(registry),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            heard,
            progress,
            pending: Pending::default(),
            found: Followed::default(),
        };
        Ok(Self { inlet, notes })
    }

    /// Follows until every request is answered, or for so long after the last was sent. Answers to the first
    /// `sent_before` requests may be there already, so these are heard of first.
    pub(super) fn run(self, start: Instant, sent_before: u64, timeout: Duration) -> anyhow::Result<Followed> {
        let Self { mut inlet, mut notes } = self;
        for told in (0..sent_before).map_while(|_| notes.heard.recv().ok()) {
            notes.pending.sent(told.key, told.intended_at);
        }
        let mut deadline = None;
        loop {
            let all_sent = notes.hear();
            if all_sent && notes.pending.open() == 0 {
                break;
            }
            let deadline = all_sent.then(|| *deadline.get_or_insert_with(|| Instant::now() + timeout));
            let is_stopped = notes.progress.stop.load(Ordering::Relaxed);
            if deadline.is_some_and(|deadline| Instant::now() > deadline) || (is_stopped && all_sent) {
                break;
            }
            inlet.poll(POLL, &mut |source, offset, value| {
                let now = start.elapsed();
                match notes.decode(value, || format!("{source} offset {offset}"))? {
                    Some(event) => notes.note(&event, now),
                    None => notes.found.undecodable += 1,
                }
                Ok(())
            })?;
        }
        notes.found.unanswered = notes.pending.unanswered();
        Ok(notes.found)
    }
}

impl Notes {
    /// Takes note of what was sent; true when nothing more will be. Every request of this process is heard of before its
    /// answer can come, for it is told before it is sent.
    fn hear(&mut self) -> bool {
        loop {
            match self.heard.try_recv() {
                Ok(told) => self.pending.sent(told.key, told.intended_at),
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn note(&mut self, event: &Event, now: Duration) {
        self.hear();
        let header = event.header();
        let cause = hash(&header.cause_request_id);
        if header.kind == EventKind::Answer {
            match self.pending.answered(cause, (header.ledger, header.source_offset)) {
                Answer::To(intended_at) => {
                    if let Some(intended_at) = intended_at {
                        self.found.latencies.record(intended_at, now);
                        self.found.first_answer.get_or_insert(now);
                        self.found.last_answer = now;
                    }
                    self.found.answered += 1;
                    self.progress.answered.store(self.found.answered, Ordering::Relaxed);
                }
                Answer::Surplus => self.found.surplus += 1,
                Answer::Continued | Answer::Foreign => {}
            }
        }
        if self.pending.is_ours(cause) {
            let before = self.found.outcomes.passengers_seated;
            self.found.outcomes.record(event);
            let seated = self.found.outcomes.passengers_seated - before;
            let slice = (now.as_micros() / SLICE.as_micros()) as usize;
            if seated > 0 {
                let slices = self.found.seated.len().max(slice + 1);
                self.found.seated.resize(slices, 0);
                self.found.seated[slice] += seated;
            }
        }
    }

    /// The event, or nothing where the value is bad. Waits for the registry.
    fn decode(&mut self, value: &[u8], place: impl Fn() -> String) -> anyhow::Result<Option<Event>> {
        loop {
            let error = match self.decoder.try_decode(value) {
                Ok(event) => return Ok(Some(event)),
                Err(error) => error,
            };
            let error = match error.remedy() {
                Remedy::Reject => {
                    eprintln!("warning: {}: {error}", place());
                    return Ok(None);
                }
                Remedy::Fetch(id) => match self.runtime.block_on(self.decoder.fetch(id)) {
                    Ok(()) => continue,
                    Err(error) if error.remedy() == Remedy::Reject => {
                        eprintln!("warning: {}: {error}", place());
                        return Ok(None);
                    }
                    Err(error) => error,
                },
                Remedy::Retry => error,
            };
            if self.progress.stop.load(Ordering::Relaxed) {
                bail!("{}: {error}", place());
            }
            eprintln!("waiting: {error}; again in {ASK_AGAIN:?}");
            std::thread::sleep(ASK_AGAIN);
        }
    }
}
