//! How many connections one source, and all sources together, may hold.
//!
//! May import nothing of the house.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use super::config::Limits;

/// The seats that are taken.
pub(super) struct Seats {
    per_source_max: usize,
    total_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    total: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// One taken seat; given back when dropped.
pub(super) struct Seat {
    seats: Arc<Seats>,
    source: IpAddr,
}

impl Seats {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            per_source_max: limits.connections_per_source_max,
            total_max: limits.connections_max,
            taken: Mutex::default(),
        })
    }

    /// A seat for this peer, unless its source or the edge has its fill.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Seat> {
        let source = source_of(peer);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.total >= self.total_max {
            return None;
        }
        let held = taken.by_source.entry(source).or_insert(0);
        if *held >= self.per_source_max {
            return None;
        }
        *held += 1;
        taken.total += 1;
        Some(Seat { seats: Arc::clone(self), source })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total = taken.total.saturating_sub(1);
        if let Some(held) = taken.by_source.get_mut(&self.source) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                taken.by_source.remove(&self.source);
            }
        }
    }
}

/// An IPv6 subscriber usually owns a whole /64, so that is one source.
fn source_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::from((address.to_bits() & !u128::from(u64::MAX)).to_be_bytes()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn seats(per_source: usize, total: usize) -> Arc<Seats> {
        Seats::new(&Limits {
            connections_per_source_max: per_source,
            connections_max: total,
            ..Limits::DEFAULT
        })
    }

    #[test]
    fn a_source_gets_its_seats_back() {
        let seats = seats(1, 9);
        let one = "192.0.2.1".parse().unwrap();
        let seat = seats.take(one);
        assert!(seat.is_some());
        assert!(seats.take(one).is_none());
        assert!(seats.take("192.0.2.2".parse().unwrap()).is_some());
        drop(seat);
        assert!(seats.take(one).is_some());
        assert_eq!(
            seats.taken.lock().unwrap().by_source.len(),
            0,
            "no source is remembered that holds nothing"
        );
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let seats = seats(1, 9);
        let _seat = seats.take("2001:db8::1".parse().unwrap()).unwrap();
        assert!(seats.take("2001:db8::ffff:2".parse().unwrap()).is_none());
        assert!(seats.take("2001:db8:0:1::1".parse().unwrap()).is_some());
    }

    #[test]
    fn all_sources_together_have_a_bound() {
        let seats = seats(9, 1);
        let _seat = seats.take("192.0.2.1".parse().unwrap()).unwrap();
        assert!(seats.take("192.0.2.2".parse().unwrap()).is_none());
    }
}
