//! The edge in front of a small Rocket, over real TLS on loopback.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

mod http;
mod limits;
mod mtls;
mod support;
