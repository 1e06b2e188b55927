//! Log lines on standard error.

use anyhow::{Context as _, anyhow};

use crate::config::{Log, LogFormat};

/// Writes log lines to standard error from now on.
pub(crate) fn log_to_stderr(log: &Log) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&log.filter).with_context(|| {
        format!(
            "log.filter: `{}` is not a filter such as info,interlock_streams=debug",
            log.filter
        )
    })?;
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal);
    let started = match log.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow!("log lines can't be written: {error}"))
}
