//! How a feed does: its rates over the last seconds, and what is wrong with it, for who set the encoder up.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::domain::live::track::{Kind, TICKS_PER_S};

/// Rates are taken over so many whole seconds.
const WINDOW_S: usize = 5;
/// Pictures whose distances are remembered.
const DISTANCES_MAX: usize = 240;
/// From so many distances on, the rhythm is judged.
const DISTANCES_MIN: usize = 60;
/// Longest way from key frame to key frame, in ticks: what Twitch asks for, with a frame of leeway.
const KEY_TICKS_MAX: i64 = 2 * TICKS_PER_S + TICKS_PER_S / 20;
/// Most that Twitch takes, picture and sound together, in kbit/s (its figure of 2026 for 1080p, with a tenth of leeway).
const KBITS_MAX: u32 = 8_250;
/// A distance this far from the usual one, as a share of it, breaks the rhythm; a transport in milliseconds stays below.
const UNEVEN_SHARE: f64 = 0.25;
/// From this share of broken distances on, the frame rate varies.
const UNEVEN_MIN: f64 = 0.1;
/// Milliseconds after which a track that never came, or stopped, is missed.
const MISSED_MS: u64 = 3_000;

/// What is wrong with a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Trouble {
    NoPicture,
    NoSound,
    /// Key frames are this far apart.
    KeysFarApart {
        ms: u32,
    },
    VariableFrameRate,
    /// More than Twitch takes.
    TooManyBits {
        kbits: u32,
    },
}

/// What a meter reads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Over the last seconds, picture and sound together.
    pub kbits: u32,
    /// Pictures a second, over the last seconds.
    pub fps: f64,
    /// The longest way from one key frame to the next, of the last ones.
    pub key_ms: Option<u32>,
    pub troubles: Vec<Trouble>,
}

/// Measures a feed. Instants are milliseconds of a clock that never steps, from the connection's beginning.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    /// Of each whole second: bytes and pictures.
    seconds: VecDeque<(u64, u64, u32)>,
    picture_dts: Option<i64>,
    key_dts: Option<i64>,
    key_ticks: Option<i64>,
    distances: VecDeque<i64>,
    last_picture_ms: Option<u64>,
    last_sound_ms: Option<u64>,
}

impl Meter {
    /// One packet of `bytes`, arrived at `now_ms`; `dts` in ticks.
    pub fn hear(&mut self, kind: Kind, dts: i64, is_key: bool, bytes: usize, now_ms: u64) {
        let second = now_ms / 1_000;
        if self.seconds.back().is_none_or(|(at, ..)| *at != second) {
            self.seconds.push_back((second, 0, 0));
            if self.seconds.len() > WINDOW_S + 1 {
                self.seconds.pop_front();
            }
        }
        let is_picture = kind == Kind::Picture;
        if let Some((_, counted, pictures)) = self.seconds.back_mut() {
            *counted += bytes as u64;
            *pictures += u32::from(is_picture);
        }
        if !is_picture {
            self.last_sound_ms = Some(now_ms);
            return;
        }
        self.last_picture_ms = Some(now_ms);
        if let Some(before) = self.picture_dts.replace(dts)
            && dts > before
        {
            if self.distances.len() == DISTANCES_MAX {
                self.distances.pop_front();
            }
            self.distances.push_back(dts - before);
        }
        if is_key {
            if let Some(before) = self.key_dts.replace(dts) {
                self.key_ticks = Some(dts - before).filter(|ticks| *ticks > 0);
            }
        } else if let Some(before) = self.key_dts
            && dts - before > KEY_TICKS_MAX
        {
            // The next one is late already.
            self.key_ticks = self.key_ticks.max(Some(dts - before));
        }
    }

