//! What one full pass over a media file learns: tracks, key frames, sound.

use serde::{Deserialize, Serialize};

use crate::domain::clips::loudness::LoudnessSeries;

/// A fraction as media files write it: frame rates, time bases, pixel shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ratio {
    pub num: i32,
    pub den: i32,
}

impl Ratio {
    pub const fn new(num: i32, den: i32) -> Self {
        Self { num, den }
    }

    /// The value as a number; 0 when the denominator is 0.
    pub fn value(self) -> f64 {
        if self.den == 0 { 0.0 } else { f64::from(self.num) / f64::from(self.den) }
    }
}

/// The picture track of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VideoTrack {
    /// FFmpeg's short name, `h264`, `hevc`, `av1`, ….
    pub codec: String,
    pub width: u32,
    pub height: u32,
    /// Frames per second; the average one when `variable_rate`.
    pub frame_rate: Ratio,
    pub variable_rate: bool,
    /// FFmpeg's name, `yuv420p`, ….
    pub pixel_format: String,
    /// Shape of one pixel, 1/1 when square or not stated.
    pub pixel_aspect: Ratio,
    /// Clockwise turn a player applies: 0, 90, 180 or 270 degrees.
    pub rotation_degrees: u32,
    /// True when a picture shown before a key frame needs the group before it: such groups cannot be copied alone.
    pub open_gop: bool,
    /// Number of pictures found.
    pub frames: u64,
}

/// The sound track of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioTrack {
    pub codec: String,
    pub sample_rate_hz: u32,
    pub channels: u16,
}

/// One picture that can be decoded without any other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KeyFrame {
    /// Seconds from the start of the file (see [`Inspection::duration_s`]).
    pub time_s: f64,
    /// Byte offset of its packet, when the container has such a thing.
    pub position: Option<u64>,
}

/// Where the key frames lie, in order of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyFrameIndex(pub Vec<KeyFrame>);

impl KeyFrameIndex {
    /// The entries needed to cut [`start_s`, `end_s`]: from two key frames before to one after.
    #[must_use]
    pub fn around(&self, start_s: f64, end_s: f64) -> Self {
        let first = self.0.partition_point(|key| key.time_s <= start_s).saturating_sub(2);
        let last = (self.0.partition_point(|key| key.time_s < end_s) + 1).min(self.0.len());
        Self(self.0[first.min(last)..last].to_vec())
    }

    /// The last key frame at or before `time_s`.
    pub fn at_or_before(&self, time_s: f64) -> Option<KeyFrame> {
        let after = self.0.partition_point(|key| key.time_s <= time_s);
        after.checked_sub(1).map(|index| self.0[index])
    }
}

/// The result of reading a media file once from start to end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// FFmpeg's short name of the container, `mov,mp4,m4a,3gp,3g2,mj2`, `matroska,webm`, ….
    pub container: String,
    /// Seconds from the first to the end of the last picture or sample. Every time in this house is counted from
    /// the file's own start, as a player shows it, whatever the time stamps inside.
    pub duration_s: f64,
    pub size_bytes: u64,
    pub video: VideoTrack,
    pub audio: AudioTrack,
    pub key_frames: KeyFrameIndex,
    pub loudness: LoudnessSeries,
}
