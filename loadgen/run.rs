//! Runs a load and measures it, behind two traits: [`Outlet`] takes the requests, [`Inlet`] brings the outcomes.
//!
//! ```text
//! train-services ─> Workload ─> send (own thread) ─> Outlet ────> booking-requests
//!                                 │ (key, intended time)                │ the topologies
//!                                 ▼                                     ▼
//!          Measured <── Pending <── follow (own thread) <── Inlet <── confirmed, waitlist, cancelled, rejected
//! ```
//!
//! Neither thread waits for the other, so that neither distorts the other's measurements. This module is the only one
//! in the crate that reads the clock.

mod follow;
mod pending;
mod send;
mod through_log;

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use interlock_schemas::registry::Registry;
use interlock_schemas::topics::{CANCELLED, CONFIRMED, REJECTED, WAITLIST};
use interlock_schemas::{Command, DecodeError, Encoder, Unregistered, train_date_key};

use self::follow::Follower;
pub use self::follow::{Followed, SLICE};
pub use self::send::{Pace, Sent};
pub use self::through_log::{LogInlet, LogOutlet, sent};
use crate::{Report, Workload};

/// The topics that carry outcomes.
pub const OUTCOME_TOPICS: [&str; 4] = [CONFIRMED, WAITLIST, CANCELLED, REJECTED];
/// Interval between two calls of the caller's `watch`.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);
/// Unanswered requests that [`Problem::Unanswered`] names, at most.
const EXAMPLES_MAX: usize = 5;

/// An error of the client behind an [`Inlet`] or [`Outlet`].
pub type ClientError = Box<dyn Error + Send + Sync>;

/// Takes requests, keyed by train-date.
pub trait Outlet: Send {
    /// Takes a request; waits for room if there is none.
    fn send(&mut self, key: &str, value: &[u8]) -> Result<(), ClientError>;

    /// Writes what was taken, because no request follows for a while.
    fn flush(&mut self) -> Result<(), ClientError>;

    /// Waits until all that was taken is written, and returns what could not be.
    fn finish(self: Box<Self>) -> Result<Refused, ClientError>;
}

/// The requests that an outlet could not write.
#[derive(Debug, Default)]
pub struct Refused {
    /// Their number.
    pub count: u64,
    /// The reason of the first.
    pub reason: Option<String>,
}

/// A record from one of the [`OUTCOME_TOPICS`].
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The topic it was read from.
    pub topic: &'a str,
    /// The partition it was read from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The encoded event.
    pub value: &'a [u8],
}

/// Brings outcomes, committed ones only.
pub trait Inlet: Send {
    /// Passes each record that is there to `each`; returns after `wait` if none comes.
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Outcome<'_>)) -> Result<(), ClientError>;
}

/// A load, and how to run it.
pub struct Load {
    /// The requests.
    pub workload: Workload,
    /// Encodes the requests.
    pub encoder: Encoder,
    /// The registry that the outcomes' schemas come from.
    pub registry: Arc<dyn Registry>,
    /// Number of requests at the load's beginning that an earlier process has sent.
    pub sent_before: u64,
    /// The times at which to send.
    pub pace: Pace,
    /// Longest wait for outcomes after the last request.
    pub timeout: Duration,
}

/// The result of a run.
#[derive(Debug)]
pub struct Measured {
    /// The sending side's result.
    pub sent: Sent,
    /// The following side's result; none without an inlet.
    pub followed: Option<Followed>,
}

