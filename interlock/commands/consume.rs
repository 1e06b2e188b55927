//! `interlock consume`: prints a topic as JSON lines.

use std::io::{self, Write as _};

use crate::Status;
use crate::cli::Consume as Arguments;
use crate::config::Config;
use crate::services;
use crate::topic_access::TopicAccess;

/// Prints records until the end of the topic or the limit; with `--follow`, without end.
pub(crate) fn call(arguments: &Arguments, config: &Config) -> anyhow::Result<Status> {
    services::block_on(print(arguments, config))??;
    Ok(Status::Held)
}

async fn print(arguments: &Arguments, config: &Config) -> anyhow::Result<()> {
    let access = TopicAccess::open(arguments.url.as_deref(), config, false).await?;
    let mut lines = access.read(arguments).await?;
    let mut out = io::stdout().lock();
    while let Some(text) = lines.next().await? {
        out.write_all(&text)?;
        out.flush()?;
    }
    Ok(())
}