    /// How it does at `now_ms`.
    pub fn reading(&self, now_ms: u64) -> Reading {
        let second = now_ms / 1_000;
        let oldest = second.saturating_sub(WINDOW_S as u64);
        let whole = self.seconds.iter().filter(|(at, ..)| (oldest..second).contains(at));
        let (bytes, pictures) =
            whole.fold((0, 0), |(bytes, pictures), (_, b, p)| (bytes + b, pictures + p));
        // At its beginning, a feed has fewer seconds behind it.
        let first = self.seconds.front().map_or(second, |(at, ..)| *at);
        let seconds = second.saturating_sub(first.max(oldest)).max(1);
        let kbits = u32::try_from(bytes * 8 / 1_000 / seconds).unwrap_or(u32::MAX);
        let key_ms = self.key_ticks.map(|ticks| (ticks * 1_000 / TICKS_PER_S) as u32);
        let is_missed = |last: Option<u64>| now_ms.saturating_sub(last.unwrap_or(0)) > MISSED_MS;
        let mut troubles = Vec::new();
        if is_missed(self.last_picture_ms) {
            troubles.push(Trouble::NoPicture);
        }
        if is_missed(self.last_sound_ms) {
            troubles.push(Trouble::NoSound);
        }
        if let Some(ms) = key_ms.filter(|_| self.key_ticks > Some(KEY_TICKS_MAX)) {
            troubles.push(Trouble::KeysFarApart { ms });
        }
        if self.is_uneven() {
            troubles.push(Trouble::VariableFrameRate);
        }
        if kbits > KBITS_MAX {
            troubles.push(Trouble::TooManyBits { kbits });
        }
        Reading { kbits, fps: f64::from(pictures) / seconds as f64, key_ms, troubles }
    }

    fn is_uneven(&self) -> bool {
        if self.distances.len() < DISTANCES_MIN {
            return false;
        }
        let mut sorted: Vec<i64> = self.distances.iter().copied().collect();
        sorted.sort_unstable();
        let usual = sorted[sorted.len() / 2] as f64;
        let is_off = |distance: &&i64| (**distance as f64 - usual).abs() > usual * UNEVEN_SHARE;
        let off = sorted.iter().filter(is_off).count();
        off as f64 > sorted.len() as f64 * UNEVEN_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: i64 = TICKS_PER_S / 30;

    /// Ten seconds at 30 fps and 6,000 kbit/s with a key frame every `gop` frames, dts moved by `shake`.
    fn feed(gop: i64, bytes: usize, sound: bool, shake: impl Fn(i64) -> i64) -> Reading {
        let mut meter = Meter::default();
        for n in 0..300 {
            let now_ms = (n * 1_000 / 30) as u64;
            let dts = n * FRAME + shake(n);
            meter.hear(Kind::Picture, dts, n % gop == 0, bytes, now_ms);
            if sound {
                meter.hear(Kind::Sound, dts, true, 0, now_ms);
            }
        }
        meter.reading(10_000)
    }

    #[test]
    fn a_sound_feed_is_read_without_trouble() {
        let reading = feed(60, 25_000, true, |_| 0);
        assert_eq!((reading.kbits, reading.fps, reading.key_ms), (6_000, 30.0, Some(2_000)));
        assert_eq!(reading.troubles, []);
        // What the milliseconds of RTMP do to 30 fps is no variable rate.
        let rounded = feed(60, 25_000, true, |n| [0, 30, -30][(n % 3) as usize]);
        assert_eq!(rounded.troubles, []);
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert_eq!(feed(60, 25_000, false, |_| 0).troubles, [Trouble::NoSound]);
        assert_eq!(feed(120, 25_000, true, |_| 0).troubles, [Trouble::KeysFarApart { ms: 4_000 }]);
        assert_eq!(feed(60, 40_000, true, |_| 0).troubles, [Trouble::TooManyBits { kbits: 9_600 }]);
        let variable = feed(60, 25_000, true, |n| if n % 4 == 0 { FRAME / 2 } else { 0 });
        assert_eq!(variable.troubles, [Trouble::VariableFrameRate]);
        // One key frame at the beginning and none since.
        assert_eq!(
            feed(1_000, 25_000, true, |_| 0).troubles,
            [Trouble::KeysFarApart { ms: 9_966 }]
        );
    }

    #[test]
    fn a_feed_that_stands_still_is_told() {
        let mut meter = Meter::default();
        meter.hear(Kind::Picture, 0, true, 1_000, 0);
        assert_eq!(meter.reading(2_000).troubles, []);
        assert_eq!(meter.reading(9_000).troubles, [Trouble::NoPicture, Trouble::NoSound]);
        assert_eq!(meter.reading(9_000).kbits, 0);
    }
}