/// The reason why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The outlet failed.
    #[error("the requests can't be sent")]
    Outlet(#[source] ClientError),
    /// The inlet failed.
    #[error("the outcomes can't be read")]
    Inlet(#[source] ClientError),
    /// A request doesn't fit its schema.
    #[error("a request can't be encoded")]
    Encode(#[from] Unregistered),
    /// The run was stopped while the registry was out of reach.
    #[error("stopped before the outcome at {place} could be decoded")]
    Decode {
        /// Topic, partition and offset.
        place: String,
        /// The reason.
        source: DecodeError,
    },
    /// The system refused a thread or an asynchronous runtime.
    #[error("no thread to {task}")]
    Thread {
        /// The thread's task.
        task: &'static str,
        /// The reason.
        source: io::Error,
    },
    /// A thread panicked.
    #[error("a thread panicked; see its message above")]
    Panicked,
}

/// The progress of a run.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Requests handed to the outlet, also by an earlier process.
    pub sent: u64,
    /// Requests answered.
    pub answered: u64,
    /// Reasons why an outcome can't be decoded, or not yet; each appears once.
    pub trouble: Option<String>,
}

/// Something about a run that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The outlet could not write some requests.
    Refused {
        /// Their number.
        count: u64,
        /// The reason of the first.
        reason: String,
    },
    /// The run ended before all requests were sent.
    Stopped {
        /// Requests sent.
        sent: u64,
        /// Requests of the load.
        requests: u64,
    },
    /// Some requests have no answer.
    Unanswered {
        /// Their number.
        count: usize,
        /// Requests sent.
        sent: u64,
        /// Duration of the wait after the last request.
        timeout: Duration,
        /// Some of them: request id and train-date.
        examples: Vec<String>,
    },
    /// There were more answers than requests.
    Surplus(u64),
    /// Some outcomes could not be decoded.
    Undecodable(u64),
}

impl Problem {
    /// Returns whether the run failed by this. The other problems are only odd.
    pub fn is_failure(&self) -> bool {
        !matches!(self, Problem::Surplus(_) | Problem::Undecodable(_))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Refused { count, reason } => write!(f, "{count} requests were not taken: {reason}"),
            Problem::Stopped { sent, requests } => write!(f, "stopped after {sent} of {requests} requests"),
            Problem::Unanswered {
                count,
                sent,
                timeout,
                examples,
            } => write!(
                f,
                "{count} of {sent} requests had no answer {} s after the last was sent, such as {}",
                timeout.as_secs(),
                examples.join(", ")
            ),
            Problem::Surplus(count) => write!(
                f,
                "{count} answers more than requests: is another program sending the same seed?"
            ),
            Problem::Undecodable(count) => write!(f, "{count} outcomes could not be decoded"),
        }
    }
}

/// The state that both threads and the caller's `watch` share.
#[derive(Debug, Default)]
struct Shared {
    /// Requests handed to the outlet, also by an earlier process.
    sent: AtomicU64,
    /// Requests answered.
    answered: AtomicU64,
    /// Set to stop both threads: the caller asked for it, or one of them failed.
    stop: AtomicBool,
    /// The part that `watch` has not seen yet.
    trouble: Mutex<Option<String>>,
}

