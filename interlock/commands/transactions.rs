//! `interlock transactions`: what is open on the brokers and holds readers back, and its end.

use std::sync::Arc;

use anyhow::Context as _;
use interlock_schemas::topics::{TOPICS, dlq};
use interlock_streams::log::Log as _;
use interlock_streams::log::kafka::KafkaLog;

use crate::Status;
use crate::cli::{Transactions as Arguments, TransactionsAbort, TransactionsAction, TransactionsList};
use crate::commands::print;
use crate::config::{Config, PATIENCE};
use crate::services::{self, patiently, say_waiting};
use crate::transactions::{End, Open, end};

/// Where transactions commit their offsets.
const OFFSETS: &str = "__consumer_offsets";

/// Does what is asked for.
pub(crate) fn call(arguments: &Arguments, config: &Config) -> anyhow::Result<Status> {
    services::block_on(async {
        match &arguments.action {
            TransactionsAction::List(arguments) => list(arguments, config).await,
            TransactionsAction::Abort(arguments) => abort(arguments, config).await,
        }
    })??;
    Ok(Status::Held)
}

async fn list(arguments: &TransactionsList, config: &Config) -> anyhow::Result<()> {
    let (_, open) = ask(config).await?;
    Ok(print::lines(&open, arguments.json)?)
}

async fn abort(arguments: &TransactionsAbort, config: &Config) -> anyhow::Result<()> {
    let (log, open) = ask(config).await?;
    let name = &arguments.name;
    let found = open.iter().find(|open| open.name() == *name);
    let open = found.with_context(|| format!("{name} is not open; `interlock transactions list` shows what is"))?;
    match end(open, &config.application.id, arguments.foreign)? {
        End::Fence(transactional_id) => {
            // What it left open is aborted before this returns; if it lives, it takes a new producer and starts over.
            drop(log.producer(transactional_id).await?);
            eprintln!("{transactional_id} is fenced, and what it had open is ended");
        }
        End::Mark => {
            log.abort_hanging(&open.transaction).await?;
            eprintln!("{name} is marked as aborted");
        }
    }
    Ok(())
}

async fn ask(config: &Config) -> anyhow::Result<(Arc<KafkaLog>, Vec<Open>)> {
    let log = services::log_once_up(config).await?;
    let topics = TOPICS.iter().flat_map(|(topic, _)| [(*topic).to_owned(), dlq(topic)]);
    let topics: Vec<String> = topics.chain([OFFSETS.to_owned()]).collect();
    let mut open = Vec::new();
    let asked = async || Ok(log.open_transactions(&topics).await?);
    for transaction in patiently(Some(PATIENCE), say_waiting, asked).await? {
        let (_, high) = log.watermarks(&transaction.partition).await?;
        open.push(Open { transaction, high });
    }
    Ok((log, open))
}
