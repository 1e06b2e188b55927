//! The sending side: sends each request at its time, or as soon after as the outlet takes it.

use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use interlock_schemas::{Command, train_date_key};

use super::{Load, Outlet, Refused, RunError, Shared, pending};
use crate::wait;

/// Longest sleep before the thread checks again whether to stop.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// Pause while the maximum number of requests wait for an answer.
const ROOM_PAUSE: Duration = Duration::from_micros(200);

/// The pace of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At the intended times, whatever becomes of earlier requests. Latency counts from the intended time.
    Intended,
    /// As fast as requests are answered, with at most this many unanswered. Latency counts from the time of sending.
    Answered(u64),
}

/// A request that is about to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced {
    /// Hash of its id.
    pub(super) key: u64,
    /// Intended time of sending, since the start; `None` if an earlier process has sent the request.
    pub(super) intended_at: Option<Duration>,
}

/// The sending side's result.
#[derive(Debug)]
pub struct Sent {
    /// Requests handed to the outlet, also by an earlier process.
    pub requests: u64,
    /// Requests that the outlet could not write.
    pub refused: Refused,
    /// From the start until all were written.
    pub elapsed: Duration,
}

/// Sends the load. Announces every request before it goes out.
pub(super) fn run(
    load: Load,
    mut outlet: Box<dyn Outlet>,
    start: Instant,
    announce: Option<mpsc::Sender<Announced>>,
    shared: &Shared,
) -> Result<Sent, RunError> {
    let mut value = Vec::new();
    let mut requests = 0;
    for mut planned in load.workload {
        let (request_id, key) = stamp(&mut planned.command);
        let is_new = requests >= load.sent_before;
        let intended_at = match load.pace {
            _ if !is_new => None,
            Pace::Intended => {
                let due = || wait(planned.intended_at, start.elapsed());
                pause_while(outlet.as_mut(), shared, || due().map(|pause| pause.min(SLEEP_MAX)))?;
                Some(planned.intended_at)
            }
            Pace::Answered(waiting_max) => {
                let waiting = || requests.saturating_sub(shared.answered.load(Ordering::Relaxed));
                pause_while(outlet.as_mut(), shared, || {
                    (waiting() >= waiting_max).then_some(ROOM_PAUSE)
                })?;
                Some(start.elapsed())
            }
        };
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        if let Some(announce) = &announce {
            // The receiver is gone only if the other thread has failed, which ends this one too.
            let _ = announce.send(Announced {
                key: request_id,
                intended_at,
            });
        }
        if is_new {
            value.clear();
            load.encoder.encode(&planned.command, &mut value)?;
            outlet.send(&key, &value).map_err(RunError::Outlet)?;
        }
        requests += 1;
        shared.sent.store(requests, Ordering::Relaxed);
    }
    let refused = outlet.finish().map_err(RunError::Outlet)?;
    // The follower counts its timeout from here.
    drop(announce);
    Ok(Sent {
        requests,
        refused,
        elapsed: start.elapsed(),
    })
}

/// Sleeps while `reason` gives a pause, or until the run is stopped.
fn pause_while(
    outlet: &mut dyn Outlet,
    shared: &Shared,
    reason: impl Fn() -> Option<Duration>,
) -> Result<(), RunError> {
    let mut is_flushed = false;
    while let Some(pause) = reason() {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        if !is_flushed {
            outlet.flush().map_err(RunError::Outlet)?;
            is_flushed = true;
            continue;
        }
        std::thread::sleep(pause);
    }
    Ok(())
}

/// Sets `requested_at`; returns the hash of the request's id, and the record's key.
#[expect(
    clippy::disallowed_methods,
    reason = "a request states when it was made, and this is where it is made"
)]
fn stamp(command: &mut Command) -> (u64, String) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64);
    let (request_id, train, date) = match command {
        Command::Book(request) => {
            request.requested_at = now;
            (&request.request_id, &request.train_id, request.travel_date)
        }
        Command::Cancel(request) => {
            request.requested_at = now;
            (&request.request_id, &request.train_id, request.travel_date)
        }
    };
    (pending::hash(request_id), train_date_key(train, date).to_string())
}
