//! Settings of the runtime, each with its unit and its reason.

use std::sync::Arc;
use std::time::Duration;

use crate::ledger::Token;

/// Makes a fresh token for each acquisition. Random in production, seeded in a simulation.
pub type TokenSource = Arc<dyn Fn() -> Token + Send + Sync>;

/// How an application runs its topologies.
#[derive(Clone)]
pub struct RuntimeConfig {
    /// First part of the consumer groups' names and of the `transactional.id`s.
    pub application_id: String,
    /// Tells this process from the others of the application; part of its `transactional.id`s. The same identity after a
    /// restart lets the new process fence the old one at once.
    pub instance_id: String,
    /// Join the group as a static member (KIP-345): a restart within the session time-out moves no partition.
    pub static_membership: bool,
    /// Stream threads of each topology.
    pub threads: usize,
    /// While there is a backlog, results become visible after this time at the latest. With none they do at once.
    pub commit_interval: Duration,
    /// Windows are written to the sink after this time: one upsert for all that a window's row gained meanwhile.
    pub sink_interval: Duration,
    /// Input records that a transaction holds at most.
    pub commit_records_max: usize,
    /// Input records processed in one round at most: bounds the memory and the store's pause for one commit.
    pub batch_records_max: usize,
    /// How often an idle worker looks whether its ledgers are still as it left them.
    pub check_interval: Duration,
    /// First and longest pause after trouble; doubles in between.
    pub backoff: (Duration, Duration),
    /// Makes tokens.
    pub tokens: TokenSource,
}

impl RuntimeConfig {
    /// The defaults, for an application and one of its processes.
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

    /// Name of a topology's consumer group.
    pub fn group(&self, topology: &str) -> String {
        format!("{}-{topology}", self.application_id)
    }

    pub(crate) fn member(&self, topology: &str, thread: usize) -> String {
        format!("{}-{topology}-{}-{thread}", self.application_id, self.instance_id)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the default in production; a simulation sets its own"
)]
fn random_token() -> Token {
    Token(format!("{:016x}", rand::random::<u64>()))
}
