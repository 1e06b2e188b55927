//! Keeps a topology's global tables up to date in a thread of their own.

use std::sync::Arc;

use tokio::sync::watch;

use super::error::TaskError;
use super::health::Health;
use super::pause::Pause;
use crate::dsl::topology::Topology;
use crate::log::Log;

/// Follows the global tables of a topology until shutdown; sends `true` when all have been read to their end.
pub(crate) async fn follow_globals(
    topology: Arc<Topology>,
    log: Arc<dyn Log>,
    ready: watch::Sender<bool>,
    health: Health,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), TaskError> {
    if topology.globals.is_empty() {
        return Ok(());
    }
    let tables = topology.globals.iter().map(|global| {
        let (log, health) = (log.clone(), health.clone());
        let what = format!("{}-{}", topology.name(), global.topic());
        let (caught_up, state) = watch::channel(false);
        let mut caught_up_again = caught_up.subscribe();
        let shutdown = shutdown.clone();
        let follow = async move {
            let mut pause = Pause::new(&what, &health, shutdown);
            loop {
                let follow = global.follow(&*log, caught_up.clone());
                tokio::pin!(follow);
                let error = loop {
                    tokio::select! {
                        biased;
                        Err(error) = &mut follow => break error,
                        Ok(()) = caught_up_again.changed() => pause.over(),
                    }
                };
                if let Err(fatal) = pause.after(error.into()).await {
                    return fatal;
                }
            }
        };
        (follow, state)
    });
    let (follows, mut states): (Vec<_>, Vec<_>) = tables.unzip();
    let all_ready = async {
        for state in &mut states {
            if state.wait_for(|ready| *ready).await.is_err() {
                return;
            }
        }
        ready.send_replace(true);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        _ = shutdown.wait_for(|stop| *stop) => Ok(()),
        (fatal, ..) = futures::future::select_all(follows.into_iter().map(Box::pin)) => Err(fatal),
        () = all_ready => Ok(()),
    }
}
