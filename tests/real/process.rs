//! Runs child processes with a deadline. Their output goes to files, as a full pipe would stop them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{services, wait_for};

/// Number of lines of a log to show.
const SHOWN: usize = 25;

/// A child process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    out: PathBuf,
    error: PathBuf,
}

/// The result of a child process.
#[derive(Debug)]
pub struct Finished {
    /// Name of the process.
    pub name: String,
    /// The exit status; none if a signal ended the process.
    pub status: Option<i32>,
    /// The standard output.
    pub out: String,
    /// The standard error.
    pub error: String,
}

impl Process {
    /// Starts a command; its output goes to files in this folder.
    pub fn start(command: &mut Command, folder: &Path, name: &str) -> Result<Self> {
        let (out, error) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.log")));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&out).with_context(|| out.display().to_string())?)
            .stderr(File::create(&error).with_context(|| error.display().to_string())?)
            .spawn()
            .with_context(|| format!("{} can't be started", command.get_program().display()))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            out,
            error,
        })
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the standard error so far.
    pub fn log(&self) -> String {
        read(&self.error)
    }

    /// Returns the end of the log, for the message of a failure.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let shown = lines[lines.len().saturating_sub(SHOWN)..].join("\n  ");
        format!("the end of the log of {}:\n  {shown}\n", self.name)
    }

    /// Returns whether the process is still running.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.exit()?.is_none())
    }

    fn exit(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("ask for {}", self.name))
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) -> Result<()> {
        services::signal(self.id(), name).with_context(|| self.name.clone())
    }

    /// Sends SIGKILL and waits until the process is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("kill {}", self.name))?;
        self.child.wait().with_context(|| format!("wait for {}", self.name))?;
        Ok(())
    }

    /// Waits for the end of the process.
    pub async fn finish(mut self, patience: Duration) -> Result<Finished> {
        let what = format!("{} ends", self.name);
        let ended = wait_for(&what, patience, async || self.exit()).await;
        match ended {
            Ok(status) => Ok(Finished {
                name: self.name.clone(),
                status: status.code(),
                out: read(&self.out),
                error: read(&self.error),
            }),
            Err(error) => Err(error.context(self.tail())),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// Returns the output of a command that had to succeed.
    pub fn success(self) -> Result<String> {
        if self.status != Some(0) {
            bail!(
                "{} ended with {:?}:\n{}{}",
                self.name,
                self.status,
                self.out,
                self.error
            );
        }
        Ok(self.out)
    }

    /// Returns the output as JSON, whatever the exit status.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out)
            .with_context(|| format!("{} printed no JSON:\n{}{}", self.name, self.out, self.error))
    }
}

fn read(file: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned()
}
