//! What the edge counts, for `watch` to render.
//!
//! May import nothing of the house. No label comes from a request.

use std::sync::atomic::{AtomicU64, Ordering};

use super::config::Door;

/// A number that anyone may raise.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Requests by the class of their status.
#[derive(Debug, Default)]
pub struct ByClass {
    /// 1xx and 2xx.
    pub success: Count,
    /// 3xx.
    pub redirect: Count,
    /// 4xx.
    pub client_error: Count,
    /// 5xx.
    pub server_error: Count,
}

impl ByClass {
    /// Name and number of each class.
    #[must_use]
    pub fn classes(&self) -> [(&'static str, u64); 4] {
        [
            ("2xx", self.success.get()),
            ("3xx", self.redirect.get()),
            ("4xx", self.client_error.get()),
            ("5xx", self.server_error.get()),
        ]
    }

    fn of(&self, status: u16) -> &Count {
        match status {
            0..300 => &self.success,
            300..400 => &self.redirect,
            400..500 => &self.client_error,
            _ => &self.server_error,
        }
    }
}

/// All that the edge counts.
#[derive(Debug, Default)]
pub struct EdgeCounts {
    /// Connections open now (a gauge).
    pub connections_open: Count,
    /// Connections ever accepted.
    pub connections: Count,
    /// Connections closed at once because their source, or the edge, had its fill.
    pub connections_refused: Count,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: Count,
    /// Connections cut because a header came too slowly.
    pub slow_headers: Count,
    /// Connections cut because their peer stopped reading.
    pub stalled_writes: Count,
    /// Connections retired because they were idle.
    pub idle_closed: Count,
    /// Requests whose client certificate no longer held on an open connection.
    pub certificates_refused: Count,
    /// Requests that HTTP itself refused before there was a request to dispatch.
    pub malformed: Count,
    /// Requests that no answer came back for, told 503.
    pub unanswered: Count,
    /// Events that found the queue full.
    pub events_dropped: Count,
    /// Reloads of certificates that succeeded.
    pub reloads: Count,
    /// Reloads of certificates that kept the old ones.
    pub reloads_failed: Count,
    /// Requests through the portal door.
    pub portal: ByClass,
    /// Requests through the partner door.
    pub partner: ByClass,
}

impl EdgeCounts {
    /// The requests of one door.
    #[must_use]
    pub const fn requests(&self, door: Door) -> &ByClass {
        match door {
            Door::Portal => &self.portal,
            Door::Partner => &self.partner,
        }
    }

    pub(super) fn answered(&self, door: Door, status: u16) {
        self.requests(door).of(status).up();
    }
}
