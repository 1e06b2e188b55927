//! Runs topologies: stream threads, tasks, and the protocol that makes ledgers, log and sinks move together.
//!
//! A stream thread (`thread`) is an OS thread with a current-thread tokio runtime, its own consumer and its own
//! transactional producer (KIP-447); stream threads share no lock. Its tasks
//! process the records: `transactional` tasks write to the log and may keep ledgers, `sinking` tasks write windows to a
//! database.
//!
//! The ledger protocol, clause by clause:
//!
//! | clause | where |
//! | --- | --- |
//! | acquire, fence, read | `acquire` |
//! | settle, sign the offset, send again | `task::transactional` |
//! | compare | `compare`, `metadata`, [`Lineage`](crate::ledger::Lineage) |
//! | the entries of a ledger's log | `entry` |
//! | rebuild | `rebuild`, `history` |
//! | repartition | `layout`, `repartition` |
//! | restore offsets | `restore` |
//! | decide, commit to the ledger, lost replies, trim | `task`, `task::rounds`, `task::session` |
//! | send, commit, revoke, back off, idle check | `thread` |

mod acquire;
mod checks;
mod compare;
mod config;
mod entry;
mod error;
mod globals;
mod health;
mod history;
mod layout;
mod metadata;
mod operator;
mod pause;
mod rebuild;
mod repartition;
mod restore;
mod services;
mod start;
pub(crate) mod task;
mod thread;

pub use compare::holds_committed;
pub use config::{RuntimeConfig, TokenSource, group_name};
pub use entry::{log_damage, log_entry};
pub use error::{Reason, TaskError};
pub use health::Health;
pub use layout::{Layouts, PastLayout};
pub use metadata::{ForeignMetadata, OffsetMetadata};
pub use operator::RepartitionError;
pub use repartition::{HeldLedgers, Repartition};
pub use restore::{RestoredOffset, restore_offsets};
#[cfg(feature = "windows")]
pub use services::ConnectSink;
pub use services::{ConnectLedgers, Services};
#[doc(hidden)]
pub use start::run_here;
pub use start::{StreamThreads, start};
