//! The clients that a load runs through, its progress bar, and its problems on standard error.

#[cfg(feature = "servers")]
pub(crate) mod kafka;

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use interlock_loadgen::Workload;
use interlock_loadgen::run::{self, Inlet, Load, Measured, Outlet};

/// Runs a load, with a progress bar if standard error is a terminal.
pub(crate) async fn run(
    load: Load,
    outlet: Box<dyn Outlet>,
    inlet: Option<Box<dyn Inlet>>,
    interrupt: impl Future<Output = ()>,
) -> anyhow::Result<Measured> {
    let bar = ProgressBar::new(load.workload.shape().requests);
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let follows = inlet.is_some();
    let watch = |progress: run::Progress| {
        if let Some(trouble) = progress.trouble {
            bar.suspend(|| eprintln!("warning: {trouble}"));
        }
        match follows {
            true => {
                bar.set_position(progress.answered);
                bar.set_message(format!("answered, {} sent", progress.sent));
            }
            false => {
                bar.set_position(progress.sent);
                bar.set_message("sent");
            }
        }
    };
    let measured = run::run(load, outlet, inlet, watch, interrupt).await;
    bar.finish_and_clear();
    Ok(measured?)
}

/// Prints a run's problems on standard error; returns whether it succeeded.
pub(crate) fn succeeded(measured: &Measured, workload: &Workload, timeout: Duration) -> bool {
    let problems = measured.problems(workload, timeout);
    for problem in &problems {
        let severity = if problem.is_failure() { "error" } else { "warning" };
        eprintln!("{severity}: {problem}");
    }
    !problems.iter().any(run::Problem::is_failure)
}
