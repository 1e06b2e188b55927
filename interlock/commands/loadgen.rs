//! `interlock loadgen`: many travellers, and how long they waited.
//!
//! ```text
//! train-services ─> Workload ─> send (own thread) ─────────────> booking-requests
//!                                 │ (key, intended time)                │ the topologies
//!                                 ▼                                     ▼
//!            Report <── Pending <── follow (own thread) <── confirmed, waitlist, cancelled, rejected
//! ```
//!
//! Neither thread waits for the other, so that neither distorts what the other measures.

mod follow;
mod pending;
mod send;

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use chrono::Local;
use indicatif::{ProgressBar, ProgressStyle};
use interlock_loadgen::{Profile, Report, Shape, Workload, running_from};
use interlock_schemas::registry::{Registry, register_all};
use interlock_schemas::topics::contract;
use interlock_schemas::{Command, Encoder, train_date_key};
use serde::Serialize;

use self::follow::{Followed, Follower};
use self::send::Sent;
use crate::cli::Loadgen as Arguments;
use crate::commands::seed::days_since_epoch;
use crate::config::{Config, PATIENCE};
use crate::{Status, plans, services, topics};

/// How often the progress bar moves, and it is looked whether all is done.
const LOOK: Duration = Duration::from_millis(100);
/// Unanswered requests that are named.
const NAMED: usize = 5;

/// What the threads tell each other and the progress bar.
#[derive(Debug, Default)]
struct Progress {
    /// Requests handed to Kafka's client.
    sent: AtomicU64,
    /// Requests answered.
    answered: AtomicU64,
    /// Requests that Kafka did not take.
    failed: AtomicU64,
    /// Stop: somebody pressed Ctrl-C, or the other thread failed.
    stop: AtomicBool,
}

/// What `--no-wait` measures.
#[derive(Serialize)]
struct OnlySent {
    shape: Shape,
    seed: u64,
    requests: u64,
    failed: u64,
    elapsed_s: f64,
    throughput_per_s: f64,
}

/// Sends the load and measures it.
pub(crate) fn call(arguments: &Arguments, config: &Config) -> anyhow::Result<Status> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime
        .context("no asynchronous runtime")?
        .block_on(load(arguments, config))
}

async fn load(arguments: &Arguments, config: &Config) -> anyhow::Result<Status> {
    let registry: Arc<dyn Registry> = Arc::new(services::registry(config)?);
    let log = services::log(config)?;
    let (patience, say) = (Some(PATIENCE), services::say_waiting);
    let ids = services::patiently(patience, say, async || Ok(register_all(&*registry, &contract()).await?)).await?;
    let plans = services::patiently(patience, say, async || {
        services::reach_kafka(config).await?;
        topics::require(&*log).await?;
        Ok(plans::read(&*log, registry.clone()).await?)
    });
    let plans: Vec<_> = plans.await?.into_values().collect();
    // Trains of today may have left.
    let plans = running_from(&plans, days_since_epoch(Local::now().date_naive()) + 1);
    let seed = arguments.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let profile = Profile::named(&arguments.profile)?;
    let workload = Workload::new(&profile, &plans, arguments.requests, arguments.rate, seed)?;
    eprintln!("{}, seed {seed}", workload.shape());

    let kafka = services::kafka(config);
    let progress = Arc::new(Progress::default());
    let (told, heard) = std::sync::mpsc::channel();
    let follower = match arguments.no_wait {
        true => None,
        // Before the first request is sent.
        false => Some(Follower::new(&kafka, &*log, registry, heard, progress.clone()).await?),
    };
    let start = Instant::now();
    let timeout = Duration::from_secs(arguments.timeout);
    let follower = follower
        .map(|follower| thread("follow", &progress, move || follower.run(start, timeout)))
        .transpose()?;
    let (requests, state) = (workload.clone(), progress.clone());
    let told = follower.is_some().then_some(told);
    let encoder = Encoder::new(ids);
    let sender = thread("send", &progress, move || {
        send::run(&kafka, requests, encoder, start, told, &state)
    })?;

    watch(arguments, &progress, || {
        sender.is_finished() && follower.as_ref().is_none_or(JoinHandle::is_finished)
    })
    .await;
    let sent = join(sender)?;
    match follower {
        None => only_sent(arguments, workload.shape().clone(), seed, &sent),
        Some(follower) => report(arguments, workload, seed, &sent, &join(follower)?),
    }
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

/// Moves the progress bar until all is done; Ctrl-C ends it early, with a report of what there is.
async fn watch(arguments: &Arguments, progress: &Progress, is_done: impl Fn() -> bool) {
    // Draws on standard error, and only if that is a terminal.
    let bar = ProgressBar::new(arguments.requests);
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut is_interrupted = false;
    while !is_done() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = &mut interrupt, if !is_interrupted => {
                is_interrupted = true;
                progress.stop.store(true, Ordering::Relaxed);
            }
        }
        let (sent, answered) = (
            progress.sent.load(Ordering::Relaxed),
            progress.answered.load(Ordering::Relaxed),
        );
        bar.set_position(if arguments.no_wait { sent } else { answered });
        bar.set_message(if arguments.no_wait {
            "sent".to_owned()
        } else {
            format!("answered, {sent} sent")
        });
    }
    bar.finish_and_clear();
}

