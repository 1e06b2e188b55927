//! Breaks real servers and kills real workers under load, and measures how long it takes until all is well again.
//!
//! | part | what it is |
//! | --- | --- |
//! | `faults` | what goes wrong: one function for each, one line in the catalogue |
//! | `scene` | what a fault has in hand, and the moments that count |
//! | `stage` | servers of three kinds, proxies before them, workers |
//! | `traffic`, `watch` | what is asked for all the time, and the answers as any client sees them |
//! | `campaign` | rounds of faults by a seed, an audit after each |
//! | `fail_over` | how long a dead worker's ledgers wait, by the size of the state |
//! | `report` | the table |
//!
//! Workers that were not killed must recover without help. The seed settles which faults come in which order, and how long
//! each lasts; what the workers are doing at that moment is left to the machine.

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
