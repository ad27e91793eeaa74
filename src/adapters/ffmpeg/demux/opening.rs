//! The beginning of a stream: its tracks are told before its packets, or a recording would begin without one of them.

use std::mem::take;
use std::time::{Duration, Instant};

use crate::adapters::ffmpeg::demux::frames::Frame;
use crate::domain::live::track::Kind;

/// Longest wait for a track that was announced, and the bytes that may wait with it.
const WAIT_MAX: Duration = Duration::from_secs(1);
const HELD_BYTES_MAX: usize = 8 << 20;

/// Holds the first packets back until the tracks that were announced are told.
pub(super) struct Opening {
    since: Instant,
    held: Vec<Frame>,
    is_over: bool,
}

impl Opening {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, held: Vec::new(), is_over: false }
    }

    /// What can be told now.
    pub(super) fn pass(
        &mut self,
        frames: Vec<Frame>,
        announced: &[Kind],
        now: Instant,
    ) -> Vec<Frame> {
        if self.is_over {
            return frames;
        }
        let tracks = |of: &[Frame], kind| of.iter().filter(|it| kind_of(it) == Some(kind)).count();
        let is_change = [Kind::Picture, Kind::Sound]
            .into_iter()
            .any(|kind| tracks(&self.held, kind) > 0 && tracks(&frames, kind) > 0);
        if is_change {
            let mut told = self.end();
            told.extend(frames);
            return told;
        }
        self.held.extend(frames);
        let is_whole = announced.iter().all(|kind| tracks(&self.held, *kind) > 0);
        let bytes: usize = self.held.iter().map(bytes_of).sum();
        let is_late = now.saturating_duration_since(self.since) > WAIT_MAX;
        if is_whole || is_late || bytes > HELD_BYTES_MAX { self.end() } else { Vec::new() }
    }

    /// Everything that was held back, tracks first.
    pub(super) fn end(&mut self) -> Vec<Frame> {
        self.is_over = true;
        let mut held = take(&mut self.held);
        held.sort_by_key(|frame| kind_of(frame).is_none());
        held
    }
}

/// The kind of a track; none of anything else.
const fn kind_of(frame: &Frame) -> Option<Kind> {
    match frame {
        Frame::Track(track) => Some(track.kind()),
        Frame::Packet(_) | Frame::Leave(_) => None,
    }
}

fn bytes_of(frame: &Frame) -> usize {
    if let Frame::Packet(packet) = frame { packet.data.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::live::track::{Codec, Form, Track};
    use crate::ports::ingest::Packet;

    fn track(codec: Codec, width: u32) -> Frame {
        let form = match codec.kind() {
            Kind::Picture => Form::Picture { width, height: 720 },
            Kind::Sound => Form::Sound { rate: 48_000, channels: 2 },
        };
        Frame::Track(Track { codec, config: vec![1], form })
    }

    fn packet(dts: i64, now: Instant) -> Frame {
        let data = vec![1].into();
        let kind = Kind::Picture;
        Frame::Packet(Packet { kind, dts, pts: dts, samples: 0, is_key: true, data, arrived: now })
    }

    #[test]
    fn tracks_are_told_before_the_packets_that_came_with_the_first() {
        let now = Instant::now();
        let both = [Kind::Picture, Kind::Sound];
        let (picture, sound) = (track(Codec::H264, 1_280), track(Codec::Aac, 0));
        let mut opening = Opening::new(now);
        assert!(opening.pass(vec![picture.clone(), packet(1, now)], &both, now).is_empty());
        let told = opening.pass(vec![sound.clone(), packet(2, now)], &both, now);
        assert_eq!(told, [picture.clone(), sound, packet(1, now), packet(2, now)]);
        assert_eq!(opening.pass(vec![packet(3, now)], &both, now).len(), 1);

        let mut alone = Opening::new(now);
        assert_eq!(alone.pass(vec![picture.clone()], &[Kind::Picture], now).len(), 1);
        let mut late = Opening::new(now);
        let then = now + Duration::from_secs(2);
        assert_eq!(late.pass(vec![picture.clone()], &both, then).len(), 1, "it goes on without");
        let mut changes = Opening::new(now);
        assert!(changes.pass(vec![picture.clone(), packet(1, now)], &both, now).is_empty());
        let other = track(Codec::H264, 640);
        let told = changes.pass(vec![other.clone(), packet(2, now)], &both, now);
        assert_eq!(told, [picture, packet(1, now), other, packet(2, now)]);
    }
}
