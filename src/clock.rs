//! Time and randomness, injected: nothing else in the house asks the machine for either.
//!
//! May import nothing of the house.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The clock and the source of identifiers that every room is given.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Machine,
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's own clock.
    #[must_use]
    pub const fn machine() -> Self {
        Self(Source::Machine)
    }

    /// A clock that stands still at `start` until it is advanced; for tests.
    #[must_use]
    pub fn fixed(start: DateTime<Utc>) -> Self {
        Self(Source::Fixed(Arc::new(AtomicI64::new(start.timestamp_micros()))))
    }

    /// Moves a fixed clock forward; the machine's clock does not listen.
    pub fn advance(&self, by: chrono::Duration) {
        if let Source::Fixed(micros) = &self.0 {
            micros.fetch_add(by.num_microseconds().unwrap_or(0), Ordering::SeqCst);
        }
    }

    /// Now, cut to whole microseconds (the precision PostgreSQL keeps).
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    pub fn now(&self) -> DateTime<Utc> {
        let micros = match &self.0 {
            Source::Machine => Utc::now().timestamp_micros(),
            Source::Fixed(micros) => micros.load(Ordering::SeqCst),
        };
        DateTime::from_timestamp_micros(micros).unwrap_or_default()
    }

    /// A fresh identifier for a request or a token (UUID version 7, ordered by time).
    #[must_use]
    pub fn ordered_id(&self) -> Uuid {
        Uuid::now_v7()
    }

    /// A fresh logical id for a record (UUID version 4: it tells nothing of when it was made).
    #[must_use]
    pub fn random_id(&self) -> Uuid {
        Uuid::new_v4()
    }
}
