//! The audit over logs and stores in memory: sound ones pass, and each way of being unsound is reported.

mod example;
mod ledgers;
mod requests;
mod windows;
mod world;
