//! The sending side: each request at its time, or as soon after as the outlet takes it.

use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use interlock_loadgen::wait;
use interlock_schemas::{Command, train_date_key};

use super::{Load, Outlet, Progress, Refused, pending};

/// Longest sleep before it is looked again whether to stop.
const NAP: Duration = Duration::from_millis(100);
/// Pause while as many requests wait for an answer as may.
const ROOM: Duration = Duration::from_micros(200);

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// When each is meant to be, whatever becomes of the others; its latency counts from then.
    Intended,
    /// As fast as they are answered, so many waiting at most; latency counts from when each was sent.
    Answered(u64),
}

/// What the following side is told of a request, before it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// Hash of its key.
    pub(super) key: u64,
    /// When it was meant to be sent, since the start; none if an earlier process has sent it.
    pub(super) intended_at: Option<Duration>,
}

/// What was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Requests handed to the outlet, also by an earlier process.
    pub(crate) requests: u64,
    /// Those that the outlet could not write.
    pub(crate) refused: Refused,
    /// From the start until all were written.
    pub(crate) elapsed: Duration,
}

/// Sends the load; `told` hears of every request before it goes out.
pub(super) fn run(
    load: Load,
    mut outlet: Box<dyn Outlet>,
    start: Instant,
    told: Option<mpsc::Sender<Told>>,
    progress: &Progress,
) -> anyhow::Result<Sent> {
    let mut value = Vec::new();
    let mut requests = 0;
    for mut planned in load.workload {
        let (request_id, key) = stamp(&mut planned.command);
        let is_new = requests >= load.sent_before;
        let intended_at = match load.pace {
            _ if !is_new => None,
            Pace::Intended => {
                let due = || wait(planned.intended_at, start.elapsed());
                pause_while(outlet.as_mut(), progress, || due().map(|pause| pause.min(NAP)))?;
                Some(planned.intended_at)
            }
            Pace::Answered(waiting_max) => {
                let waiting = || requests.saturating_sub(progress.answered.load(Ordering::Relaxed));
                pause_while(outlet.as_mut(), progress, || (waiting() >= waiting_max).then_some(ROOM))?;
                Some(start.elapsed())
            }
        };
        if progress.stop.load(Ordering::Relaxed) {
            break;
        }
        if let Some(told) = &told {
            // Nobody listens any more only where the other thread failed, which ends this one too.
            let _ = told.send(Told {
                key: request_id,
                intended_at,
            });
        }
        if is_new {
            value.clear();
            load.encoder.encode(&planned.command, &mut value)?;
            outlet.send(&key, &value)?;
        }
        requests += 1;
        progress.sent.store(requests, Ordering::Relaxed);
    }
    let refused = outlet.finish()?;
    // Nothing more will come: who follows waits for the answers only from now on.
    drop(told);
    Ok(Sent {
        requests,
        refused,
        elapsed: start.elapsed(),
    })
}

/// Sleeps as long as there is a reason to, or until it is time to stop.
fn pause_while(
    outlet: &mut dyn Outlet,
    progress: &Progress,
    reason: impl Fn() -> Option<Duration>,
) -> anyhow::Result<()> {
    let mut is_flushed = false;
    while let Some(pause) = reason() {
        if progress.stop.load(Ordering::Relaxed) {
            break;
        }
        if !is_flushed {
            outlet.flush()?;
            is_flushed = true;
            continue;
        }
        std::thread::sleep(pause);
    }
    Ok(())
}

/// Sets when it was asked; returns the hash of the request's key, and the record's key.
fn stamp(command: &mut Command) -> (u64, String) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64);
    match command {
        Command::Book(request) => {
            request.requested_at = now;
            (
                pending::hash(&request.request_id),
                train_date_key(&request.train_id, request.travel_date).to_string(),
            )
        }
        Command::Cancel(request) => {
            request.requested_at = now;
            (
                pending::hash(&request.request_id),
                train_date_key(&request.train_id, request.travel_date).to_string(),
            )
        }
    }
}
