//! The following side: reads the outcomes as any client may, committed only.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use interlock_schemas::registry::Registry;
use interlock_schemas::{Decoder, Event, EventKind, Remedy};
use tokio::runtime::Runtime;

use super::pending::{Answer, Pending, hash};
use super::send::Announced;
use super::{Inlet, Outcome, RunError, Shared};
use crate::{Latencies, Outcomes};

/// Longest wait of a poll before the thread checks whether all is done.
const POLL: Duration = Duration::from_millis(20);
/// Pause before the registry is asked again.
const REGISTRY_RETRY: Duration = Duration::from_millis(500);

/// Length of the time slices in which passengers are counted.
pub const SLICE: Duration = Duration::from_millis(10);

/// The outcomes of a load.
#[derive(Debug, Default)]
pub struct Followed {
    /// From when a request was meant to be sent to its answer.
    pub latencies: Latencies,
    /// The outcomes, counted by kind.
    pub outcomes: Outcomes,
    /// Time of the first answer, since the start.
    pub first_answer: Option<Duration>,
    /// Time of the last answer, since the start.
    pub last_answer: Duration,
    /// Requests answered, also those that an earlier process had sent.
    pub answered: u64,
    /// Passengers who got seats in each [`SLICE`] since the start.
    pub seated: Vec<u64>,
    /// Hashes of the request ids that have no answer.
    pub unanswered: HashSet<u64>,
    /// Answers beyond the number of requests.
    pub surplus: u64,
    /// Events that could not be decoded.
    pub undecodable: u64,
}

/// The following thread.
pub(super) struct Follower {
    inlet: Box<dyn Inlet>,
    matching: Matching,
}

/// Matches outcomes with requests.
struct Matching {
    decoder: Decoder<Event>,
    runtime: Runtime,
    announced: Receiver<Announced>,
    shared: Arc<Shared>,
    pending: Pending,
    found: Followed,
}

impl Follower {
    pub(super) fn new(
        inlet: Box<dyn Inlet>,
        registry: Arc<dyn Registry>,
        announced: Receiver<Announced>,
        shared: Arc<Shared>,
    ) -> Result<Self, RunError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let matching = Matching {
            decoder: Decoder::new(registry),
            runtime: runtime.map_err(|source| RunError::Thread { task: "follow", source })?,
            announced,
            shared,
            pending: Pending::default(),
            found: Followed::default(),
        };
        Ok(Self { inlet, matching })
    }

    /// Follows until every request is answered, but for no longer than `timeout` after the last was sent. Answers to
    /// the first `sent_before` requests may already be there, so these requests are taken note of first.
    pub(super) fn run(self, start: Instant, sent_before: u64, timeout: Duration) -> Result<Followed, RunError> {
        let Self {
            mut inlet,
            mut matching,
        } = self;
        for request in (0..sent_before).map_while(|_| matching.announced.recv().ok()) {
            matching.pending.sent(request.key, request.intended_at);
        }
        let mut deadline = None;
        loop {
            let all_sent = matching.hear();
            if all_sent && matching.pending.open() == 0 {
                break;
            }
            let deadline = all_sent.then(|| *deadline.get_or_insert_with(|| Instant::now() + timeout));
            let is_stopped = matching.shared.stop.load(Ordering::Relaxed);
            if deadline.is_some_and(|deadline| Instant::now() > deadline) || (is_stopped && all_sent) {
                break;
            }
            let mut failure = None;
            let polled = inlet.poll(POLL, &mut |outcome| {
                let now = start.elapsed();
                match matching.decode(&outcome) {
                    _ if failure.is_some() => {}
                    Ok(Some(event)) => matching.note(&event, now),
                    Ok(None) => matching.found.undecodable += 1,
                    Err(error) => failure = Some(error),
                }
            });
            polled.map_err(RunError::Inlet)?;
            failure.map_or(Ok(()), Err)?;
        }
        matching.found.unanswered = matching.pending.unanswered();
        Ok(matching.found)
    }
}

impl Matching {
    /// Takes note of what was sent; returns true when nothing more will be. Every request of this process is known
    /// before its answer can come, because it is announced before it is sent.
    fn hear(&mut self) -> bool {
        loop {
            match self.announced.try_recv() {
                Ok(request) => self.pending.sent(request.key, request.intended_at),
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
                    self.shared.answered.store(self.found.answered, Ordering::Relaxed);
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

    /// Decodes an event; returns none for a bad value. Waits for the registry.
    fn decode(&mut self, outcome: &Outcome<'_>) -> Result<Option<Event>, RunError> {
        let place = || format!("{}-{} offset {}", outcome.topic, outcome.partition, outcome.offset);
        loop {
            let mut result = self.decoder.try_decode(outcome.value);
            if let Err(Remedy::Fetch(id)) = result.as_ref().map_err(|error| error.remedy()) {
                match self.runtime.block_on(self.decoder.fetch(id)) {
                    Ok(()) => continue,
                    Err(error) => result = Err(error),
                }
            }
            let error = match result {
                Ok(event) => return Ok(Some(event)),
                Err(error) => error,
            };
            self.shared.trouble(format!("{}: {error}", place()));
            if error.remedy() == Remedy::Reject {
                return Ok(None);
            }
            if self.shared.stop.load(Ordering::Relaxed) {
                return Err(RunError::Decode {
                    place: place(),
                    source: error,
                });
            }
            std::thread::sleep(REGISTRY_RETRY);
        }
    }
}
