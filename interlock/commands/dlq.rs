//! `interlock dlq`: lists and shows dead letters, and sends them again, corrected if necessary.

mod show;

use std::fs;
use std::io::{self, Write as _};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use interlock_gateway::json_log::JsonLog;
use interlock_operate::dead_letters::{Choice, DeadLetters, Mended, Order, Resent, resend};
use interlock_schemas::registry::Ids;
use interlock_streams::log::Log;
use serde_json::json;

use self::show::{Listed, Shown};
use crate::Status;
use crate::cli::{Dlq as Arguments, DlqAction, DlqList, DlqReplay, DlqShow};
use crate::commands::print;
use crate::config::Config;
use crate::services;

/// Executes the requested action.
pub(crate) fn call(arguments: &Arguments, config: &Config) -> anyhow::Result<Status> {
    services::block_on(async {
        match &arguments.action {
            DlqAction::List(arguments) => list(arguments, config).await,
            DlqAction::Show(arguments) => show(arguments, config).await,
            DlqAction::Replay(arguments) => replay(arguments, config).await,
        }
    })??;
    Ok(Status::Held)
}

async fn open(topic: &str, config: &Config) -> anyhow::Result<DeadLetters> {
    Ok(DeadLetters::open(services::log_once_up(config).await?, topic).await?)
}

async fn list(arguments: &DlqList, config: &Config) -> anyhow::Result<()> {
    let letters = open(&arguments.topic, config).await?;
    let lines: Vec<Listed> = letters
        .list(arguments.limit)
        .await?
        .into_iter()
        .map(Listed::of)
        .collect();
    Ok(print::lines(&lines, arguments.json)?)
}

async fn show(arguments: &DlqShow, config: &Config) -> anyhow::Result<()> {
    let letter = open(&arguments.topic, config).await?.find(arguments.place).await?;
    // Nothing is written, so no schema has to be registered.
    let log: Arc<dyn Log> = services::log(config)?;
    let topics = JsonLog::new(log, Arc::new(services::registry(config)?), Ids::default());
    let shown = Shown::new(&letter, &topics).await;
    Ok(print::report(&shown, arguments.json)?)
}

async fn replay(arguments: &DlqReplay, config: &Config) -> anyhow::Result<()> {
    if arguments.value.is_some() && arguments.places.len() > 1 {
        bail!("--value: a corrected record takes the place of one letter's; name one");
    }
    let letters = open(&arguments.topic, config).await?;
    let order = Order {
        choice: match arguments.all {
            true => Choice::All(arguments.reason.clone()),
            false => Choice::These(arguments.places.clone()),
        },
        mended: match &arguments.value {
            Some(file) => Some(mended(&letters, file, config).await?),
            None => None,
        },
        again: arguments.again,
    };
    // The id is the same for all callers, so that the second of two ends the first.
    let transactional_id = format!("{}-dlq-replay", config.application.id);
    let mut sent = 0_u64;
    let tell = |Resent { place, to }| {
        sent += 1;
        let (partition, offset, topic) = (place.partition, place.offset, letters.source_topic());
        let line = json!({ "partition": partition, "offset": offset, "topic": topic, "to_partition": to });
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    };
    let result = resend(&letters, &transactional_id, &order, tell).await;
    eprintln!("sent again: {sent}");
    Ok(result?)
}

/// Reads the corrected record from this file.
async fn mended(letters: &DeadLetters, file: &std::path::Path, config: &Config) -> anyhow::Result<Mended> {
    let named = || format!("--value {}", file.display());
    let text = fs::read_to_string(file).with_context(named)?;
    let record = serde_json::from_str(&text).with_context(named)?;
    let topics = services::json_topics(config, true).await?;
    let mut encoded = topics
        .encode(letters.source_topic(), std::slice::from_ref(&record))
        .with_context(named)?;
    let encoded = encoded.pop().with_context(named)?;
    Ok(Mended {
        key: encoded.key,
        value: encoded.value,
    })
}
