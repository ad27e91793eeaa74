//! How many chat lines a page may still be shown: a bucket that fills up again by itself.

use std::time::Instant;

/// Chat lines a second that a page shows, and so many at once after a silence; the rest is told as a number.
const LINES_PER_SECOND: f64 = 20.0;

/// Lines that may be shown.
#[derive(Debug)]
pub(super) struct Allowance {
    lines: f64,
    at: Instant,
}

impl Allowance {
    /// A full one.
    pub(super) const fn new(now: Instant) -> Self {
        Self { lines: LINES_PER_SECOND, at: now }
    }

    /// Takes as many of `wanted` lines as there are; says how many.
    pub(super) fn take(&mut self, wanted: usize, now: Instant) -> usize {
        let passed = now.saturating_duration_since(self.at);
        self.at = now;
        self.lines = (self.lines + passed.as_secs_f64() * LINES_PER_SECOND).min(LINES_PER_SECOND);
        let taken = wanted.min(self.lines as usize);
        self.lines -= taken as f64;
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_shown_up_to_twenty_and_then_twenty_a_second() {
        let begun = Instant::now();
        let mut allowance = Allowance::new(begun);
        assert_eq!(allowance.take(100, begun), 20);
        assert_eq!(allowance.take(100, begun), 0);
        // Ten frames a second, each with more to say than may be shown.
        let frames = (1..=20).map(|n| allowance.take(50, begun + Duration::from_millis(n * 100)));
        let shown: usize = frames.sum();
        assert!((39..=40).contains(&shown), "{shown} lines in two seconds");
    }

    #[test]
    fn what_is_not_taken_does_not_heap_up() {
        let begun = Instant::now();
        let mut allowance = Allowance::new(begun);
        assert_eq!(allowance.take(3, begun + Duration::from_hours(1)), 3);
        assert_eq!(allowance.take(100, begun + Duration::from_hours(1)), 17);
    }
}
