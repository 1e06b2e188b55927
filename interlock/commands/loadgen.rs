//! `interlock loadgen`: sends a load through Kafka and measures how long the outcomes take.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::Local;
use interlock_loadgen::run::{Inlet, Load, Pace, Sent};
use interlock_loadgen::{Profile, Shape, Workload, running_from};
use interlock_operate::{plans, topics};
use interlock_schemas::Encoder;
use interlock_schemas::registry::{Registry, register_all};
use interlock_schemas::topics::contract;
use serde::Serialize;

use super::print::{self, COLUMNS};
use crate::cli::Loadgen as Arguments;
use crate::config::{Config, PATIENCE};
use crate::load::kafka::{KafkaInlet, KafkaOutlet};
use crate::{Status, load, services};

/// The result of `--no-wait`.
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
        Ok(plans::read(&*log, registry.clone(), crate::warn).await?)
    });
    let plans: Vec<_> = plans.await?.into_values().collect();
    // Today's trains may have left.
    let plans = running_from(&plans, Local::now().date_naive().to_epoch_days() + 1);
    let seed = arguments.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let profile = Profile::named(&arguments.profile)?;
    let workload = Workload::new(&profile, &plans, arguments.requests, arguments.rate, seed)?;
    let shape = format!("{}, seed {seed}", workload.shape());
    eprintln!("{}", print::wrapped("load  ", COLUMNS, &shape));

    let kafka = services::kafka(config);
    let inlet: Option<Box<dyn Inlet>> = match arguments.no_wait {
        true => None,
        // It has to start before the first request is sent.
        false => Some(Box::new(KafkaInlet::at_end(&kafka, &log).await?)),
    };
    let timeout = Duration::from_secs(arguments.timeout);
    let load = Load {
        workload: workload.clone(),
        encoder: Encoder::new(ids),
        registry,
        sent_before: 0,
        pace: Pace::Intended,
        timeout,
    };
    let outlet = Box::new(KafkaOutlet::connect(&kafka).await?);
    let interrupt = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    let measured = load::run(load, outlet, inlet, interrupt).await?;
    match measured.report(&workload, seed) {
        Some(report) => print::report(&report, arguments.json)?,
        None => {
            let sent = OnlySent::new(workload.shape().clone(), seed, &measured.sent);
            print::report(&sent, arguments.json)?;
        }
    }
    Ok(match load::succeeded(&measured, &workload, timeout) {
        true => Status::Held,
        false => Status::NotHeld,
    })
}

impl OnlySent {
    fn new(shape: Shape, seed: u64, sent: &Sent) -> Self {
        let elapsed_s = sent.elapsed.as_secs_f64();
        let arrived = sent.requests - sent.refused.count.min(sent.requests);
        Self {
            shape,
            seed,
            requests: sent.requests,
            failed: sent.refused.count,
            elapsed_s,
            throughput_per_s: if elapsed_s > 0.0 {
                arrived as f64 / elapsed_s
            } else {
                0.0
            },
        }
    }
}

impl fmt::Display for OnlySent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, elapsed_s, seed) = (self.requests, self.elapsed_s, self.seed);
        writeln!(f, "sent        {requests} requests in {elapsed_s:.1} s, seed {seed}")?;
        writeln!(f, "throughput  {:.0} requests/s", self.throughput_per_s)
    }
}
