//! Lists the content of a ledger in Redis.

use async_trait::async_trait;
use bytes::Bytes;
use interlock_streams::ledger::{InspectLedgers, LedgerError};

use super::RedisLedgerStore;

#[async_trait]
impl InspectLedgers for RedisLedgerStore {
    async fn document_names(&self, ledger: i32) -> Result<Vec<Bytes>, LedgerError> {
        self.documents(ledger).await
    }
}
