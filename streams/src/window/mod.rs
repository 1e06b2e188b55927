//! Windows: SQL over micro-batches.
