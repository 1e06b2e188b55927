//! Controls for tests, to reach states that a real broker passes through too quickly.

use super::MemoryLog;
use crate::log::CommittedOffset;
use crate::record::TopicPartition;

impl MemoryLog {
    /// Holds back the markers of ending transactions from this partition. Its last stable offset stays, although the
    /// transaction is decided and its offsets may be visible already. The producer's next operations wait.
    pub fn hold_markers(&self, partition: &TopicPartition) {
        self.shared.lock().held.markers.insert(partition.clone());
    }

    /// Releases the markers that this partition waits for, and holds no more.
    pub fn release_markers(&self, partition: &TopicPartition) {
        let mut state = self.shared.lock();
        state.held.markers.remove(partition);
        state.release();
    }

    /// Holds back the markers of ending transactions from this group's offsets. The offsets stay as they are, and
    /// stable reads of them wait, although the transaction's records may be visible already.
    pub fn hold_offsets(&self, group: &str) {
        self.shared.lock().held.offsets.insert(group.to_owned());
    }

    /// Releases the markers that this group's offsets wait for, and holds no more.
    pub fn release_offsets(&self, group: &str) {
        let mut state = self.shared.lock();
        state.held.offsets.remove(group);
        state.release();
    }

    /// Holds back commits and aborts of this `transactional.id` on their way to the coordinator. Offsets are sent, the
    /// transaction stays open. A new producer or the time-out aborts it, and then they are refused.
    pub fn hold_commits(&self, transactional_id: &str) {
        self.shared.lock().held.commits.insert(transactional_id.to_owned());
    }

    /// Releases the held commits and aborts of this `transactional.id`, and holds no more.
    pub fn release_commits(&self, transactional_id: &str) {
        let mut state = self.shared.lock();
        state.held.commits.remove(transactional_id);
        state.release();
    }

    /// Cuts the member of this client off from its group, in both directions. Its session ends, and another member gets
    /// its partitions. It goes on reading them, because a fetch does not check who owns a partition.
    pub fn hold_news(&self, client_id: &str) {
        self.shared.lock().held.news.insert(client_id.to_owned());
    }

    /// Reconnects the member of this client with its group.
    pub fn release_news(&self, client_id: &str) {
        self.shared.lock().held.news.remove(client_id);
    }

    /// The open transaction of this `transactional.id`, or else its next one, can only be aborted: its commit is
    /// refused.
    pub fn refuse_commit(&self, transactional_id: &str) {
        let mut state = self.shared.lock();
        state.producers.entry(transactional_id.to_owned()).or_default();
        state.doom(transactional_id, "a test refuses this commit".to_owned());
    }

    /// Sets a group's committed offset, or removes it, as a tool of the log's operator does.
    pub fn set_offset(&self, group: &str, source: &TopicPartition, committed: Option<CommittedOffset>) {
        let mut state = self.shared.lock();
        state
            .groups
            .entry(group.to_owned())
            .or_default()
            .set_offset(source, committed);
    }

    /// Revokes all partitions of the group's members, as in a rebalance whose new member dies before it gets any. The
    /// group then assigns them again.
    pub fn revoke(&self, group: &str) {
        self.shared.lock().revoke(group);
    }

    /// The group's generation; 0 where there is no such group.
    pub fn generation(&self, group: &str) -> i32 {
        self.shared.lock().groups.get(group).map_or(0, |group| group.generation)
    }
}
