//! Reads train-dates from the ledger store.
//!
//! A ledger may lack decisions: Redis lost it, or a repartitioning gave it keys, and no worker has rebuilt it yet. An
//! answer from such a ledger would show booked seats as free. Each answer is therefore compared with the committed
//! offsets of the workers' group, which tell up to where a ledger must reach. A train-date is also compared with the
//! ledger's index, because a part of a ledger may be lost by itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use interlock_inventory::TrainDate;
use interlock_schemas::topics::BOOKING_REQUESTS;
use interlock_streams::ledger::{LedgerStore, Reading, read_document};
use interlock_streams::log::murmur2::partition_for_key;
use interlock_streams::log::{CommittedOffset, Log};
use interlock_streams::record::TopicPartition;
use interlock_streams::runtime::{OffsetMetadata, holds_committed};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::problem::Problem;

/// Time for which the positions are cached: a repartitioning changes their number while the gateway runs.
const POSITIONS_INTERVAL: Duration = Duration::from_secs(1);

/// Read access to the ledgers of an installation.
pub(crate) struct Ledgers {
    store: Arc<dyn LedgerStore>,
    log: Arc<dyn Log>,
    group: String,
    positions: Mutex<Option<Positions>>,
}

/// The offsets that the workers' group has committed.
struct Positions {
    /// One for each ledger.
    committed: Vec<Arc<Position>>,
    read_at: Instant,
}

/// The group's committed offset of one partition.
#[derive(Default)]
struct Position {
    offset: i64,
    metadata: OffsetMetadata,
}

impl Ledgers {
    /// Reads nothing yet. `group` is the workers' group.
    pub(crate) fn new(store: Arc<dyn LedgerStore>, log: Arc<dyn Log>, group: String) -> Self {
        Self {
            store,
            log,
            group,
            positions: Mutex::default(),
        }
    }

    /// Reads the present state of a train-date. An unknown train-date has no plan.
    pub(crate) async fn train_date(&self, key: &str) -> Result<TrainDate, Problem> {
        let name = Bytes::copy_from_slice(key.as_bytes());
        let mut refusal = String::new();
        // A ledger forgets its past up to a commit, so it may not be comparable with a position that was cached.
        for age_max in [POSITIONS_INTERVAL, Duration::ZERO] {
            let (ledger, position) = self.home(key, age_max).await?;
            let Reading { state, fields } = read_document(&*self.store, ledger, &name).await?;
            refusal = match state.rebuilding {
                true => format!("ledger {ledger} is being rebuilt from its events; ask again"),
                // A ledger that was never acquired may be a lost one, so that the position must be the present one.
                false
                    if holds_committed(&state, position.offset, &position.metadata)
                        && (state.epoch > 0 || age_max.is_zero()) =>
                {
                    match fields {
                        Ok(fields) => {
                            let read = TrainDate::from_fields(key, fields);
                            return read.map_err(|error| Problem::internal(error.to_string()));
                        }
                        Err(loss) => format!(
                            "ledger {ledger}: the document of this train-date {loss} and can't be read until a worker has \
                             rebuilt the ledger; ask again"
                        ),
                    }
                }
                false => {
                    format!("ledger {ledger} lacks what was decided until a worker has rebuilt it; ask again")
                }
            };
        }
        Err(Problem::unavailable(refusal))
    }

    /// Returns the ledger of a train-date and what it must contain, as it was known at most `age_max` ago.
    async fn home(&self, key: &str, age_max: Duration) -> Result<(i32, Arc<Position>), Problem> {
        let mut known = self.positions.lock().await;
        let positions = match known.take() {
            Some(positions) if positions.read_at.elapsed() < age_max => positions,
            _ => self.read_positions().await?,
        };
        let positions = known.insert(positions);
        let ledger = partition_for_key(key.as_bytes(), positions.committed.len() as i32);
        let position = positions.committed.get(ledger as usize).cloned();
        Ok((ledger, position.unwrap_or_default()))
    }

    async fn read_positions(&self) -> Result<Positions, Problem> {
        let read_at = Instant::now();
        let missing = || Problem::unavailable(format!("there is no topic {BOOKING_REQUESTS}; run `interlock seed`"));
        let partitions = self.log.partitions(BOOKING_REQUESTS).await?.ok_or_else(missing)?;
        let sources = TopicPartition::all(BOOKING_REQUESTS, partitions);
        let committed = self.log.committed_unstable(&self.group, &sources).await?;
        let committed = committed.into_iter().map(position);
        let committed: Vec<Arc<Position>> = committed.collect::<Result<_, Problem>>()?;
        let layouts = committed.iter().find_map(|position| position.metadata.layouts.as_ref());
        if let Some(layouts) = layouts.filter(|layouts| layouts.ledgers != partitions) {
            return Err(Problem::unavailable(format!(
                "{BOOKING_REQUESTS} has {partitions} partitions, and {} ledgers are laid out: `interlock replay \
                 --repartition {partitions}` is under way or was interrupted",
                layouts.ledgers
            )));
        }
        Ok(Positions { committed, read_at })
    }
}

fn position(committed: Option<CommittedOffset>) -> Result<Arc<Position>, Problem> {
    let Some(CommittedOffset { offset, metadata }) = committed else {
        return Ok(Arc::default());
    };
    let metadata = metadata.parse();
    let metadata = metadata.map_err(|error| Problem::unavailable(format!("{error}; the ledgers can't be compared")))?;
    Ok(Arc::new(Position { offset, metadata }))
}
