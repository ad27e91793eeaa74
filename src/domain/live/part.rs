//! Parts: what a feed is cut into on its way to the disk. Pure: the same packets give the same parts.
//!
//! A part begins with a picture and lasts a second, or less where a key frame comes sooner; it can be read alone. Files of
//! at most a minute begin with a key frame. Times count from the recording's first picture.

use crate::domain::live::track::{Kind, TICKS_PER_S};

/// Length of a part, in ticks; a picture that comes this little early still begins the next one.
const PART_TICKS: i64 = TICKS_PER_S;
const EARLY_TICKS: i64 = TICKS_PER_S / 200;
/// Sound that ran on so far without a picture makes a part of its own, in ticks.
const SOUND_ALONE_TICKS: i64 = 2 * TICKS_PER_S;
/// Longest file, in ticks. A feed whose key frames are farther apart runs on to the next one.
const FILE_TICKS_MAX: i64 = 60 * TICKS_PER_S;
/// Most that one part holds: a feed beyond that gets shorter parts.
pub const PART_BYTES_MAX: usize = 24 << 20;
pub const PART_SAMPLES_MAX: usize = 2_000;
/// Times that leap further than this, in ticks, begin another recording.
const LEAP_TICKS_MAX: i64 = 5 * TICKS_PER_S;
const BACK_TICKS_MAX: i64 = TICKS_PER_S;
/// Sound is counted, not timed: its clock is put right when it is off by more than this, in ticks (two frames of AAC).
const SOUND_OFF_TICKS: i64 = 43 * TICKS_PER_S / 1_000;
const NS_PER_MINUTE: i64 = 60_000_000_000;

/// What is cut: one packet of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit<P> {
    pub kind: Kind,
    /// In ticks, from an instant of the feed's own.
    pub dts: i64,
    pub pts: i64,
    pub is_key: bool,
    /// How many samples of sound it holds, at the sound's own rate; 0 for a picture.
    pub samples: u32,
    pub bytes: usize,
    pub data: P,
    /// When it arrived, UTC, in nanoseconds since 1970.
    pub utc_ns: i64,
}

/// A picture or a frame of sound in its place; in units of its track's clock (ticks for pictures, samples for sound).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample<P> {
    pub duration: u32,
    /// Shown so much after it is decoded.
    pub offset: i32,
    pub is_key: bool,
    pub bytes: usize,
    pub data: P,
}

/// Samples of one track, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run<P> {
    /// When the first one is decoded, since the recording began, in units of the track's clock.
    pub start: i64,
    pub samples: Vec<Sample<P>>,
}

impl<P> Run<P> {
    const fn new(start: i64) -> Self {
        Self { start, samples: Vec::new() }
    }

    /// In units of the track's clock.
    pub fn duration(&self) -> i64 {
        self.samples.iter().map(|sample| i64::from(sample.duration)).sum()
    }
}

/// A part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<P> {
    /// Within the recording, from 1.
    pub number: u32,
    /// The file it belongs to, from 1.
    pub file: u32,
    /// In ticks since the recording began.
    pub dts: i64,
    pub ticks: i64,
    /// When its first sample arrived.
    pub utc_ns: i64,
    /// Decoding can begin here.
    pub is_key: bool,
    pub picture: Run<P>,
    pub sound: Run<P>,
}

/// The feed's times leapt: what follows belongs to another recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the encoder's times leapt by {ticks} ticks")]
pub struct Leap {
    pub ticks: i64,
}

/// Cuts one recording into parts.
#[derive(Debug)]
pub struct Parts<P> {
    /// Samples a second of the sound.
    rate: u32,
    /// Time zero.
    origin: Option<i64>,
    /// The last picture: how long it lasts is known when the next one comes.
    held: Option<Unit<P>>,
    frame_ticks: i64,
    picture: Run<P>,
    sound: Run<P>,
    sound_next: Option<i64>,
    bytes: usize,
    /// Of the part in the making.
    begins: Option<Begin>,
    number: u32,
    file: u32,
    file_begins: Option<(i64, i64)>,
    last_key: Option<i64>,
    gop_ticks: i64,
    put_right: u64,
}

