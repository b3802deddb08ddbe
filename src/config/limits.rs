//! Bounds on what one peer may take.
//!
//! May import nothing of the house.

use serde::Deserialize;
use validator::Validate;

/// Bounds on what one peer may take; the edge enforces them.
#[derive(Clone, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// From the first byte of a connection to the end of its TLS handshake.
    #[validate(range(min = 100, max = 60_000))]
    pub handshake_ms: u32,
    /// From a request's first byte to the end of its headers.
    #[validate(range(min = 100, max = 60_000))]
    pub header_ms: u32,
    /// From the end of the headers to the end of the body.
    #[validate(range(min = 100, max = 600_000))]
    pub body_ms: u32,
    /// Between two requests of one connection.
    #[validate(range(min = 100, max = 3_600_000))]
    pub idle_ms: u32,
    /// How long a peer may accept nothing of an answer that is ready.
    #[validate(range(min = 100, max = 600_000))]
    pub write_stall_ms: u32,
    /// How long open requests may run on after the signal to stop.
    #[validate(range(min = 0, max = 600_000))]
    pub shutdown_ms: u32,
    /// Request line and headers.
    #[validate(range(min = 8_192, max = 1_048_576))]
    pub header_bytes_max: u32,
    /// The body of one request.
    #[validate(range(min = 1_024, max = 16_777_216))]
    pub body_bytes_max: u32,
    /// The bodies of all requests that are open.
    #[validate(range(min = 1_048_576, max = 4_294_967_295_u32))]
    pub body_bytes_total_max: u32,
    /// Concurrent HTTP/2 streams of one connection.
    #[validate(range(min = 1, max = 1_000))]
    pub streams_max: u32,
    /// Connections from one source.
    #[validate(range(min = 1, max = 65_536))]
    pub connections_per_source_max: u32,
    /// Connections over all.
    #[validate(range(min = 1, max = 65_536))]
    pub connections_max: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            handshake_ms: 5_000,
            header_ms: 10_000,
            body_ms: 30_000,
            idle_ms: 60_000,
            write_stall_ms: 30_000,
            shutdown_ms: 10_000,
            header_bytes_max: 65_536,
            body_bytes_max: 16 * 1_048_576,
            body_bytes_total_max: 512 * 1_048_576,
            streams_max: 100,
            connections_per_source_max: 256,
            connections_max: 4_096,
        }
    }
}
