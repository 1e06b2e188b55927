//! Has a ledger rebuilt by whoever owns it, on demand.

use super::{Holder, LedgerError, LedgerStore, RebuildStep, Token};

/// How often it is begun anew when the owner takes the ledger back in between.
const ATTEMPTS_MAX: u32 = 10;

/// Begins a rebuild of a ledger from its first event and leaves it to the ledger's owner: returns the epoch of this.
///
/// The ledger is taken as any worker takes it (`by` names the taker, `token` makes fresh ones), its documents and its outbox
/// are removed, and it is marked as one whose rebuild was not finished. The owner finds itself fenced, at its next
/// write or at its next idle check, and does what it does about any such ledger: it ends its transaction, takes the ledger
/// again, reads what the log committed and rebuilds from its first event. So nothing is written beside the owner, what
/// was not committed is decided once more, and whoever stops in between leaves a ledger that the next owner rebuilds.
///
/// # Errors
/// What the store says; [`LedgerError::Fenced`] where the owner was faster each time.
pub async fn demand_rebuild(
    store: &dyn LedgerStore,
    ledger: i32,
    by: &str,
    mut token: impl FnMut() -> Token,
) -> Result<i64, LedgerError> {
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
    // Nothing is ever sent under this name, so that nobody needs to fence it.
    store.forget_owners(&holder, &[by.to_owned()]).await?;
    let begin = RebuildStep::Begin {
        expected_applied: state.applied,
        token: token(),
        keep: false,
    };
    store.rebuild(&holder, &begin).await?;
    Ok(state.epoch)
}
