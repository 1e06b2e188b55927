//! HTTP in front of the topics and the ledgers, and one live page: `docs/http-api.md` lists the routes.
//!
//! ```text
//!   POST, GET /topics/…  ──> JsonLog ──> the log                     (codec, json: Avro there, JSON here)
//!   GET /trains/…, /bookings/… ──> the ledger of the train-date     (train_date: what is decided at this moment)
//!   GET /sales, changes of a train-date <── View <── Follower <── the committed events
//! ```
//!
//! It stands on the engine's seams ([`Log`], [`LedgerStore`], [`Registry`]), so that it is the same in front of Kafka
//! and Redis as over in-process parts. It keeps no seats of its own: those are read from the ledger when asked for, and
//! may be ahead of the events by a transaction that is not committed yet.
//!
//! | file | is |
//! | --- | --- |
//! | `http/` | routes: parse, ask, answer |
//! | `problem` | errors as RFC 9457 bodies |
//! | `json_log` | append, read and follow records; also for the command line |
//! | `codec`, `json/` | one mapping between JSON and Avro, derived from the schemas |
//! | `ledgers` | train-dates from the ledger store |
//! | `train_date` | what of them is shown |
//! | `follower`, `view` | what no ledger can be asked for, and how it is kept up to date |
//! | `page/` | the live page |

mod codec;
mod follower;
mod http;
pub mod json;
pub mod json_log;
mod ledgers;
mod problem;
mod train_date;
mod view;

use std::sync::Arc;

use axum::Router;
use interlock_schemas::registry::{Ids, Registry};
use interlock_schemas::topics::BOOKING_REQUESTS;
use interlock_streams::ledger::LedgerStore;
use interlock_streams::log::{Log, LogError};
use interlock_streams::runtime::Health;
use tokio::sync::Semaphore;

use self::follower::{Followed, Follower};
use self::json_log::JsonLog;
use self::ledgers::Ledgers;

/// Requests that read topics at the same time: of a real log each costs a connection for each partition.
const TOPIC_READERS_MAX: usize = 16;

/// What a gateway stands on.
pub struct Parts {
    /// The topics.
    pub log: Arc<dyn Log>,
    /// Where the ledgers are.
    pub ledgers: Arc<dyn LedgerStore>,
    /// Where schemas are looked up.
    pub registry: Arc<dyn Registry>,
    /// Ids of the contract's schemas.
    pub ids: Ids,
    /// A consumer group that nobody else uses: the gateway reads all events.
    pub group: String,
    /// Where it is said what keeps the gateway from being ready.
    pub health: Health,
}

/// What the routes share.
struct Gateway {
    json_log: JsonLog,
    ledgers: Ledgers,
    followed: Followed,
    topic_readers: Arc<Semaphore>,
}

/// The routes; the topics must exist. Begins to follow the events, on the runtime of the caller, for as long as it
/// lives.
pub async fn router(parts: Parts) -> Result<Router, LogError> {
    let partitions = parts.log.partitions(BOOKING_REQUESTS).await?;
    let partitions = partitions.ok_or_else(|| LogError::Fatal {
        action: "open the gateway".to_owned(),
        reason: format!("there is no topic {BOOKING_REQUESTS}; run `interlock seed` first"),
    })?;
    let Parts {
        log,
        ledgers,
        registry,
        ids,
        group,
        health,
    } = parts;
    let follower = Follower::new(Arc::clone(&log), Arc::clone(&registry), group, health);
    let gateway = Gateway {
        json_log: JsonLog::new(log, registry, ids),
        ledgers: Ledgers::new(ledgers, partitions),
        followed: follower.followed(),
        topic_readers: Arc::new(Semaphore::new(TOPIC_READERS_MAX)),
    };
    tokio::spawn(follower.run());
    Ok(http::router(gateway))
}
