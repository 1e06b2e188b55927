//! The commands of a run: few train-dates of small trains, so that they sell out, passengers wait, and cancellations
//! promote them.

use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use interlock_inventory::command_key;
use interlock_loadgen::{Profile, Workload};
use interlock_schemas::registry::{Ids, MemoryRegistry, Registry, register_all};
use interlock_schemas::{Allocation, Encoder, Layout, PromotionPolicy, Quota, TrainService, topics};
use interlock_streams::record::OutputRecord;

use super::schedule::Schedule;
use crate::plans::sleeper;
use crate::random::Random;

/// Midnight (UTC) of the day on which every simulation begins.
pub(super) const START_MS: i64 = START_DAY as i64 * 86_400_000;
const START_DAY: i32 = 20_758;
/// Largest number of commands in a burst.
const BURST_MAX: u64 = 12;

/// Returns the registered contract, which is the same for all runs.
pub(super) fn contract() -> &'static (Arc<dyn Registry>, Ids) {
    static CONTRACT: OnceLock<(Arc<dyn Registry>, Ids)> = OnceLock::new();
    CONTRACT.get_or_init(|| {
        let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime");
        let ids = runtime.block_on(register_all(&*registry, &topics::contract()));
        (registry, ids.expect("the contract can be registered in memory"))
    })
}

/// Returns the trains of a seed with a version of their plans.
pub(super) fn plans(seed: u64, version: i32) -> Vec<TrainService> {
    let mut random = Random::new(seed, 2);
    let train = |number: u32| {
        let mut plan = sleeper(&format!("1290{number}"), vec![START_DAY + 5, START_DAY + 6]);
        plan.layouts = vec![Layout {
            name: "SL72".into(),
            seats: 8,
            pattern: plan.layouts[0].pattern.clone(),
        }];
        plan.quotas = vec![Quota {
            quota: "TQ".into(),
            travel_class: "SL".into(),
            seats: 4,
        }];
        if random.chance(5_000) {
            plan.allocation = Allocation::FirstFit;
        }
        if random.chance(3_000) {
            plan.promotion = PromotionPolicy::LegStrict;
        }
        plan.version = version.into();
        plan.fares[0].slabs[0].fare_minor += 1_000 * i64::from(version);
        plan
    };
    (0..3).map(train).collect()
}

/// Returns a plan as a record of `train-services`.
pub(super) fn plan_record(plan: &TrainService) -> Result<OutputRecord> {
    let mut value = Vec::new();
    Encoder::new(contract().1).encode(plan, &mut value)?;
    Ok(record(
        topics::TRAIN_SERVICES,
        Some(0),
        plan.train_id.to_string(),
        value,
    ))
}

/// Returns the records of a schedule's second half: new ones, and some of the first half.
pub(super) fn bursts_after_growth(schedule: &Schedule) -> Result<Vec<Vec<OutputRecord>>> {
    let later = Schedule {
        seed: schedule.seed.wrapping_add(1 << 40),
        ..schedule.clone()
    };
    let mut random = Random::new(schedule.seed, 9);
    let mut bursts_later = bursts(&later, schedule.seed)?;
    let repeated = bursts(schedule, schedule.seed)?
        .into_iter()
        .filter(|_| random.chance(2_000));
    bursts_later.extend(repeated);
    Ok(bursts_later)
}

/// Returns the records of a schedule for the trains of a seed, in bursts.
pub(super) fn bursts(schedule: &Schedule, trains: u64) -> Result<Vec<Vec<OutputRecord>>> {
    let mut random = Random::new(schedule.seed, 3);
    let workload = Workload::new(
        &Profile::named("burst")?,
        &plans(trains, 1),
        schedule.commands,
        None,
        schedule.seed,
    )?;
    let encoder = Encoder::new(contract().1);
    let mut bursts = Vec::new();
    let mut burst = Vec::new();
    let mut size = random.between(1, BURST_MAX);
    for planned in workload {
        let mut value = Vec::new();
        encoder.encode(&planned.command, &mut value)?;
        let key = command_key(&planned.command);
        let anywhere = random.below(schedule.partitions as u64) as i32;
        let misplaced = random.chance(schedule.rates.misplaced).then_some(anywhere);
        let mut sent = record(topics::BOOKING_REQUESTS, misplaced, key.to_string(), value);
        if random.chance(schedule.rates.garbage) {
            spoil(&mut sent, &mut random, anywhere).context("nothing to spoil")?;
        }
        burst.push(sent);
        if burst.len() as u64 == size {
            bursts.push(std::mem::take(&mut burst));
            size = random.between(1, BURST_MAX);
        }
    }
    bursts.push(burst);
    Ok(bursts)
}

/// Changes a record so that it can't be decoded.
fn spoil(record: &mut OutputRecord, random: &mut Random, partition: i32) -> Option<()> {
    let value = record.value.clone()?;
    match random.below(4) {
        0 => record.value = None,
        1 => record.value = Some(value.slice(..value.len() / 2)),
        2 => record.value = Some(Bytes::from_static(b"not what was agreed")),
        _ => {
            record.key = None;
            record.partition = Some(partition);
        }
    }
    Some(())
}

fn record(topic: &str, partition: Option<i32>, key: String, value: Vec<u8>) -> OutputRecord {
    OutputRecord {
        topic: topic.into(),
        partition,
        timestamp: None,
        key: Some(key.into()),
        value: Some(value.into()),
        headers: Vec::new(),
    }
}
