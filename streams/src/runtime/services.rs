//! The services that topologies run on: a log, a ledger store, a sink.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::ledger::{LedgerError, LedgerStore};
use crate::log::Log;
#[cfg(feature = "windows")]
use crate::sink::{Sink, SinkError};

/// Connects to a ledger store; called once for each stream thread, on its own runtime.
pub type ConnectLedgers = Arc<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn LedgerStore>, LedgerError>> + Send + Sync>;
/// Connects to a sink; called once for each stream thread, on its own runtime.
#[cfg(feature = "windows")]
pub type ConnectSink = Arc<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Sink>, SinkError>> + Send + Sync>;

/// The services that topologies run on.
#[derive(Clone)]
#[allow(missing_docs, reason = "plain fields")]
pub struct Services {
    pub log: Arc<dyn Log>,
    /// The ledger store, for topologies with ledgers.
    pub ledgers: Option<ConnectLedgers>,
    /// The sink, for topologies with windows.
    #[cfg(feature = "windows")]
    pub sink: Option<ConnectSink>,
}

impl Services {
    /// Uses services of this process, which all stream threads share.
    #[cfg(feature = "windows")]
    pub fn shared(log: Arc<dyn Log>, ledgers: Arc<dyn LedgerStore>, sink: Arc<dyn Sink>) -> Self {
        Self {
            log,
            ledgers: Some(Arc::new(move || Box::pin(std::future::ready(Ok(ledgers.clone()))))),
            sink: Some(Arc::new(move || Box::pin(std::future::ready(Ok(sink.clone()))))),
        }
    }
}
