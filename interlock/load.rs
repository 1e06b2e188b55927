//! A load, carried out and measured: what `interlock loadgen` and the opening of `interlock dev` have in common.
//!
//! ```text
//! train-services ─> Workload ─> send (own thread) ─> Outlet ────> booking-requests
//!                                 │ (key, intended time)                │ the topologies
//!                                 ▼                                     ▼
//!          Measured <── Pending <── follow (own thread) <── Inlet <── confirmed, waitlist, cancelled, rejected
//! ```
//!
//! Neither thread waits for the other, so that neither distorts what the other measures. [`Outlet`] and [`Inlet`] are
//! Kafka's clients (`kafka`), or the log of this process (`embedded`).

pub(crate) mod embedded;
mod follow;
pub(crate) mod kafka;
mod pending;
mod send;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use interlock_loadgen::{Report, Workload};
use interlock_schemas::registry::Registry;
use interlock_schemas::topics::{CANCELLED, CONFIRMED, REJECTED, WAITLIST};
use interlock_schemas::{Command, Encoder, train_date_key};
use interlock_streams::record::TopicPartition;

use self::follow::Follower;
pub(crate) use self::follow::{Followed, SLICE};
pub(crate) use self::send::{Pace, Sent};

/// The topics that answers come on.
const ANSWERS: [&str; 4] = [CONFIRMED, WAITLIST, CANCELLED, REJECTED];
/// How often the progress bar moves, and it is looked whether all is done.
const LOOK: Duration = Duration::from_millis(100);
/// Unanswered requests that are named.
const NAMED: usize = 5;

/// Takes requests, keyed by train-date.
pub(crate) trait Outlet: Send {
    /// Takes a request; waits for room where there is none.
    fn send(&mut self, key: &str, value: &[u8]) -> anyhow::Result<()>;

    /// Nothing more comes for a while: what was taken goes out.
    fn flush(&mut self) -> anyhow::Result<()>;

    /// Waits until all that was taken is written; how much was not, and why.
    fn finish(self: Box<Self>) -> anyhow::Result<Refused>;
}

/// What an outlet could not write.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    pub(crate) count: u64,
    /// Why, of the first.
    pub(crate) reason: Option<String>,
}

/// Looks at a record: where it was read, its offset and its value.
pub(crate) type Look<'a> = dyn FnMut(&TopicPartition, i64, &[u8]) -> anyhow::Result<()> + 'a;

/// Brings outcomes, committed ones only.
pub(crate) trait Inlet: Send {
    /// Shows the records that are there; none within `wait` is fine.
    fn poll(&mut self, wait: Duration, look: &mut Look<'_>) -> anyhow::Result<()>;
}

/// What is to be sent, and how.
pub(crate) struct Load {
    pub(crate) workload: Workload,
    pub(crate) encoder: Encoder,
    pub(crate) registry: Arc<dyn Registry>,
    /// Requests at its beginning that an earlier process has sent.
    pub(crate) sent_before: u64,
    pub(crate) pace: Pace,
    /// How long outcomes are waited for after the last request.
    pub(crate) timeout: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) sent: Sent,
    /// None where nobody followed.
    pub(crate) followed: Option<Followed>,
}

/// What the threads tell each other and the progress bar.
#[derive(Debug, Default)]
struct Progress {
    /// Requests handed to the outlet, also by an earlier process.
    sent: AtomicU64,
    /// Requests answered.
    answered: AtomicU64,
    /// Stop: somebody asked for it, or the other thread failed.
    stop: AtomicBool,
}