impl Shared {
    fn trouble(&self, reason: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    fn progress(&self) -> Progress {
        Progress {
            sent: self.sent.load(Ordering::Relaxed),
            answered: self.answered.load(Ordering::Relaxed),
            trouble: self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take(),
        }
    }
}

/// Sends the load, and follows the outcomes if there is an inlet. Calls `watch` ten times a second. When `interrupt`
/// completes, the run ends early and returns what it has.
pub async fn run(
    load: Load,
    outlet: Box<dyn Outlet>,
    inlet: Option<Box<dyn Inlet>>,
    mut watch: impl FnMut(Progress),
    interrupt: impl Future<Output = ()>,
) -> Result<Measured, RunError> {
    let shared = Arc::new(Shared::default());
    let (announce, announced) = std::sync::mpsc::channel();
    let start = Instant::now();
    let (follows, sent_before, timeout) = (inlet.is_some(), load.sent_before, load.timeout);
    let follower = inlet.map(|inlet| {
        let follower = Follower::new(inlet, load.registry.clone(), announced, shared.clone())?;
        thread("follow", &shared, move || follower.run(start, sent_before, timeout))
    });
    let follower = follower.transpose()?;
    let (announce, state) = (follows.then_some(announce), shared.clone());
    let sender = thread("send", &shared, move || {
        send::run(load, outlet, start, announce, &state)
    })?;
    let is_done = || sender.is_finished() && follower.as_ref().is_none_or(JoinHandle::is_finished);
    let mut interrupt = std::pin::pin!(interrupt);
    let mut is_interrupted = false;
    while !is_done() {
        tokio::select! {
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
            () = &mut interrupt, if !is_interrupted => {
                is_interrupted = true;
                shared.stop.store(true, Ordering::Relaxed);
            }
        }
        watch(shared.progress());
    }
    Ok(Measured {
        sent: join(sender)?,
        followed: follower.map(join).transpose()?,
    })
}

/// Starts a named thread; if it fails, the other one stops too.
fn thread<T: Send + 'static>(
    task: &'static str,
    shared: &Arc<Shared>,
    work: impl FnOnce() -> Result<T, RunError> + Send + 'static,
) -> Result<JoinHandle<Result<T, RunError>>, RunError> {
    let shared = shared.clone();
    let work = move || {
        let result = work();
        if result.is_err() {
            shared.stop.store(true, Ordering::Relaxed);
        }
        result
    };
    let thread = std::thread::Builder::new().name(task.to_owned()).spawn(work);
    thread.map_err(|source| RunError::Thread { task, source })
}

fn join<T>(thread: JoinHandle<Result<T, RunError>>) -> Result<T, RunError> {
    thread.join().map_err(|_| RunError::Panicked)?
}

impl Measured {
    /// Returns the figures of a load that was followed.
    pub fn report(&self, workload: &Workload, seed: u64) -> Option<Report> {
        let followed = self.followed.as_ref()?;
        // Without any answer, the time spent waiting is all there is.
        let elapsed = match followed.latencies.count() {
            0 => self.sent.elapsed,
            _ => followed.last_answer,
        };
        Some(Report::new(
            workload.shape().clone(),
            seed,
            self.sent.requests,
            elapsed.as_secs_f64(),
            &followed.latencies,
            followed.outcomes.clone(),
        ))
    }

    /// Lists what is not as it should be: requests that were not sent, had no answer, or too many.
    pub fn problems(&self, workload: &Workload, timeout: Duration) -> Vec<Problem> {
        let (sent, requests) = (&self.sent, workload.shape().requests);
        let mut problems = Vec::new();
        if sent.refused.count > 0 {
            problems.push(Problem::Refused {
                count: sent.refused.count,
                reason: sent.refused.reason.clone().unwrap_or_default(),
            });
        }
        if sent.requests < requests {
            problems.push(Problem::Stopped {
                sent: sent.requests,
                requests,
            });
        }
        let Some(followed) = &self.followed else {
            return problems;
        };
        if followed.surplus > 0 {
            problems.push(Problem::Surplus(followed.surplus));
        }
        if followed.undecodable > 0 {
            problems.push(Problem::Undecodable(followed.undecodable));
        }
        if !followed.unanswered.is_empty() {
            problems.push(Problem::Unanswered {
                count: followed.unanswered.len(),
                sent: sent.requests,
                timeout,
                examples: first_of(workload.clone(), &followed.unanswered),
            });
        }
        problems
    }
}

/// Returns the first requests whose hash is in the set. Only hashes were kept, but the load can be generated again.
fn first_of(workload: Workload, hashes: &HashSet<u64>) -> Vec<String> {
    let names = workload.filter_map(|planned| {
        let (request, train, date) = match &planned.command {
            Command::Book(request) => (&request.request_id, &request.train_id, request.travel_date),
            Command::Cancel(request) => (&request.request_id, &request.train_id, request.travel_date),
        };
        let key = train_date_key(train, date);
        hashes
            .contains(&pending::hash(request))
            .then(|| format!("{request} ({key})"))
    });
    names.take(EXAMPLES_MAX).collect()
}
