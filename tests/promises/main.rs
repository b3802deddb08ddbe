//! The three promises and the FHIR API, through the doors of a whole server.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "tests"
)]

mod auditors;
mod clinic;
mod fhir;
mod permitted;
mod recorded;
mod refusals;
mod sealed;
