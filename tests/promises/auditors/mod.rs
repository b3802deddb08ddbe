//! What auditors and patients read out of the log.

mod events;
mod exports;
