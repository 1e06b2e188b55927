//! Tests the site that `interlock dev` serves: its hints, pasted into a shell, do what they state.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use interlock_tests::real::{PATIENCE, Process, binary, wait_for};

/// `curl` as pasted, but quiet, and repeated until there is an answer; a repeated request gets the same answer.
const CURL: &str = r#"
set -e
curl() {
  for _ in $(seq 100); do
    command curl --silent --show-error --fail "$@" && return
    sleep 0.1
  done
  return 1
}
"#;

fn dev(folder: &std::path::Path, listen: &str) -> Result<Process> {
    let mut command = Command::new(binary()?);
    command
        .args(["dev", "--requests", "1000", "--listen", listen])
        .current_dir(folder)
        .stdin(Stdio::null());
    Process::start(&mut command, folder, &format!("dev-{}", listen.replace(':', "-")))
}

#[tokio::test]
async fn what_to_try_next_can_be_pasted() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dev = dev(folder.path(), "127.0.0.1:0")?;
    let hints = wait_for("it says what to try next", PATIENCE, async || {
        let log = dev.log();
        let hints = log.split_once("What to try next:").map(|(_, hints)| hints.to_owned());
        Ok(hints.filter(|hints| hints.contains("?limit=2'")))
    });
    let hints = hints.await.with_context(|| dev.tail())?;
    let pasted = Command::new("bash").args(["-c", &format!("{CURL}{hints}")]).output()?;
    let answers = String::from_utf8_lossy(&pasted.stdout).into_owned();
    ensure!(
        pasted.status.success(),
        "{hints}\n{answers}\n{}",
        String::from_utf8_lossy(&pasted.stderr)
    );
    for part in [
        r#""available":"#,
        r#""offset":"#,
        r#""outcome":"booking""#,
        r#""interlock.BookingConfirmed""#,
    ] {
        ensure!(answers.contains(part), "no {part} in {answers}");
    }

    let log = dev.log();
    let (_, address) = log.split_once("live on http://").context("where it is live")?;
    let address = address.split('/').next().unwrap_or_default();
    let second = self::dev(folder.path(), address)?.finish(PATIENCE).await?;
    ensure!(second.status == Some(1), "{:?}: {}", second.status, second.error);
    ensure!(
        second.error.contains("by --listen") && second.error.lines().count() == 1,
        "{}",
        second.error
    );

    dev.signal("TERM")?;
    let ended = dev.finish(PATIENCE).await?;
    ensure!(ended.status == Some(0), "{:?}: {}", ended.status, ended.error);
    Ok(())
}
