//! What auditors and patients read out of the log.

pub(crate) mod disclosures;
mod earlier;
mod events;
mod exports;
mod feed;
