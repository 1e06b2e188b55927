//! The gateway's metrics: every name once, with its unit and a sentence.

use metrics::{Unit, describe_counter, describe_histogram};

/// Counter: requests answered, by route, method and status.
pub const REQUESTS: &str = "interlock_gateway_requests_total";
/// Histogram, seconds: from a request to the beginning of its answer, by route.
pub const REQUEST_SECONDS: &str = "interlock_gateway_request_seconds";

/// All counters.
pub const COUNTERS: &[&str] = &[REQUESTS];
/// All histograms.
pub const HISTOGRAMS: &[&str] = &[REQUEST_SECONDS];

/// Tells the recorder what each metric means.
pub fn describe() {
    describe_counter!(REQUESTS, "Requests answered, by route, method and status");
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "Time from a request to the beginning of its answer, by route"
    );
}
