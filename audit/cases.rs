//! Tests the audit over logs and stores in memory: sound ones pass, and every kind of violation is reported.

mod example;
mod ledgers;
mod requests;
mod windows;
mod world;