#[derive(Debug, Clone, Copy)]
struct Begin {
    dts: i64,
    utc_ns: i64,
}

impl<P> Parts<P> {
    /// For a recording whose sound has so many samples a second; any number when it has none.
    pub fn new(rate: u32) -> Self {
        Self {
            rate: rate.max(1),
            origin: None,
            held: None,
            frame_ticks: TICKS_PER_S / 30,
            picture: Run::new(0),
            sound: Run::new(0),
            sound_next: None,
            bytes: 0,
            begins: None,
            number: 0,
            file: 0,
            file_begins: None,
            last_key: None,
            gop_ticks: 0,
            put_right: 0,
        }
    }

    /// Packets whose time stood still or went back a little, or that came before the beginning: moved or left out.
    pub const fn put_right(&self) -> u64 {
        self.put_right
    }

    /// Takes a packet; gives the part that it ends. The first picture has to be a key frame. After a leap, take what is left
    /// with [`Self::finish`] and begin anew.
    pub fn push(&mut self, unit: Unit<P>) -> Result<Option<Part<P>>, Leap> {
        match unit.kind {
            Kind::Picture => self.push_picture(unit),
            Kind::Sound => self.push_sound(unit),
        }
    }

    /// The last part.
    pub fn finish(mut self) -> Option<Part<P>> {
        if let Some(last) = self.held.take() {
            self.place(last, self.frame_ticks);
        }
        self.part()
    }

    fn push_picture(&mut self, mut unit: Unit<P>) -> Result<Option<Part<P>>, Leap> {
        let origin = *self.origin.get_or_insert(unit.dts);
        let shown = unit.pts - unit.dts;
        unit.dts -= origin;
        unit.pts -= origin;
        let Some(before) = self.held.take() else {
            self.begin_part(&unit, None);
            self.held = Some(unit);
            return Ok(None);
        };
        let leap = unit.dts - before.dts;
        if !(-BACK_TICKS_MAX..=LEAP_TICKS_MAX).contains(&leap) {
            self.held = Some(before);
            return Err(Leap { ticks: leap });
        }
        if leap <= 0 {
            self.put_right += 1;
            unit.dts = before.dts + 1;
        } else {
            self.frame_ticks = leap;
        }
        unit.pts = unit.dts + shown;
        let lasts = unit.dts - before.dts;
        self.place(before, lasts);
        let part_begins = self.begins.map_or(unit.dts, |begin| begin.dts);
        let is_long = unit.dts - part_begins >= PART_TICKS - EARLY_TICKS;
        let is_full = self.bytes >= PART_BYTES_MAX
            || self.picture.samples.len().max(self.sound.samples.len()) >= PART_SAMPLES_MAX;
        let part = if unit.is_key || is_long || is_full { self.part() } else { None };
        if self.begins.is_none() {
            self.begin_part(&unit, part.as_ref());
        }
        self.held = Some(unit);
        Ok(part)
    }

