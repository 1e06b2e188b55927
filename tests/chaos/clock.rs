//! The wall clock, by which the brokers of this machine stamp records.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the time in milliseconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "it is compared with the brokers' timestamps, and decides nothing"
)]
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