/// Sends the load, and follows the outcomes if there is an inlet. An interrupt ends it early, with what there is.
pub(crate) async fn run(
    load: Load,
    outlet: Box<dyn Outlet>,
    inlet: Option<Box<dyn Inlet>>,
    interrupt: impl Future<Output = ()>,
) -> anyhow::Result<Measured> {
    let progress = Arc::new(Progress::default());
    let requests = load.workload.shape().requests;
    let (told, heard) = std::sync::mpsc::channel();
    let start = Instant::now();
    let (follows, sent_before, timeout) = (inlet.is_some(), load.sent_before, load.timeout);
    let follower = inlet.map(|inlet| {
        let follower = Follower::new(inlet, load.registry.clone(), heard, progress.clone())?;
        thread("follow", &progress, move || follower.run(start, sent_before, timeout))
    });
    let follower = follower.transpose()?;
    let (told, state) = (follows.then_some(told), progress.clone());
    let sender = thread("send", &progress, move || send::run(load, outlet, start, told, &state))?;
    let is_done = || sender.is_finished() && follower.as_ref().is_none_or(JoinHandle::is_finished);
    watch(requests, follows, &progress, is_done, interrupt).await;
    Ok(Measured {
        sent: join(sender)?,
        followed: follower.map(join).transpose()?,
    })
}

/// A named thread; if it fails, the other one stops too.
fn thread<T: Send + 'static>(
    name: &str,
    progress: &Arc<Progress>,
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<JoinHandle<anyhow::Result<T>>> {
    let progress = progress.clone();
    let work = move || {
        let result = work();
        if result.is_err() {
            progress.stop.store(true, Ordering::Relaxed);
        }
        result
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .with_context(|| format!("no thread to {name}"))
}

fn join<T>(thread: JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    thread
        .join()
        .map_err(|_| anyhow!("a thread panicked; see its message above"))?
}

/// Moves the progress bar until all is done.
async fn watch(
    requests: u64,
    follows: bool,
    progress: &Progress,
    is_done: impl Fn() -> bool,
    interrupt: impl Future<Output = ()>,
) {
    // Draws on standard error, and only if that is a terminal.
    let bar = ProgressBar::new(requests);
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let mut interrupt = std::pin::pin!(interrupt);
    let mut is_interrupted = false;
    while !is_done() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = &mut interrupt, if !is_interrupted => {
                is_interrupted = true;
                progress.stop.store(true, Ordering::Relaxed);
            }
        }
        let (sent, answered) = (
            progress.sent.load(Ordering::Relaxed),
            progress.answered.load(Ordering::Relaxed),
        );
        bar.set_position(if follows { answered } else { sent });
        bar.set_message(if follows {
            format!("answered, {sent} sent")
        } else {
            "sent".to_owned()
        });
    }
    bar.finish_and_clear();
}

impl Measured {
    /// The figures of a load that was followed.
    pub(crate) fn report(&self, workload: &Workload, seed: u64) -> Option<Report> {
        let followed = self.followed.as_ref()?;
        // Where nothing was answered there is still the time that it was waited for.
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

    /// Says on standard error what is not as it should be: requests that were not sent, had no answer, or too many.
    /// Whether all is as it should be.
    pub(crate) fn complain(&self, workload: &Workload, timeout: Duration) -> bool {
        let (sent, requests) = (&self.sent, workload.shape().requests);
        if let Some(reason) = &sent.refused.reason {
            eprintln!("error: {} requests were not taken: {reason}", sent.refused.count);
        }
        let missing = requests - sent.requests.min(requests);
        if missing > 0 {
            eprintln!("error: stopped after {} of {requests} requests", sent.requests);
        }
        let unanswered = self.followed.as_ref().map_or(0, |followed| {
            followed.complain();
            followed.unanswered.len()
        });
        if let Some(followed) = self.followed.as_ref().filter(|_| unanswered > 0) {
            let names = first_of(workload.clone(), &followed.unanswered).join(", ");
            eprintln!(
                "error: {unanswered} of {} requests had no answer {} s after the last was sent, such as {names}",
                sent.requests,
                timeout.as_secs()
            );
        }
        sent.refused.count == 0 && missing == 0 && unanswered == 0
    }
}

/// The first requests of the load that are among these: only hashes were kept, but the load can be made again.
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
    names.take(NAMED).collect()
}
