//! The two streams that are recorded out of a programme: packets of libav become frames, on a clock that never wraps.

use bytes::Bytes;
use ffmpeg_next::codec::Id;

use crate::adapters::ffmpeg::demux::adts::{self, AAC_SAMPLES, NoFrame};
use crate::adapters::ffmpeg::demux::frames::Frame;
use crate::adapters::ffmpeg::demux::pictures::{Pictures, unfit};
use crate::domain::live::track::{Codec, Form, Kind, TICKS_PER_S, Track};
use crate::ports::ingest::{Leave, Packet};

/// Times of a transport stream have 33 bits.
const WRAP: i64 = 1 << 33;
/// A picture that tells no time comes this long after the one before, when nothing else is known: 30 a second.
const USUAL_STEP: i64 = TICKS_PER_S / 30;

/// The codec we know by one of libav's.
pub(super) fn codec(id: Id) -> Option<Codec> {
    match id {
        Id::H264 => Some(Codec::H264),
        Id::HEVC => Some(Codec::Hevc),
        Id::AAC => Some(Codec::Aac),
        _ => None,
    }
}

/// What a packet tells of itself.
pub(super) struct Told<'a> {
    pub dts: Option<i64>,
    pub pts: Option<i64>,
    pub is_key: bool,
    pub data: &'a [u8],
}

/// Undoes the wraps of 33 bits, for both streams on one line.
#[derive(Debug, Default)]
struct Clock(Option<i64>);

impl Clock {
    /// Nearer than half the range to what was told last, before or after.
    fn whole(&mut self, raw: i64) -> i64 {
        let ticks = self.0.map_or(raw & (WRAP - 1), |last| last + nearest(raw.wrapping_sub(last)));
        self.0 = Some(ticks);
        ticks
    }
}

fn nearest(distance: i64) -> i64 {
    let distance = distance & (WRAP - 1);
    if distance >= WRAP / 2 { distance - WRAP } else { distance }
}

/// The streams of a caller.
pub(super) struct Streams {
    clock: Clock,
    pictures: Option<Pictures>,
    /// When the last picture was decoded, and how long after the one before.
    last_picture: Option<(i64, i64)>,
    sound: Option<Track>,
    /// The last time that was told for sound, and samples since, at a rate.
    since: Option<(i64, u64)>,
}

impl Streams {
    pub(super) const fn new() -> Self {
        Self { clock: Clock(None), pictures: None, last_picture: None, sound: None, since: None }
    }

    /// A packet of the stream that was chosen for its kind.
    pub(super) fn take(&mut self, codec: Codec, told: &Told<'_>) -> Result<Vec<Frame>, Leave> {
        match codec.kind() {
            Kind::Picture => self.picture(codec, told),
            Kind::Sound => self.sound(told),
        }
    }

    fn picture(&mut self, codec: Codec, told: &Told<'_>) -> Result<Vec<Frame>, Leave> {
        let (dts, pts) = match (told.dts.or(told.pts), self.last_picture) {
            (Some(raw), _) => {
                let dts = self.clock.whole(raw);
                (dts, dts + told.pts.map_or(0, |pts| nearest(pts.wrapping_sub(raw))))
            }
            (None, Some((last, step))) => (last + step, last + step),
            // Nobody knows when it is: it cannot be recorded.
            (None, None) => return Ok(Vec::new()),
        };
        let step = self.last_picture.map(|(last, _)| dts - last);
        let step = step.filter(|step| (1..TICKS_PER_S).contains(step)).unwrap_or(USUAL_STEP);
        self.last_picture = Some((dts, step));
        let taken = self.pictures.get_or_insert_with(|| Pictures::new(codec)).take(told.data)?;
        let packet = taken.data.map(|data| packet(Kind::Picture, dts, pts, told.is_key, data));
        Ok(taken.track.map(Frame::Track).into_iter().chain(packet).collect())
    }

    fn sound(&mut self, told: &Told<'_>) -> Result<Vec<Frame>, Leave> {
        let mut frames = Vec::new();
        if let Some(raw) = told.dts.or(told.pts) {
            self.since = Some((self.clock.whole(raw), 0));
        }
        let mut rest = told.data;
        while !rest.is_empty() {
            let frame = match adts::first_frame(rest) {
                Ok((frame, behind)) => {
                    rest = behind;
                    frame
                }
                // Torn on the way: the next packet has a head again.
                Err(NoFrame::Broken) => break,
                Err(NoFrame::Unfit(what)) => return Err(unfit(what)),
            };
            let Some((base, samples)) = &mut self.since else { break };
            let Form::Sound { rate, .. } = frame.track.form else { break };
            let at = *base + (*samples as i64 * TICKS_PER_S) / i64::from(rate);
            *samples += u64::from(AAC_SAMPLES);
            if self.sound.as_ref() != Some(&frame.track) {
                // What was counted was counted at another rate.
                (*base, *samples) = (at, u64::from(AAC_SAMPLES));
                self.sound = Some(frame.track.clone());
                frames.push(Frame::Track(frame.track));
            }
            let data = Bytes::copy_from_slice(frame.data);
            frames.push(packet(Kind::Sound, at, at, true, data));
        }
        Ok(frames)
    }
}

fn packet(kind: Kind, dts: i64, pts: i64, is_key: bool, data: Bytes) -> Frame {
    let samples = if kind == Kind::Sound { AAC_SAMPLES } else { 0 };
    let arrived = std::time::Instant::now();
    Frame::Packet(Packet { kind, dts, pts, samples, is_key, data, arrived })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_of_33_bits_goes_on_after_each_wrap() {
        let mut clock = Clock::default();
        let mut last = clock.whole(WRAP - 3_000);
        for n in 0..3_000_000_i64 {
            // A tenth of a day a step: three wraps in all, seen from both streams.
            let raw = (WRAP - 3_000 + n * 9_000) & (WRAP - 1);
            let ticks = clock.whole(raw);
            assert!(n == 0 || ticks - last == 9_000);
            last = ticks;
        }
        assert!(last > 3 * WRAP);
        assert_eq!(clock.whole((last - 50) & (WRAP - 1)), last - 50, "sound may lag behind");
    }

    #[test]
    fn sound_without_times_goes_on_by_its_samples() {
        let frame = [0xff, 0xf1, 0x4c, 0x80, 0x01, 0x3f, 0xfc, 7, 8];
        let three = [&frame[..], &frame, &frame].concat();
        let mut streams = Streams::new();
        let of = |dts, data| Told { dts, pts: dts, is_key: true, data };
        let mut frames = streams.take(Codec::Aac, &of(Some(WRAP - 1), &three)).unwrap();
        frames.extend(streams.take(Codec::Aac, &of(None, &frame)).unwrap());
        frames.extend(streams.take(Codec::Aac, &of(Some(5), b"torn")).unwrap());
        let times: Vec<i64> = frames
            .iter()
            .filter_map(|frame| if let Frame::Packet(it) = frame { Some(it.dts) } else { None })
            .collect();
        assert_eq!(times, [0, 1_920, 3_840, 5_760].map(|it| WRAP - 1 + it));
    }
}
