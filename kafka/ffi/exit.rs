//! The end of a process that has used Kafka.

use std::ffi::c_int;
use std::io::Write as _;

unsafe extern "C" {
    /// Never returns, and touches nothing of this process: safe to call whatever other threads do.
    safe fn _exit(status: c_int) -> !;
}

/// Ends the process with this status, without what the C library does at an exit.
///
/// librdkafka ends its clients on threads of its own, which nobody waits for. Over TLS they still use what OpenSSL frees at an exit: of
/// commands that had done all they were asked for, one in seven ended by a segmentation fault.
pub fn exit(status: u8) -> ! {
    // As at any exit: where nobody reads any more, there is nobody to tell.
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().flush();
    _exit(c_int::from(status))
}
