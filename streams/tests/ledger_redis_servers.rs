//! What happens to the Redis store when servers fail: on private servers, which the tests start and end themselves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "ledger_redis_servers/cluster.rs"]
mod cluster;
#[path = "ledger_redis_servers/rights.rs"]
mod rights;
#[path = "ledger_redis_servers/server.rs"]
mod server;
#[path = "ledger_redis_servers/single.rs"]
mod single;
#[path = "ledger_redis_servers/six.rs"]
mod six;
#[path = "ledger_redis_servers/store.rs"]
mod store;
