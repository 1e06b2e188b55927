//! Tests the Redis store while servers fail, on private servers that the tests start and stop themselves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "servers/cluster.rs"]
mod cluster;
#[path = "servers/foreign.rs"]
mod foreign;
#[path = "servers/rights.rs"]
mod rights;
#[path = "servers/sentinel.rs"]
mod sentinel;
#[path = "servers/server.rs"]
mod server;
#[path = "servers/single.rs"]
mod single;
#[path = "servers/six.rs"]
mod six;
#[path = "servers/store.rs"]
mod store;
#[path = "servers/watched.rs"]
mod watched;
