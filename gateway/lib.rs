//! Serves topics and ledgers over HTTP, and one live page. `docs/http-api.md` lists the routes.
//!
//! ```text
//!   POST, GET /topics/…  ──> JsonLog ──> the log                     (codec, json: Avro there, JSON here)
//!   GET /trains/…, /bookings/… ──> the ledger of the train-date     (train_date: the state at this moment)
//!   GET /sales, changes of a train-date <── View <── Follower <── the committed events
//! ```
//!
//! The gateway depends only on the traits [`Log`], [`LedgerStore`] and [`Registry`], so it works the same over Kafka
//! and Redis as over in-process parts. It keeps no seats of its own. It reads them from the ledger at each call, so
//! they may be ahead of the events by a transaction that is not committed yet.
//!
//! | file | is |
//! | --- | --- |
//! | `http/` | routes: parse, ask, answer |
//! | `problem` | errors as RFC 9457 bodies |
//! | `json_log` | append, read and follow records; also for the command line |
//! | `codec`, `json/` | one mapping between JSON and Avro, derived from the schemas |
//! | `request_ids` | ids that are used again with another body |
//! | `metric_definitions` | the gateway's metrics |
//! | `observe` | metrics, health and readiness over HTTP, also for workers |
//! | `ledgers` | train-dates from the ledger store |
//! | `train_date` | the JSON form of a train-date |
//! | `follower`, `view` | facts that no ledger holds, kept up to date from the events |
//! | `page/` | the live page |

mod codec;
mod follower;
mod http;
pub mod json;
pub mod json_log;
mod ledgers;
pub mod metric_definitions;
pub mod observe;
mod problem;
mod request_ids;
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
use self::request_ids::RequestIds;

/// Most requests that read topics at the same time: with Kafka, each costs a connection per partition.
const TOPIC_READERS_MAX: usize = 16;

/// The services that a gateway depends on.
pub struct Parts {
    /// The topics.
    pub log: Arc<dyn Log>,
    /// Store of the ledgers.
    pub ledgers: Arc<dyn LedgerStore>,
    /// Registry of the schemas.
    pub registry: Arc<dyn Registry>,
    /// Ids of the contract's schemas.
    pub ids: Ids,
    /// A consumer group of its own, because the gateway reads all events.
    pub group: String,
    /// The group of the workers that decide. Its committed offsets tell what the ledgers must contain.
    pub deciders: String,
    /// Receives the reasons why the gateway is not ready.
    pub health: Health,
}

/// State shared by the routes.
struct Gateway {
    json_log: JsonLog,
    ledgers: Ledgers,
    request_ids: RequestIds,
    followed: Followed,
    topic_readers: Arc<Semaphore>,
}

/// Returns the routes; the topics must exist. Starts to follow the events on the caller's runtime, as long as that
/// lives.
pub async fn router(parts: Parts) -> Result<Router, LogError> {
    if parts.log.partitions(BOOKING_REQUESTS).await?.is_none() {
        return Err(LogError::Fatal {
            action: "open the gateway".to_owned(),
            reason: format!("there is no topic {BOOKING_REQUESTS}; run `interlock seed` first"),
        });
    }
    let Parts {
        log,
        ledgers,
        registry,
        ids,
        group,
        deciders,
        health,
    } = parts;
    let follower = Follower::new(Arc::clone(&log), Arc::clone(&registry), group, health);
    let gateway = Gateway {
        json_log: JsonLog::new(Arc::clone(&log), registry, ids),
        ledgers: Ledgers::new(ledgers, log, deciders),
        request_ids: RequestIds::default(),
        followed: follower.followed(),
        topic_readers: Arc::new(Semaphore::new(TOPIC_READERS_MAX)),
    };
    tokio::spawn(follower.run());
    Ok(http::router(gateway))
}
