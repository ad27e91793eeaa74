//! Cutting a clip exactly to the frame: by copying where the source allows it, else by encoding all of it.

mod edges;
mod reencode;
mod smart;

use std::time::Instant;

use crate::adapters::ffmpeg::encode::{publish, temporary_of};
use crate::adapters::ffmpeg::job::Progress;
use crate::adapters::ffmpeg::open::{Track, frame_rate, open};
use crate::domain::clips::footage::Ratio;
use crate::ports::media_engine::{CutMethod, CutOrder, CutReport, MediaError, ReencodeReason};

/// Bit rate of a clip's sound, bits per second.
const SOUND_BIT_RATE: usize = 192_000;
/// Longest clip, seconds.
const CLIP_SECONDS_MAX: f64 = 4.0 * 3600.0;

/// What is cut: times from the start of the file.
#[derive(Debug, Clone, Copy)]
struct Span {
    start_s: f64,
    end_s: f64,
    rate: Ratio,
}

impl Span {
    /// Half a frame, in seconds: a time within it of a frame means that frame.
    fn half_frame(&self) -> f64 {
        0.5 / self.rate.value()
    }

    fn starts_by(&self, time_s: f64) -> bool {
        time_s >= self.start_s - self.half_frame() + 1e-7
    }

    fn ends_by(&self, time_s: f64) -> bool {
        time_s >= self.end_s - self.half_frame() + 1e-7
    }

    fn holds(&self, time_s: f64) -> bool {
        self.starts_by(time_s) && !self.ends_by(time_s)
    }

    /// Frames the span should hold.
    fn frames(&self) -> u64 {
        ((self.end_s - self.start_s) * self.rate.value()).round().max(1.0) as u64
    }

    /// Samples at 48 kHz that last as long as `frames`.
    fn samples_of(&self, frames: u64) -> usize {
        (frames as f64 * crate::adapters::ffmpeg::sound::RATE as f64 / self.rate.value()).round()
            as usize
    }
}

/// What either way of cutting counts.
struct Counts {
    copied: u64,
    encoded: u64,
    /// Pictures that the source lacks: the one before each is shown longer.
    missing: u64,
}

/// Why the smart cut gave up.
enum Stop {
    /// The source cannot be copied; encoding will do.
    Reencode(ReencodeReason),
    Failed(MediaError),
}

impl From<MediaError> for Stop {
    fn from(error: MediaError) -> Self {
        Self::Failed(error)
    }
}

/// Cuts as ordered.
pub(super) fn cut(order: &CutOrder, progress: &mut Progress) -> Result<CutReport, MediaError> {
    let started = Instant::now();
    let seconds = order.end_s - order.start_s;
    if !order.start_s.is_finite()
        || !order.end_s.is_finite()
        || order.start_s < 0.0
        || seconds <= 0.0
    {
        return Err(MediaError::BadOrder {
            detail: "La fin du clip doit suivre son début.".to_owned(),
        });
    }
    if seconds > CLIP_SECONDS_MAX {
        return Err(MediaError::BadOrder { detail: "Un clip dure au plus 4 heures.".to_owned() });
    }
    let mut source = open(&order.source)?;
    if let Some(origin_s) = order.origin_s {
        source.origin_s = origin_s;
    }
    let video = source.video()?;
    let audio = source.audio.clone().ok_or(MediaError::NoAudioTrack)?;
    let duration_s = source.input.duration() as f64 / 1e6;
    if duration_s > 0.0 && order.start_s >= duration_s {
        return Err(MediaError::OutOfRange {
            start_s: order.start_s,
            end_s: order.end_s,
            duration_s,
        });
    }
    let rate = frame_rate(&video);
    let end_s = if duration_s > 0.0 { order.end_s.min(duration_s) } else { order.end_s };
    let span = Span { start_s: order.start_s, end_s, rate };
    let temporary = temporary_of(&order.output);
    let tracks = Tracks { video: &video, audio: &audio };
    let attempt = smart::cut(&mut source, &tracks, &span, &order.key_frames, &temporary, progress);
    let (method, counts, rate) = match attempt {
        Ok(counts) if counts.copied == 0 => {
            (CutMethod::Reencoded { reason: ReencodeReason::SingleGroup }, counts, rate)
        }
        Ok(counts) => (CutMethod::SmartCut, counts, rate),
        Err(Stop::Failed(error)) => return Err(error),
        Err(Stop::Reencode(reason)) => {
            let (counts, rate) = reencode::cut(&mut source, &tracks, &span, &temporary, progress)?;
            (CutMethod::Reencoded { reason }, counts, rate)
        }
    };
    let size_bytes = publish(&temporary, &order.output)?;
    let frames = counts.copied + counts.encoded;
    Ok(CutReport {
        method,
        duration_s: (frames + counts.missing) as f64 / rate.value(),
        frames,
        frames_copied: counts.copied,
        frames_encoded: counts.encoded,
        size_bytes,
        elapsed_ms: started.elapsed().as_millis() as u64,
    })
}

/// The two tracks a clip is made of.
struct Tracks<'a> {
    video: &'a Track,
    audio: &'a Track,
}
