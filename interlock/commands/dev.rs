//! `interlock dev`: everything in one process, a demonstration, and whether all held.

mod folder;
mod opening;
mod site;
mod summary;
mod table;

use std::num::NonZero;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use interlock_audit::{Audit, AuditOptions, AuditReport, Tables};
use interlock_loadgen::run::{Load, LogInlet, LogOutlet, Measured, Pace, sent};
use interlock_loadgen::{Profile, Workload, running_from};
use interlock_operate::plans;
use interlock_schemas::Encoder;
use interlock_sinks::sqlite::SqliteSink;
use interlock_streams::log::memory::{MemoryLog, MemoryLogConfig};
use interlock_timetable::DEMONSTRATION;

use self::folder::Folder;
use self::opening::Opening;
use self::summary::Summary;
use crate::cli::Dev as Arguments;
use crate::commands::print;
use crate::config::{Log, LogFormat};
use crate::embedded::{APPLICATION, Embedded, LEDGERS, Workers};
use crate::log_lines::log_to_stderr;
use crate::stop::Stop;
use crate::{Status, complain, load};

/// Most requests that wait for an answer if there is no rate: enough to keep the stream threads busy during commits.
const WAITING_MAX: u64 = 20_000;
/// The log, in memory and in the folder, takes no new requests beyond this.
const LOG_BYTES_MAX: usize = 2 << 30;
/// Ledgers in memory are rebuilt at every start, which elsewhere deserves a warning.
const LOG_FILTER: &str = "warn,interlock_streams::runtime::rebuild=error";
/// Longest wait for outcomes, and then for the window tables.
const PATIENCE: Duration = Duration::from_secs(60);
/// Interval between checks whether a stream thread has ended by itself.
const THREAD_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Demonstrates, and stays up unless it is to end.
pub(crate) fn call(arguments: &Arguments) -> anyhow::Result<Status> {
    let born = Instant::now();
    log_to_stderr(&Log {
        filter: LOG_FILTER.to_owned(),
        format: LogFormat::Text,
    })?;
    let (folder, opening) = match begin(arguments) {
        Ok(begun) => begun,
        Err(error) => {
            complain(&error);
            return Ok(Status::Unknown);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime
        .context("no asynchronous runtime")?
        .block_on(dev(arguments, folder, opening, born))
}

/// Returns the folder of `--data-dir`, and a new opening or the one that was begun in the folder.
///
/// # Errors
/// Arguments that can't be used, which end the program with status 2.
fn begin(arguments: &Arguments) -> anyhow::Result<(Option<Folder>, Opening)> {
    let Some(path) = &arguments.data_dir else {
        return Ok((None, Opening::new(arguments)));
    };
    let folder = Folder::open(path)?;
    let opening = match &folder.opening {
        Some(begun) => {
            begun.check(arguments)?;
            begun.clone()
        }
        None => {
            let opening = Opening::new(arguments);
            folder.begin(&opening)?;
            opening
        }
    };
    Ok((Some(folder), opening))
}

async fn dev(arguments: &Arguments, folder: Option<Folder>, opening: Opening, born: Instant) -> anyhow::Result<Status> {
    let mut stop = Stop::new()?;
    let site = site::listen(arguments).await?;
    let (log, windows) = services(folder.as_ref()).await?;
    let embedded = Embedded::new(log, windows).await?;
    let trains = opening.trains()?;
    if plans::read(&embedded.log, embedded.registry.clone(), crate::warn)
        .await?
        .is_empty()
    {
        plans::write(&embedded.log, embedded.ids, DEMONSTRATION, &trains).await?;
    }
    // The first day's trains may have left.
    let plans = running_from(&trains, opening.from + 1);
    let profile = Profile::named(&opening.profile)?;
    let workload = Workload::new(&profile, &plans, opening.requests, opening.rate, opening.seed)?;
    eprintln!(
        "{}",
        print::wrapped(
            "load  ",
            print::COLUMNS,
            &format!("{}, seed {}", workload.shape(), opening.seed)
        )
    );

    let workers = embedded.start(threads(arguments)?)?;
    let site = match site {
        Some(listener) => Some(site::serve(listener, &embedded, &workers).await?),
        None => None,
    };
    let mut is_stopped = false;
    let interrupt = async {
        tokio::select! {
            () = stop.asked() => is_stopped = true,
            () = ended(&workers) => {}
        }
    };
    let up = born.elapsed();
    let measured = demonstrate(&embedded, &opening, workload.clone(), interrupt).await?;
    let held = load::succeeded(&measured, &workload, PATIENCE);
    if !held {
        for (what, why) in workers.health.troubles() {
            eprintln!("error: {what}: {why}");
        }
    }
    if is_stopped || workers.any_finished() {
        workers.stop().await?;
        return Ok(Status::NotHeld);
    }
    let audit = audit(&embedded).await?;
    let held = held && audit.holds();
    let summary = Summary::new(&opening, &measured, &embedded.windows, audit, up).await?;
    print::report(&summary, arguments.json)?;
    if let Some(address) = site {
        eprintln!("\n{}", site::what_to_try(address, &plans));
        tokio::select! {
            () = stop.asked() => {}
            () = ended(&workers) => {}
        }
    }
    workers.stop().await?;
    Ok(if held { Status::Held } else { Status::NotHeld })
}

/// Stream threads that decide: a core is left for windows and load, and a ledger can't be shared.
fn threads(arguments: &Arguments) -> anyhow::Result<usize> {
    if let Some(threads) = arguments.threads {
        return Ok(usize::try_from(threads)?);
    }
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    Ok(cores.saturating_sub(1).clamp(1, LEDGERS))
}

/// Returns a log and window tables, in memory or in the folder.
async fn services(folder: Option<&Folder>) -> anyhow::Result<(MemoryLog, SqliteSink)> {
    let config = MemoryLogConfig {
        bytes_max: LOG_BYTES_MAX,
        ..MemoryLogConfig::default()
    };
    match folder {
        None => Ok((MemoryLog::with(config), SqliteSink::in_memory().await?)),
        Some(folder) => Ok((folder.log(config)?, folder.windows().await?)),
    }
}

async fn ended(workers: &Workers) {
    while !workers.any_finished() {
        tokio::time::sleep(THREAD_CHECK_INTERVAL).await;
    }
}

/// Sends the opening, and follows what becomes of it.
async fn demonstrate(
    embedded: &Embedded,
    opening: &Opening,
    workload: Workload,
    interrupt: impl Future<Output = ()>,
) -> anyhow::Result<Measured> {
    let name = opening.name();
    let inlet = LogInlet::from_beginning(&embedded.log)
        .await
        .map_err(anyhow::Error::from_boxed)?;
    let outlet = LogOutlet::new(Arc::new(embedded.log.clone()), &name).map_err(anyhow::Error::from_boxed)?;
    let load = Load {
        workload,
        encoder: Encoder::new(embedded.ids),
        registry: embedded.registry.clone(),
        sent_before: sent(&embedded.log, &name).await?,
        pace: match opening.rate {
            Some(_) => Pace::Intended,
            None => Pace::Answered(WAITING_MAX),
        },
        timeout: PATIENCE,
    };
    load::run(load, Box::new(outlet), Some(Box::new(inlet)), interrupt).await
}

/// The same audit as of a real installation; every request must have its answer by now.
async fn audit(embedded: &Embedded) -> anyhow::Result<AuditReport> {
    let options = AuditOptions {
        wait: PATIENCE,
        settled: true,
        violations_max: 10,
        parallel: 4,
    };
    let (log, store) = (Arc::new(embedded.log.clone()), Arc::new(embedded.ledgers.clone()));
    let audit = Audit::new(log, embedded.registry.clone(), store, APPLICATION, options).await?;
    let tables = Tables::sqlite(embedded.windows.connection());
    Ok(audit.run(Some(tables)).await?)
}