    fn push_sound(&mut self, unit: Unit<P>) -> Result<Option<Part<P>>, Leap> {
        let origin = *self.origin.get_or_insert(unit.dts);
        let ticks = unit.dts - origin;
        let told = self.samples(ticks);
        let at = match self.sound_next {
            None if told < 0 => {
                // It belongs before the first picture.
                self.put_right += 1;
                return Ok(None);
            }
            None => told,
            Some(next) => {
                let off = ticks - self.ticks(next);
                if !(-LEAP_TICKS_MAX..=LEAP_TICKS_MAX).contains(&off) {
                    return Err(Leap { ticks: off });
                }
                if off < -SOUND_OFF_TICKS {
                    self.put_right += 1;
                    return Ok(None);
                }
                if off > SOUND_OFF_TICKS { told } else { next }
            }
        };
        let begin = *self.begins.get_or_insert(Begin { dts: ticks, utc_ns: unit.utc_ns });
        if self.file == 0 {
            self.begin_file(begin.dts, begin.utc_ns);
        }
        if self.sound.samples.is_empty() {
            self.sound.start = at;
        } else if let (Some(last), Some(next)) = (self.sound.samples.last_mut(), self.sound_next) {
            // A hole is silence: the frame before it lasts until here.
            last.duration = last.duration.saturating_add(u32::try_from(at - next).unwrap_or(0));
        }
        self.sound_next = Some(at + i64::from(unit.samples));
        self.bytes += unit.bytes;
        self.sound.samples.push(Sample {
            duration: unit.samples,
            offset: 0,
            is_key: true,
            bytes: unit.bytes,
            data: unit.data,
        });
        let lasts = if self.held.is_some() { SOUND_ALONE_TICKS } else { PART_TICKS };
        if ticks - begin.dts < lasts && self.sound.samples.len() < PART_SAMPLES_MAX {
            return Ok(None);
        }
        let part = self.part();
        match (&part, self.held.take()) {
            // Pictures stand still: the one that is held begins the next part.
            (Some(_), Some(held)) => {
                self.begins = Some(Begin { dts: held.dts, utc_ns: held.utc_ns });
                self.picture.start = held.dts;
                self.held = Some(held);
            }
            (Some(part), None) => {
                let (begins, minute) = self.file_begins.unwrap_or_default();
                let now = unit.utc_ns / NS_PER_MINUTE;
                if now != minute || ticks - begins >= FILE_TICKS_MAX {
                    self.begin_file(part.dts + part.ticks, unit.utc_ns);
                }
            }
            (None, held) => self.held = held,
        }
        Ok(part)
    }

    fn begin_part(&mut self, unit: &Unit<P>, before: Option<&Part<P>>) {
        self.begins = Some(Begin { dts: unit.dts, utc_ns: unit.utc_ns });
        self.picture.start = unit.dts;
        if !unit.is_key && before.is_some() {
            return;
        }
        if let Some(last) = self.last_key.replace(unit.dts) {
            self.gop_ticks = unit.dts - last;
        }
        let is_due = self.file_begins.is_none_or(|(begins, minute)| {
            unit.utc_ns / NS_PER_MINUTE != minute
                || unit.dts - begins + self.gop_ticks > FILE_TICKS_MAX
        });
        if is_due {
            self.begin_file(unit.dts, unit.utc_ns);
        }
    }

    fn begin_file(&mut self, dts: i64, utc_ns: i64) {
        self.file += 1;
        self.file_begins = Some((dts, utc_ns / NS_PER_MINUTE));
    }

    fn place(&mut self, unit: Unit<P>, lasts: i64) {
        self.bytes += unit.bytes;
        self.picture.samples.push(Sample {
            duration: u32::try_from(lasts).unwrap_or(u32::MAX),
            offset: i32::try_from(unit.pts - unit.dts).unwrap_or(0),
            is_key: unit.is_key,
            bytes: unit.bytes,
            data: unit.data,
        });
    }

    /// What was gathered; none when that is nothing. It belongs to the file that was begun last before its first sample.
    fn part(&mut self) -> Option<Part<P>> {
        let begin = self.begins.take()?;
        if self.picture.samples.is_empty() && self.sound.samples.is_empty() {
            self.begins = Some(begin);
            return None;
        }
        self.number += 1;
        self.bytes = 0;
        let picture = std::mem::replace(&mut self.picture, Run::new(0));
        let sound_next = self.sound_next.unwrap_or(0);
        let sound = std::mem::replace(&mut self.sound, Run::new(sound_next));
        let ticks = if picture.samples.is_empty() {
            self.ticks(sound.duration())
        } else {
            picture.duration()
        };
        // Without a picture, decoding can begin here only where there is none at all.
        let first = picture.samples.first();
        let is_key = first.map_or(self.last_key.is_none(), |first| first.is_key);
        Some(Part {
            number: self.number,
            file: self.file,
            dts: begin.dts,
            ticks,
            utc_ns: begin.utc_ns,
            is_key,
            picture,
            sound,
        })
    }

