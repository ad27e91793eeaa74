//! What a relay decides: times that go on whatever the camera and the network do, and how long to wait before the next try.

use std::time::Duration;

use crate::domain::live::track::TICKS_PER_S;

/// A camera's times may go back by this much (pictures and sound are not quite in step) or on by that much; what goes
/// further begins anew.
const BACK_TICKS_MAX: i64 = TICKS_PER_S;
const ON_TICKS_MAX: i64 = 3 * TICKS_PER_S;
/// First pause before another try, and the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// The times of what a relay sends: they only ever go on, over encoders that come back with times of their own and over
/// stretches without one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelayClock {
    /// From the camera's times to ours.
    offset: Option<i64>,
    /// The latest time that was given out.
    last: i64,
}

impl RelayClock {
    /// Our time for a packet of the camera's time `dts`; `now` is how long the relay runs, in ticks.
    pub fn place(&mut self, dts: i64, now: i64) -> i64 {
        let at = self.offset.map(|offset| dts + offset);
        let fits = |at: &i64| (-BACK_TICKS_MAX..=ON_TICKS_MAX).contains(&(at - self.last));
        let at = at.filter(fits).unwrap_or_else(|| self.present(now));
        self.offset = Some(at - dts);
        self.last = self.last.max(at);
        at
    }

    /// Our time for a picture of nobody's, shown while the camera is away. The camera's times begin anew after it.
    pub fn place_still(&mut self, now: i64) -> i64 {
        self.offset = None;
        self.last = self.present(now);
        self.last
    }

    fn present(&self, now: i64) -> i64 {
        now.max(self.last + TICKS_PER_S / 1_000)
    }
}

/// How long to wait before the next try: twice as long each time, up to the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(PAUSE_FIRST)
    }
}

impl Backoff {
    /// The pause before the next try, cut to half of itself at least. `chance` is 0 to 1.
    pub fn pause(&mut self, chance: f64) -> Duration {
        let pause = self.0.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
        self.0 = (self.0 * 2).min(PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = TICKS_PER_S;

    #[test]
    fn times_go_on_over_another_encoder_and_over_its_absence() {
        let mut clock = RelayClock::default();
        let frame = S / 30;
        let mut sent = Vec::new();
        for n in 0..90 {
            sent.push(clock.place(1_000_000 + n * frame, n * frame));
        }
        assert_eq!(sent[0], 90, "it begins at the present");
        assert!(sent.windows(2).all(|pair| pair[1] - pair[0] == frame));
        // Sound a little behind stays in step with its picture.
        assert_eq!(clock.place(1_000_000 + 89 * frame - 500, 90 * frame), sent[89] - 500);
        // Away for six seconds: the picture stands still, its times go on.
        let mut last = *sent.last().unwrap();
        for n in 5..9 {
            let at = clock.place_still(n * S);
            assert!(at > last, "{at} after {last}");
            last = at;
        }
        // Another encoder, whose own time begins at nothing.
        let first = clock.place(0, 9 * S);
        assert!(first >= last && first - last <= S, "{first} after {last}");
        assert_eq!(clock.place(frame, 9 * S + frame), first + frame);
        // It leaps: no leap is sent.
        let leapt = clock.place(500 * S, 9 * S + 2 * frame);
        assert!((1..S).contains(&(leapt - first - frame)), "{leapt}");
        assert_eq!(clock.place(500 * S + frame, 9 * S + 3 * frame), leapt + frame);
    }

    #[test]
    fn pauses_grow_to_the_longest_and_are_never_all_alike() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..8).map(|_| backoff.pause(1.0).as_millis()).collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
        assert_eq!(Backoff::default().pause(0.0).as_millis(), 250);
    }
}
