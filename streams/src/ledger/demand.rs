//! Makes the owner of a ledger rebuild it, on demand.

use super::{Holder, LedgerError, LedgerStore, RebuildStep, Token};

/// Most attempts, if the owner takes the ledger back in between.
const ATTEMPTS_MAX: u32 = 10;

/// Begins a rebuild of a ledger from its first event, and leaves the rest to the ledger's owner. Returns the epoch of
/// this acquisition.
///
/// This acquires the ledger as a worker does (`by` names the caller, `token` makes fresh tokens), removes its
/// documents and its log, and marks the rebuild as unfinished. A ledger in the format of an earlier version is
/// renewed first. The owner finds itself fenced at its next write or idle check, and handles it as any such ledger:
/// it ends its transaction, acquires the ledger, reads the committed offset, and rebuilds from the first event. So
/// nobody writes beside the owner, and uncommitted commands are decided again. If the call is interrupted, the next
/// owner rebuilds the ledger.
///
/// # Errors
/// The error of the store; [`LedgerError::Fenced`] if the owner was faster each time.
pub async fn demand_rebuild(
    store: &dyn LedgerStore,
    ledger: i32,
    by: &str,
    mut token: impl FnMut() -> Token,
) -> Result<i64, LedgerError> {
    store.renew(ledger).await?;
    let mut attempts = 1;
    loop {
        match begin(store, ledger, by, &mut token).await {
            Err(LedgerError::Fenced { .. } | LedgerError::Behind { .. }) if attempts < ATTEMPTS_MAX => attempts += 1,
            result => return result,
        }
    }
}

async fn begin(
    store: &dyn LedgerStore,
    ledger: i32,
    by: &str,
    token: &mut impl FnMut() -> Token,
) -> Result<i64, LedgerError> {
    let own = token();
    let state = store.acquire(ledger, by, &own).await?;
    let holder = Holder {
        ledger,
        epoch: state.epoch,
        token: own,
    };
    // Nothing is ever sent under this name, so it needs no fencing.
    store.forget_owners(&holder, &[by.to_owned()]).await?;
    let begin = RebuildStep::Begin {
        version: state.version,
        token: token(),
        keep: false,
    };
    store.rebuild(&holder, &begin).await?;
    Ok(state.epoch)
}
