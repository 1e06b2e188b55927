//! The procedures of an operator, over the traits `Log` and `LedgerStore`.
//!
//! | file | is |
//! | --- | --- |
//! | `belongs` | the checks before a worker starts: topics, positions and ledgers belong together |
//! | `dead_letters` | lists dead letters, and sends their records again once |
//! | `plans` | reads, writes and withdraws the plans on sale |
//! | `replay` | derives ledgers and windows from the events again; grows the number of ledgers |
//! | `topics` | the settings of the topics: creates what is missing, judges what exists |
//!
//! Each procedure is safe to interrupt, and its error names the changes that were made, if any.

pub mod belongs;
pub mod dead_letters;
mod error;
pub mod plans;
pub mod replay;
pub mod topics;

pub use error::OperateError;
pub(crate) use error::{Result, ensure, refused};
