//! A stream processor whose state lives in an external ledger, exactly once together with the log.

pub mod ledger;
pub mod log;
pub mod record;
pub mod sink;
pub mod testing;
pub mod window;
