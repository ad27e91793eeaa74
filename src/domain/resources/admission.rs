//! Whether there is memory for one more render: what it will take is estimated, and learnt from those that ran.

use std::collections::{BTreeMap, VecDeque};

use crate::domain::resources::Reading;

/// Share of the memory beyond which no further render starts; the rest up to the ceiling is for what nobody foresaw.
const ADMIT_MAX: f64 = 0.75;
/// What every render takes, whatever it renders: the program and its libraries, and a reserve.
const BASE_BYTES: u64 = (60 + 64) << 20;
/// Bytes for each pixel of a picture encoded with two threads, `veryfast` (measured, the sheet on reliability).
const ENCODE_BYTES_PER_PX: u64 = 95;
/// Bytes for each pixel of the source: the pictures a decoder of two threads and a filter graph hold.
const DECODE_BYTES_PER_PX: u64 = 60;
/// Peaks remembered of each profile.
const PEAKS_MAX: usize = 40;
/// From so many peaks on, they say what to expect.
const PEAKS_MIN: usize = 5;
/// What is expected above the greatest usual peak.
const MARGIN: f64 = 1.1;

/// What a render does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Decodes and encodes.
    Render,
    /// Decodes only, or not even that.
    Read,
}

/// Renders that take about the same memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Profile {
    pub kind: Kind,
    /// Pixels of a picture of the source.
    pub source_px: u64,
    /// Pixels of a picture of the output; 0 without.
    pub output_px: u64,
}

impl Profile {
    /// Bytes to expect before one was seen.
    pub const fn estimate(self) -> u64 {
        BASE_BYTES + self.source_px * DECODE_BYTES_PER_PX + self.output_px * ENCODE_BYTES_PER_PX
    }
}

/// Why a render does not start, now or ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("it takes {need_mb} MB where renders may have {room_mb} MB at most")]
    NeverFits { need_mb: u64, room_mb: u64 },
}

/// Peaks of memory by profile.
#[derive(Debug, Clone, Default)]
pub struct Learnt(BTreeMap<Profile, VecDeque<u64>>);

impl Learnt {
    /// Remembers the peak of a render that ended.
    pub fn learn(&mut self, profile: Profile, peak_bytes: u64) {
        let peaks = self.0.entry(profile).or_default();
        peaks.push_back(peak_bytes);
        if peaks.len() > PEAKS_MAX {
            peaks.pop_front();
        }
    }

    /// Bytes to expect: the 95th percentile of what was seen and a margin; the estimate until enough was seen.
    pub fn expect(&self, profile: Profile) -> u64 {
        let Some(peaks) = self.0.get(&profile).filter(|peaks| peaks.len() >= PEAKS_MIN) else {
            return profile.estimate();
        };
        let mut sorted: Vec<u64> = peaks.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * 95).div_ceil(100) - 1;
        (sorted[rank] as f64 * MARGIN) as u64
    }
}

/// What may be done about one more render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Start,
    /// Not now.
    Wait,
    Never(Refusal),
}

/// Whether a render that needs `need` bytes may start beside those that will hold `outstanding` bytes more than the readings
/// of memory show: it must fit in every scope. Without a reading nothing starts.
pub fn judge<'a>(
    memory: impl IntoIterator<Item = &'a Reading>,
    outstanding: u64,
    need: u64,
) -> Answer {
    let answers = memory.into_iter().map(|memory| judge_in(memory, outstanding, need));
    answers.reduce(Answer::stricter).unwrap_or(Answer::Wait)
}

impl Answer {
    const fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never(_), _) | (Self::Wait, Self::Start | Self::Wait) => self,
            (_, other) => other,
        }
    }
}

fn judge_in(memory: &Reading, outstanding: u64, need: u64) -> Answer {
    let room = ADMIT_MAX * memory.capacity;
    if need as f64 > room {
        let mb = |bytes: f64| (bytes / 1e6) as u64;
        return Answer::Never(Refusal::NeverFits { need_mb: mb(need as f64), room_mb: mb(room) });
    }
    if memory.used + outstanding as f64 + need as f64 <= room {
        Answer::Start
    } else {
        Answer::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::resources::{Resource, Scope};

    const REEL: Profile =
        Profile { kind: Kind::Render, source_px: 1920 * 1080, output_px: 1080 * 1920 };
    const GIB: f64 = (1_u64 << 30) as f64;

    fn memory(used: f64) -> Reading {
        Reading { resource: Resource::Memory, scope: Scope::Cgroup, used, capacity: 4.0 * GIB }
    }

    #[test]
    fn a_render_starts_while_what_others_will_take_leaves_room() {
        let need = REEL.estimate();
        assert_eq!(judge([&memory(GIB)], 0, need), Answer::Start);
        assert_eq!(judge([&memory(GIB)], 2 << 30, need), Answer::Wait, "promised to others");
        assert_eq!(judge([&memory(2.9 * GIB), &memory(0.0)], 0, need), Answer::Wait);
        assert_eq!(judge([], 0, need), Answer::Wait, "nobody sees");
        assert!(matches!(judge([&memory(0.0)], 0, 4 << 30), Answer::Never(_)));
    }

    #[test]
    fn what_ran_says_what_to_expect() {
        let mut learnt = Learnt::default();
        let first = learnt.expect(REEL);
        for _ in 0..4 {
            learnt.learn(REEL, 300 << 20);
        }
        assert_eq!(learnt.expect(REEL), first, "too few say nothing");
        learnt.learn(REEL, 400 << 20);
        let expected = learnt.expect(REEL) as f64 / f64::from(1 << 20);
        assert!((expected - 440.0).abs() < 1.0, "{expected}");
        for _ in 0..PEAKS_MAX {
            learnt.learn(REEL, 200 << 20);
        }
        assert!(learnt.expect(REEL) < 230 << 20, "old peaks are forgotten");
    }
}
