//! Breaks real servers and kills real workers under load, and measures how long the recovery takes.
//!
//! | part | content |
//! | --- | --- |
//! | `faults` | the faults: one function for each, one line in the catalogue |
//! | `scene` | the parts that a fault works on, and the moments that are measured |
//! | `stage` | servers of three kinds, the proxies in front of them, workers |
//! | `traffic`, `watch` | the steady load, and the answers as any client sees them |
//! | `campaign` | rounds of faults chosen by a seed, an audit after each |
//! | `fail_over` | how long a dead worker's ledgers wait, by the size of the state |
//! | `report` | the table of results |
//!
//! Workers that were not killed must recover without help. The seed determines the faults, their order and their
//! duration; the work that is interrupted depends on the machine.

mod campaign;
mod clock;
mod fail_over;
mod faults;
mod report;
mod scene;
mod stage;
mod traffic;
mod watch;

pub use campaign::{Campaign, run};
pub use fail_over::{FailOvers, measure_fail_overs};
pub use report::Report;
pub use stage::Kind;
