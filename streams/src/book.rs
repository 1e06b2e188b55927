//! The pages of the documentation whose code is compiled and run with the tests.

#[doc = include_str!("../../docs/writing-a-topology.md")]
mod writing_a_topology {}

#[doc = include_str!("../../docs/adding-a-window-query.md")]
mod adding_a_window_query {}
