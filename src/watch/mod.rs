//! What an operator sees: the operational log, metrics, readiness. Nothing of a record is in any of them.
//!
//! May import every room above it; no other room imports it. Rooms log by `tracing` and count in atomics of their own;
//! here both are put into words. The access log that auditors get is the ledger, not this.

mod fields;
mod line;
mod log;
mod metrics;

pub use log::{Guard, Screen, WatchError, start};
pub use metrics::{Metrics, Readiness};

#[cfg(test)]
mod tests;
