//! Cameras in step: the same sound, heard on two of them, tells how far one runs behind the other, and how fast they part.
//!
//! Times are those of the recordings, which count what the encoders sent: the network moves when a packet arrives, not when it
//! was made. One measure gives a point; points of a pair of recordings give a line.

mod lag;
mod line;

use serde::{Deserialize, Serialize};

use crate::domain::ids::{CameraId, RecordingId};

pub use lag::{
    LAG_S_MAX, Lag, Mismatch, NEAR_S, PPM_MAX, RATE_HZ, WINDOW_S, Z_MIN, find_lag, is_silent,
};
pub use line::Line;

/// Points kept of a pair: some three hours of them.
pub const POINTS_MAX: usize = 24;

/// One measure: the two recordings hold the same sound, each at its own time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Nanoseconds since the reference's recording began.
    pub at_ns: i64,
    /// What has to be added to it to get the other recording's time.
    pub offset_ns: i64,
    /// How fast the other one's clock gains, as heard within the window.
    pub ppm: f64,
    /// How far the match stands out of what chance does, in standard deviations.
    pub z: f64,
}

/// How a camera's recording lies beside that of a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alignment {
    pub recording: RecordingId,
    pub reference: CameraId,
    pub reference_recording: RecordingId,
    /// So much later than on the reference does the same sound arrive from this camera, as the last window heard it.
    pub behind_ns: i64,
    pub line: Line,
    /// What the line was drawn through, oldest first.
    pub points: Vec<Point>,
}

impl Alignment {
    /// Whether it is of this pair of recordings.
    pub fn is_of(&self, reference: RecordingId, recording: RecordingId) -> bool {
        self.reference_recording == reference && self.recording == recording
    }

    /// The weakest match it stands on.
    pub fn z(&self) -> f64 {
        self.points.iter().map(|point| point.z).fold(f64::INFINITY, f64::min)
    }
}

/// Old and new points of a pair as one history, oldest first: of two at the same place the stronger stays, and the oldest go.
pub fn gathered(known: &[Point], found: &[Point]) -> Vec<Point> {
    /// Windows that overlap this much say the same thing.
    const SAME_NS: i64 = 5_000_000_000;
    let mut all: Vec<Point> = Vec::new();
    let mut sorted: Vec<Point> = known.iter().chain(found).copied().collect();
    sorted.sort_by_key(|point| point.at_ns);
    for point in sorted {
        match all.last_mut() {
            Some(last) if point.at_ns - last.at_ns < SAME_NS => {
                if point.z > last.z {
                    *last = point;
                }
            }
            _ => all.push(point),
        }
    }
    all.drain(..all.len().saturating_sub(POINTS_MAX));
    all
}

#[cfg(test)]
mod tests;