    fn samples(&self, ticks: i64) -> i64 {
        (ticks * i64::from(self.rate) + TICKS_PER_S / 2).div_euclid(TICKS_PER_S)
    }

    fn ticks(&self, samples: i64) -> i64 {
        samples * TICKS_PER_S / i64::from(self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: i64 = TICKS_PER_S / 30;
    const SECOND_NS: i64 = 1_000_000_000;

    fn picture(n: i64, gop: i64) -> Unit<i64> {
        let dts = 500_000 + n * FRAME;
        Unit {
            kind: Kind::Picture,
            dts,
            pts: dts + FRAME,
            is_key: n % gop == 0,
            samples: 0,
            bytes: 1_000,
            data: n,
            utc_ns: n * SECOND_NS / 30,
        }
    }

    fn sound(n: i64) -> Unit<i64> {
        // In whole milliseconds, as RTMP tells.
        let dts = 500_000 + n * 1_024 * 1_000 / 48_000 * 90;
        let utc_ns = n * 1_024 * SECOND_NS / 48_000;
        Unit {
            kind: Kind::Sound,
            dts,
            pts: dts,
            is_key: true,
            samples: 1_024,
            bytes: 400,
            data: n,
            utc_ns,
        }
    }

    /// Seconds of a feed, interleaved as it would come.
    fn feed(seconds: i64, gop: i64) -> Vec<Unit<i64>> {
        let mut units: Vec<Unit<i64>> = (0..seconds * 30).map(|n| picture(n, gop)).collect();
        units.extend((0..seconds * 48_000 / 1_024).map(sound));
        units.sort_by_key(|unit| (unit.dts, unit.kind));
        units
    }

    fn cut(units: Vec<Unit<i64>>) -> (Vec<Part<i64>>, u64) {
        let mut parts = Parts::new(48_000);
        let mut out = Vec::new();
        for unit in units {
            out.extend(parts.push(unit).expect("no leap"));
        }
        let put_right = parts.put_right();
        out.extend(parts.finish());
        (out, put_right)
    }

    fn data(parts: &[Part<i64>], of: impl Fn(&Part<i64>) -> &Run<i64>) -> Vec<i64> {
        parts.iter().flat_map(|part| of(part).samples.iter().map(|it| it.data)).collect()
    }

    #[test]
    fn a_feed_is_cut_into_seconds_and_minutes_and_nothing_is_lost() {
        let (parts, put_right) = cut(feed(150, 60));
        assert_eq!((parts.len(), put_right), (150, 0));
        assert_eq!(data(&parts, |part| &part.picture), (0..150 * 30).collect::<Vec<_>>());
        assert_eq!(data(&parts, |part| &part.sound), (0..150 * 48_000 / 1_024).collect::<Vec<_>>());
        for (n, part) in parts.iter().enumerate() {
            assert_eq!((part.number as usize, part.dts), (n + 1, n as i64 * TICKS_PER_S));
            assert_eq!((part.ticks, part.picture.duration()), (TICKS_PER_S, TICKS_PER_S));
            assert_eq!(part.is_key, n % 2 == 0);
            assert_eq!(part.file as usize, n / 60 + 1, "part {n}");
            assert!(part.picture.samples.iter().all(|it| it.offset == FRAME as i32));
        }
        let mut next = 0;
        for part in &parts {
            assert_eq!(part.sound.start, next, "sound goes on where it was");
            next += part.sound.duration();
        }
    }

    #[test]
    fn files_begin_with_a_key_frame_and_hold_no_more_than_a_minute() {
        for gop in [30, 60, 75, 120] {
            let (parts, _) = cut(feed(200, gop));
            let files = parts.last().map_or(0, |part| part.file);
            assert!(files >= 4, "{files}");
            for file in 1..=files {
                let of: Vec<_> = parts.iter().filter(|part| part.file == file).collect();
                assert!(of[0].is_key, "file {file} of a feed with {gop}");
                let ticks: i64 = of.iter().map(|part| part.ticks).sum();
                assert!(ticks <= FILE_TICKS_MAX, "{ticks}");
            }
        }
        // Key frames two minutes apart: the file runs on.
        let (parts, _) = cut(feed(150, 3_600));
        assert!(parts.iter().all(|part| part.is_key == (part.dts % (120 * TICKS_PER_S) == 0)));
        assert_eq!(parts.last().map(|part| part.file), Some(2));
    }

    #[test]
    fn times_that_stand_still_are_put_right_and_leaps_are_told() {
        let mut units = feed(3, 60);
        for unit in units.iter_mut().filter(|unit| unit.kind == Kind::Picture) {
            if unit.data == 40 {
                unit.dts -= FRAME;
            }
            if unit.data == 50 {
                unit.dts -= TICKS_PER_S / 2;
            }
        }
        let (parts, put_right) = cut(units);
        assert_eq!(put_right, 2);
        assert_eq!(data(&parts, |part| &part.picture), (0..90).collect::<Vec<_>>());
        assert!(parts.iter().flat_map(|part| &part.picture.samples).all(|it| it.duration > 0));

        for leap in [10 * TICKS_PER_S, -10 * TICKS_PER_S] {
            let mut parts = Parts::new(48_000);
            for n in 0..45 {
                parts.push(picture(n, 60)).unwrap();
            }
            let mut far = picture(45, 60);
            far.dts += leap;
            assert_eq!(parts.push(far), Err(Leap { ticks: leap + FRAME }));
            assert_eq!(parts.finish().map(|last| last.picture.samples.len()), Some(15));
        }
    }

    #[test]
    fn a_hole_in_the_sound_is_silence_and_a_slow_drift_is_none() {
        let mut units = feed(4, 60);
        units.retain(|unit| unit.kind == Kind::Picture || !(60..75).contains(&unit.data));
        let (parts, put_right) = cut(units);
        assert_eq!(put_right, 0);
        let longest = parts.iter().flat_map(|part| &part.sound.samples).map(|it| it.duration).max();
        assert!((14 * 1_024..=17 * 1_024).contains(&longest.unwrap()), "{longest:?}");
        let total: i64 = parts.iter().map(|part| part.sound.duration()).sum();
        assert!((total - 4 * 48_000).abs() < 3 * 1_024, "{total}");
    }

    #[test]
    fn sound_alone_and_pictures_that_stand_still_reach_the_disk() {
        let (parts, _) = cut((0..48_000 * 5 / 1_024).map(sound).collect());
        assert_eq!(data(&parts, |part| &part.sound), (0..48_000 * 5 / 1_024).collect::<Vec<_>>());
        assert!(parts.len() >= 5 && parts.iter().all(|part| part.is_key && part.file == 1));

        let mut units = feed(10, 60);
        units.retain(|unit| unit.kind == Kind::Sound || unit.data < 45);
        let mut parts = Parts::new(48_000);
        let mut out = Vec::new();
        for unit in units {
            out.extend(parts.push(unit).unwrap());
        }
        let heard: usize = out.iter().map(|part| part.sound.samples.len()).sum();
        assert!(heard > 48_000 * 7 / 1_024, "{heard}: sound does not wait for a picture");
        out.extend(parts.finish());
        assert_eq!(data(&out, |part| &part.picture), (0..45).collect::<Vec<_>>());
        assert_eq!(data(&out, |part| &part.sound), (0..48_000 * 10 / 1_024).collect::<Vec<_>>());
    }

    #[test]
    fn sound_before_the_first_picture_is_left_out() {
        let mut units = feed(2, 30);
        units.retain(|unit| unit.kind == Kind::Sound || unit.data >= 15);
        let first = units.iter().position(|unit| unit.kind == Kind::Picture).unwrap();
        let picture = units.remove(first);
        units.insert(0, Unit { is_key: true, ..picture });
        let (parts, put_right) = cut(units);
        assert!(put_right > 20, "{put_right}");
        assert_eq!(parts[0].sound.samples[0].data, put_right as i64);
    }
}
