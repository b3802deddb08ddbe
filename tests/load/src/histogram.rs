//! Latencies in buckets of at most 1.6 % width. Imports nothing of this crate.
//!
//! A value in nanoseconds goes to one of 64 buckets per power of two; a percentile is the middle of its bucket,
//! so it is wrong by 0.8 % at most. The maximum is exact.

use std::time::Duration;

/// Buckets per power of two, as a power of two.
const PRECISION_BITS: u32 = 6;
const PER_OCTAVE: u64 = 1 << PRECISION_BITS;
/// The first 64 nanoseconds have a bucket each, then each power of two has 64, up to 2^42 ns, which is 73
/// minutes; longer ones count as that long.
const BUCKETS: usize = (42 - 6 + 1) * 64;

/// How often each latency was seen.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max_ns: 0 }
    }
}

impl Histogram {
    /// Counts one latency.
    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(nanos)) {
            *count += 1;
        }
        self.total += 1;
        self.max_ns = self.max_ns.max(nanos);
    }

    /// Adds another's counts.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many were counted.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// The largest, in milliseconds.
    pub(crate) fn max_ms(&self) -> f64 {
        ms(self.max_ns)
    }

    /// The latency that `per_mille` thousandths of all do not exceed, in milliseconds; 0 when there is none.
    pub(crate) fn per_mille_ms(&self, per_mille: u64) -> f64 {
        let wanted = self.total.saturating_mul(per_mille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (place, count) in (0..).zip(&self.counts) {
            seen += count;
            if seen >= wanted {
                return ms(middle(place).min(self.max_ns));
            }
        }
        ms(self.max_ns)
    }
}

fn ms(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

fn bucket(nanos: u64) -> usize {
    let Some(octave) = nanos.checked_ilog2().and_then(|log| log.checked_sub(PRECISION_BITS)) else {
        return usize::try_from(nanos).unwrap_or(BUCKETS - 1);
    };
    // The leading bit is the octave, the next six the place in it.
    let place = (nanos >> octave) - PER_OCTAVE;
    let index = (u64::from(octave) + 1) * PER_OCTAVE + place;
    usize::try_from(index).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The middle of a bucket, in nanoseconds.
const fn middle(index: u64) -> u64 {
    if index < PER_OCTAVE {
        return index;
    }
    let octave = index / PER_OCTAVE - 1;
    let width = 1_u64 << octave;
    (PER_OCTAVE + index % PER_OCTAVE) * width + width / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        values.into_iter().for_each(|nanos| histogram.record(Duration::from_nanos(nanos)));
        histogram
    }

    fn assert_near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() <= wanted * 0.008, "{found} is not within 0.8 % of {wanted}");
    }

    #[test]
    fn each_value_is_within_one_percent_of_the_middle_of_its_bucket() {
        let mut nanos = 1_u64;
        while nanos < 1 << 41 {
            let index = u64::try_from(bucket(nanos)).unwrap_or(u64::MAX);
            assert_near(middle(index) as f64, nanos as f64);
            nanos += nanos / 7 + 1;
        }
    }

    #[test]
    fn buckets_are_in_the_order_of_their_values() {
        let mut last = 0;
        for nanos in (0..10_000).chain((10_000..10_000_000).step_by(997)) {
            assert!(bucket(nanos) >= last, "{nanos}");
            last = bucket(nanos);
        }
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let histogram = of((1..=10_000).map(|micros| micros * 1_000));
        for (per_mille, wanted) in [(1, 0.01), (500, 5.0), (950, 9.5), (990, 9.9), (1_000, 10.0)] {
            assert_near(histogram.per_mille_ms(per_mille), wanted);
        }
        assert!((histogram.max_ms() - 10.0).abs() < 1e-9);
    }

    #[test]
    fn one_slow_request_shows_in_the_maximum_and_not_in_the_median() {
        let histogram = of((0..99).map(|_| 1_000_000).chain([3_000_000_000]));
        assert_near(histogram.per_mille_ms(500), 1.0);
        assert_near(histogram.per_mille_ms(990), 1.0);
        assert_near(histogram.per_mille_ms(991), 3_000.0);
        assert!((histogram.max_ms() - 3_000.0).abs() < 1e-9);
    }

    #[test]
    fn merging_is_counting_all_in_one() {
        let (mut low, high) = (of(1..1_000), of(1_000..2_000));
        low.merge(&high);
        let whole = of(1..2_000);
        assert_eq!(low.counts, whole.counts);
        assert_eq!((low.total(), low.max_ns), (1_999, 1_999));
    }

    #[test]
    fn nothing_counted_is_zero_and_the_longest_has_a_bucket() {
        assert_eq!(Histogram::default().per_mille_ms(500).to_bits(), 0.0_f64.to_bits());
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(of([u64::MAX]).total(), 1);
    }
}
