//! The in-memory log passes the suite, and does what only it can be made to do.

use interlock_streams::log::memory::MemoryLog;

async fn memory_log() -> Option<MemoryLog> {
    Some(MemoryLog::new())
}

interlock_streams::log_conformance!(memory_log);
