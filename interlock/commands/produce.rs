//! `interlock produce`: JSON lines into a topic.

use std::io::{self, BufRead, BufReader, IsTerminal as _, Write as _};

use anyhow::Context as _;
use serde_json::Value;

use crate::Status;
use crate::cli::Produce as Arguments;
use crate::config::Config;
use crate::services;
use crate::topic_access::TopicAccess;

/// Largest number of records that are sent at once.
const RECORDS_PER_APPEND: usize = 500;

/// Appends what is given, or what standard input says.
pub(crate) fn call(arguments: &Arguments, config: &Config) -> anyhow::Result<Status> {
    services::block_on(append(arguments, config))??;
    Ok(Status::Held)
}

async fn append(arguments: &Arguments, config: &Config) -> anyhow::Result<()> {
    let access = TopicAccess::open(arguments.url.as_deref(), config, true).await?;
    let mut producer = Producer {
        access,
        arguments,
        sent: 0,
        waiting: Vec::new(),
    };
    if !arguments.records.is_empty() {
        for record in &arguments.records {
            producer.add(record)?;
        }
        return producer.send().await;
    }
    if io::stdin().is_terminal() {
        eprintln!("reading records from standard input, one on each line; Ctrl-D ends it");
    }
    let mut input = BufReader::new(io::stdin());
    let mut line = String::new();
    while input.read_line(&mut line).context("standard input")? > 0 {
        if !line.trim().is_empty() {
            producer.add(&line)?;
        }
        line.clear();
        // Records that have arrived are sent together, without waiting for more.
        if !input.buffer().contains(&b'\n') || producer.waiting.len() == RECORDS_PER_APPEND {
            producer.send().await?;
        }
    }
    producer.send().await?;
    if producer.sent == 0 {
        eprintln!("nothing was sent: standard input has no records");
    }
    Ok(())
}

struct Producer<'a> {
    access: TopicAccess,
    arguments: &'a Arguments,
    sent: usize,
    waiting: Vec<Value>,
}

impl Producer<'_> {
    fn add(&mut self, text: &str) -> anyhow::Result<()> {
        let number = self.sent + self.waiting.len();
        let sent = self.sent;
        let record =
            serde_json::from_str(text).with_context(|| format!("record {number} is no JSON ({sent} were sent)"))?;
        self.waiting.push(record);
        Ok(())
    }

    async fn send(&mut self) -> anyhow::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let Arguments { topic, key, .. } = self.arguments;
        let appended = self.access.append(topic, key.as_deref(), &self.waiting).await;
        let appended = appended.with_context(|| match self.sent {
            0 => "nothing was sent".to_owned(),
            sent => format!("{sent} records were sent; of those that follow"),
        })?;
        self.sent += self.waiting.len();
        self.waiting.clear();
        let mut out = io::stdout().lock();
        for place in appended {
            serde_json::to_writer(&mut out, &place).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        Ok(out.flush()?)
    }
}
