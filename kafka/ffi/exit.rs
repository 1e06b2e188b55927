//! Ends a process that has used Kafka.

use std::ffi::c_int;
use std::io::Write as _;

unsafe extern "C" {
    /// Never returns, and touches nothing of this process: safe to call whatever other threads do.
    safe fn _exit(status: c_int) -> !;
}

/// Ends the process with this status, without the C library's exit handlers.
///
/// librdkafka ends its clients on threads of its own, without waiting for them. Over TLS they still use memory that
/// OpenSSL frees at an exit: one in seven successful commands ended by a segmentation fault.
pub fn exit(status: u8) -> ! {
    // A failure means that the output is no longer read, so it is ignored, as at any exit.
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().flush();
    _exit(c_int::from(status))
}