fn only_sent(arguments: &Arguments, shape: Shape, seed: u64, sent: &Sent) -> anyhow::Result<Status> {
    let elapsed_s = sent.elapsed.as_secs_f64();
    let arrived = sent.requests - sent.failed.min(sent.requests);
    let throughput_per_s = if elapsed_s > 0.0 {
        arrived as f64 / elapsed_s
    } else {
        0.0
    };
    let report = OnlySent {
        shape,
        seed,
        requests: sent.requests,
        failed: sent.failed,
        elapsed_s,
        throughput_per_s,
    };
    let mut out = io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        writeln!(
            out,
            "sent        {} requests in {elapsed_s:.1} s, seed {seed}",
            sent.requests
        )?;
        writeln!(out, "throughput  {throughput_per_s:.0} requests/s")?;
    }
    out.flush()?;
    Ok(complete(sent, arguments.requests))
}

fn report(
    arguments: &Arguments,
    workload: Workload,
    seed: u64,
    sent: &Sent,
    followed: &Followed,
) -> anyhow::Result<Status> {
    // Where nothing was answered there is still the time that it was waited for.
    let elapsed = if followed.latencies.count() > 0 {
        followed.last_answer
    } else {
        sent.elapsed
    };
    let elapsed_s = elapsed.as_secs_f64();
    let shape = workload.shape().clone();
    let report = Report::new(
        shape,
        seed,
        sent.requests,
        elapsed_s,
        &followed.latencies,
        followed.outcomes.clone(),
    );
    let mut out = io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    out.flush()?;
    if followed.surplus > 0 {
        eprintln!(
            "warning: {} answers more than requests: is somebody else sending the same seed?",
            followed.surplus
        );
    }
    if followed.undecodable > 0 {
        eprintln!("warning: {} outcomes could not be decoded", followed.undecodable);
    }
    if report.unanswered > 0 {
        let (unanswered, all, timeout) = (report.unanswered, report.requests, arguments.timeout);
        let names = first_unanswered(workload, &followed.unanswered).join(", ");
        eprintln!(
            "error: {unanswered} of {all} requests had no answer {timeout} s after the last was sent, such as {names}"
        );
        return Ok(Status::NotHeld);
    }
    Ok(complete(sent, arguments.requests))
}

/// Whether everything that was asked for was sent.
fn complete(sent: &Sent, requests: u64) -> Status {
    if let Some(reason) = &sent.failure {
        eprintln!("error: Kafka did not take {} requests: {reason}", sent.failed);
    }
    if sent.requests < requests {
        eprintln!("error: stopped after {} of {requests} requests", sent.requests);
    }
    if sent.failed == 0 && sent.requests == requests {
        Status::Held
    } else {
        Status::NotHeld
    }
}

/// The first requests of the load that are among these: only hashes were kept, but the load can be made again.
fn first_unanswered(workload: Workload, unanswered: &HashSet<u64>) -> Vec<String> {
    let names = workload.filter_map(|planned| {
        let (request, train, date) = match &planned.command {
            Command::Book(request) => (&request.request_id, &request.train_id, request.travel_date),
            Command::Cancel(request) => (&request.request_id, &request.train_id, request.travel_date),
        };
        let key = train_date_key(train, date);
        unanswered
            .contains(&pending::hash(request))
            .then(|| format!("{request} ({key})"))
    });
    names.take(NAMED).collect()
}
