//! What a relay decides: times that go on whatever the camera and the network do, and how long to wait before the next try.

use std::time::Duration;

use crate::domain::live::track::{Kind, TICKS_PER_S};

/// The times of one track may go back by this much or on by that much; what goes further begins anew.
const BACK_TICKS_MAX: i64 = TICKS_PER_S;
const ON_TICKS_MAX: i64 = 10 * TICKS_PER_S;
/// The least that two times of a track differ by.
const STEP_TICKS: i64 = TICKS_PER_S / 1_000;
/// First pause before another try, and the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// The times of what a relay sends: those of a track only ever go on, over encoders that come back with times of their own
/// and over stretches without one; pictures and sound stay as far apart as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelayClock {
    /// From the camera's times to ours.
    offset: Option<i64>,
    picture: Ends,
    sound: Ends,
}

/// The last times of a track: the camera's, and ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ends {
    came: Option<i64>,
    sent: Option<i64>,
}

impl RelayClock {
    /// Our time for a packet of the camera's time `dts`; `now` is how long the relay runs, in ticks. `None` for sound that
    /// belongs before what was sent already: it is left out.
    pub fn place(&mut self, kind: Kind, dts: i64, now: i64) -> Option<i64> {
        let came = self.of(kind).came.replace(dts);
        let goes_on =
            came.is_none_or(|came| (-BACK_TICKS_MAX..=ON_TICKS_MAX).contains(&(dts - came)));
        let offset = if let Some(offset) = self.offset.filter(|_| goes_on) {
            offset
        } else {
            // The other track is told by the same step.
            let other = if kind == Kind::Picture { Kind::Sound } else { Kind::Picture };
            self.of(other).came = None;
            self.present(now) - dts
        };
        self.offset = Some(offset);
        let ends = self.of(kind);
        let earliest = ends.sent.map_or(0, |sent| sent + STEP_TICKS);
        let at = match kind {
            Kind::Picture => (dts + offset).max(earliest),
            Kind::Sound if dts + offset < earliest => return None,
            Kind::Sound => dts + offset,
        };
        ends.sent = Some(at);
        Some(at)
    }

    /// Our time for what stands in for the camera while it is away, at `at` or soon after. The camera's times begin anew then.
    pub fn place_still(&mut self, kind: Kind, at: i64) -> i64 {
        self.offset = None;
        (self.picture.came, self.sound.came) = (None, None);
        let ends = self.of(kind);
        let at = ends.sent.map_or(at, |sent| at.max(sent + STEP_TICKS)).max(0);
        ends.sent = Some(at);
        at
    }

    const fn of(&mut self, kind: Kind) -> &mut Ends {
        match kind {
            Kind::Picture => &mut self.picture,
            Kind::Sound => &mut self.sound,
        }
    }

    /// Now, or just after the latest that was sent.
    fn present(&self, now: i64) -> i64 {
        let latest = self.picture.sent.max(self.sound.sent);
        latest.map_or(now, |latest| now.max(latest + STEP_TICKS))
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

    const FRAME: i64 = S / 30;

    #[test]
    fn times_go_on_over_another_encoder_and_over_its_absence() {
        let mut clock = RelayClock::default();
        let picture = |clock: &mut RelayClock, dts, now| {
            clock.place(Kind::Picture, dts, now).expect("pictures are never left out")
        };
        let mut sent = Vec::new();
        for n in 0..90 {
            sent.push(picture(&mut clock, 1_000_000 + n * FRAME, n * FRAME));
        }
        assert_eq!(sent[0], 0, "it begins at the present");
        assert!(sent.windows(2).all(|pair| pair[1] - pair[0] == FRAME));
        // Away for six seconds: the picture stands still, its times go on.
        let mut last = *sent.last().unwrap();
        for n in 5..9 {
            let at = clock.place_still(Kind::Picture, n * S);
            assert!(at > last, "{at} after {last}");
            last = at;
        }
        // Another encoder, whose own time begins at nothing.
        let first = picture(&mut clock, 0, 9 * S);
        assert!(first >= last && first - last <= S, "{first} after {last}");
        assert_eq!(picture(&mut clock, FRAME, 9 * S + FRAME), first + FRAME);
        // It leaps: no leap is sent.
        let leapt = picture(&mut clock, 500 * S, 9 * S + 2 * FRAME);
        assert!((1..S).contains(&(leapt - first - FRAME)), "{leapt}");
        assert_eq!(picture(&mut clock, 500 * S + FRAME, 9 * S + 3 * FRAME), leapt + FRAME);
        // Groups that were left out are left out of its time as well, and nothing more.
        assert_eq!(picture(&mut clock, 504 * S, 9 * S + 60 * FRAME), leapt + 4 * S);
    }

    #[test]
    fn sound_stays_as_far_from_its_picture_as_it_came() {
        for apart in [-3 * S, -S - 9_000, -500, 0, S / 2, 2 * S] {
            let mut clock = RelayClock::default();
            let (mut pictures, mut sounds) = (Vec::new(), Vec::new());
            for n in 0..600 {
                let (dts, now) = (1_000_000 + n * FRAME, n * FRAME);
                pictures.extend(clock.place(Kind::Picture, dts, now));
                sounds.extend(clock.place(Kind::Sound, dts + apart, now).map(|at| (n, at)));
            }
            assert_eq!(pictures, (0..600).map(|n| n * FRAME).collect::<Vec<_>>());
            // Sound of before the beginning is left out.
            assert!(sounds.len() >= 500, "{apart}: {}", sounds.len());
            assert!(sounds.iter().all(|(n, at)| *at == n * FRAME + apart), "{apart}");
        }
    }

    #[test]
    fn silence_is_even_and_sound_that_comes_back_does_not_overlap_it() {
        let mut clock = RelayClock::default();
        clock.place(Kind::Picture, 0, 0);
        clock.place(Kind::Sound, 0, 0);
        let silence: Vec<i64> =
            (1..50).map(|n| clock.place_still(Kind::Sound, 6 * S + n * 1_920)).collect();
        clock.place_still(Kind::Picture, 7 * S);
        assert!(silence.windows(2).all(|pair| pair[1] - pair[0] == 1_920));
        let last = *silence.last().unwrap();
        let begun = clock.place(Kind::Picture, 0, 7 * S + 4_500).unwrap();
        assert!(begun > last);
        for n in 0..20 {
            if let Some(at) = clock.place(Kind::Sound, n * 1_920 - 18_000, 7 * S + 4_500) {
                assert!(at > last, "{at} after {last}");
            }
        }
    }

    #[test]
    fn pauses_grow_to_the_longest_and_are_never_all_alike() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..8).map(|_| backoff.pause(1.0).as_millis()).collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
        assert_eq!(Backoff::default().pause(0.0).as_millis(), 250);
    }
}
