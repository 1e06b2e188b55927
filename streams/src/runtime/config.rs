//! Settings of the runtime, each with unit and reason.

use std::sync::Arc;
use std::time::Duration;

use crate::ledger::Token;

/// Makes a fresh token for each acquisition. Random in production, seeded in a simulation.
pub type TokenSource = Arc<dyn Fn() -> Token + Send + Sync>;

/// Settings with which an application runs its topologies.
#[derive(Clone)]
pub struct RuntimeConfig {
    /// First part of the consumer groups' names and of the `transactional.id`s.
    pub application_id: String,
    /// Identity of this process within the application; part of its `transactional.id`s. With the same identity after a
    /// restart, the new process fences the old one at once.
    pub instance_id: String,
    /// True to join the group as a static member (KIP-345): a restart within the session time-out then moves no
    /// partition.
    pub static_membership: bool,
    /// Number of stream threads of each topology.
    pub threads: usize,
    /// Longest time until results become visible under a backlog. Without one, they are visible at once.
    pub commit_interval: Duration,
    /// Interval of writes to the sink: one upsert covers everything that a window's row has gained in this time.
    pub sink_interval: Duration,
    /// Most input records in a transaction.
    pub commit_records_max: usize,
    /// Most input records in one round; bounds the memory, and the store's pause for one commit.
    pub batch_records_max: usize,
    /// Interval at which an idle worker checks that its ledgers are unchanged.
    pub check_interval: Duration,
    /// First and longest pause after an error; the pause doubles in between.
    pub backoff: (Duration, Duration),
    /// Makes tokens.
    pub tokens: TokenSource,
}

impl RuntimeConfig {
    /// Creates the default settings for a process of an application.
    pub fn new(application_id: impl Into<String>, instance_id: impl Into<String>) -> Self {
        Self {
            application_id: application_id.into(),
            instance_id: instance_id.into(),
            static_membership: false,
            threads: 1,
            commit_interval: Duration::from_millis(100),
            sink_interval: Duration::from_millis(500),
            commit_records_max: 20_000,
            batch_records_max: 2_000,
            check_interval: Duration::from_secs(1),
            backoff: (Duration::from_millis(50), Duration::from_secs(2)),
            tokens: Arc::new(random_token),
        }
    }

    /// Returns the name of a topology's consumer group.
    pub fn group(&self, topology: &str) -> String {
        group_name(&self.application_id, topology)
    }

    pub(crate) fn member(&self, topology: &str, thread: usize) -> String {
        format!("{}-{topology}-{}-{thread}", self.application_id, self.instance_id)
    }
}

/// Returns the name of the consumer group of an application's topology.
pub fn group_name(application_id: &str, topology: &str) -> String {
    format!("{application_id}-{topology}")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the default in production; a simulation sets its own"
)]
fn random_token() -> Token {
    Token(format!("{:016x}", rand::random::<u64>()))
}
