//! Rendering a vertical reel: sound first, mastered in memory, then the pictures through one filter graph.

mod framing;
mod type_metrics;
mod words;

use std::time::Instant;

use crate::adapters::ffmpeg::encode::{Colour, H264Encoder, H264Settings, publish, temporary_of};
use crate::adapters::ffmpeg::job::Progress;
use crate::adapters::ffmpeg::mastering::{Stereo, master};
use crate::adapters::ffmpeg::open::{Source, Track, open};
use crate::adapters::ffmpeg::reel::words::Words;
use crate::adapters::ffmpeg::span::{read_pictures, read_sound};
use crate::adapters::ffmpeg::transcode::{EncodedSound, REORDER_DELAY, Transcode, transcode};
use crate::domain::clips::footage::Ratio;
use crate::domain::clips::reel_plan::{
    REEL_FPS, REEL_HEIGHT, REEL_SAMPLE_RATE_HZ, REEL_SECONDS_MIN, REEL_WIDTH, ReelPlan,
};
use crate::ports::media_engine::{MediaError, ReelOrder, ReelReport};

/// Frames from one key frame to the next: one second, so that previews seek well.
const GROUP_FRAMES: u32 = REEL_FPS;
/// How the picture is encoded: quality first, capped at what every platform takes.
pub(super) const ENCODER_OPTIONS: [(&str, &str); 5] = [
    ("preset", "veryfast"),
    ("crf", "20"),
    ("maxrate", "12M"),
    ("bufsize", "24M"),
    ("profile", "high"),
];
/// Share of the work that sound is.
const SOUND_SHARE: f64 = 0.05;

/// Renders as ordered.
pub(super) fn render(order: &ReelOrder, progress: &mut Progress) -> Result<ReelReport, MediaError> {
    let started = Instant::now();
    let plan = &order.plan;
    plan.check().map_err(|error| MediaError::BadOrder { detail: error.to_string() })?;
    let mut source = open(&plan.source)?;
    let video = source.video()?;
    let span = span_of(&source, plan.start_s, plan.end_s)?;
    let frames = ((span.1 - span.0) * f64::from(REEL_FPS)).round().max(1.0) as u64;
    let samples = (frames * u64::from(REEL_SAMPLE_RATE_HZ / REEL_FPS)) as usize;
    let sound = hear(&mut source, span, samples)?;
    progress.at(SOUND_SHARE / 2.0);
    let mastered = master(&sound)?;
    drop(sound);
    progress.at(SOUND_SHARE);
    let words = Words::write(plan)?;
    let rate = Ratio::new(REEL_FPS as i32, 1);
    let transcoding = Transcode {
        spec: &|picture| framing::filters(plan, &video, picture, &words),
        encoder: &|_| encoder(rate),
        rate,
        frames,
    };
    let temporary = temporary_of(&order.output);
    let encoded = EncodedSound { context: mastered.encoder.context(), packets: mastered.packets };
    let mut rest = |share: f64| progress.at(SOUND_SHARE + (1.0 - SOUND_SHARE) * share);
    let mut pictures = Progress::new(&mut rest);
    transcode(&transcoding, &mut source, &video, span, encoded, &temporary, &mut pictures)?;
    let size_bytes = publish(&temporary, &order.output)?;
    Ok(ReelReport {
        duration_s: frames as f64 / f64::from(REEL_FPS),
        frames,
        size_bytes,
        source_lufs: mastered.source_lufs,
        lufs: mastered.lufs,
        true_peak_dbtp: mastered.true_peak_dbtp,
        elapsed_ms: started.elapsed().as_millis() as u64,
    })
}

/// The part of the plan's span that the source has.
fn span_of(source: &Source, start_s: f64, end_s: f64) -> Result<(f64, f64), MediaError> {
    let duration_s = source.input.duration() as f64 / 1e6;
    let end_s = if duration_s > 0.0 { end_s.min(duration_s) } else { end_s };
    if end_s - start_s < REEL_SECONDS_MIN {
        return Err(MediaError::OutOfRange { start_s, end_s, duration_s });
    }
    Ok((start_s, end_s))
}

/// The span's sound; silence when the source has no sound track.
fn hear(source: &mut Source, span: (f64, f64), samples: usize) -> Result<Stereo, MediaError> {
    let mut sound = Stereo::default();
    let audio: Option<Track> = source.audio.clone();
    match audio {
        Some(track) => read_sound(source, &track, span, samples, &mut |left, right| {
            sound.push(left, right);
            Ok(())
        })?,
        None => sound = Stereo { left: vec![0.0; samples], right: vec![0.0; samples] },
    }
    Ok(sound)
}

fn encoder(rate: Ratio) -> Result<H264Encoder, MediaError> {
    H264Encoder::try_new(&H264Settings {
        width: REEL_WIDTH,
        height: REEL_HEIGHT,
        frame_rate: rate,
        pixel_aspect: Ratio::new(1, 1),
        colour: Colour::BT709,
        gop_frames: GROUP_FRAMES,
        b_frames: REORDER_DELAY as usize,
        options: &ENCODER_OPTIONS,
    })
}

/// The filters a plan is rendered with, and the script they read, which must outlive them.
pub(super) fn graph_of(
    plan: &ReelPlan,
    source: &mut Source,
) -> Result<(String, Words), MediaError> {
    let video = source.video()?;
    let words = Words::write(plan)?;
    let mut filters = None;
    read_pictures(source, &video, (plan.start_s, plan.end_s), &mut |picture, _| {
        filters = Some(framing::filters(plan, &video, picture, &words)?);
        Ok(false)
    })?;
    let nothing =
        || MediaError::OutOfRange { start_s: plan.start_s, end_s: plan.end_s, duration_s: 0.0 };
    Ok((filters.ok_or_else(nothing)?, words))
}
