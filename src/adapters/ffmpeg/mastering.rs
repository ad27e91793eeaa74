//! Bringing a reel's sound to its loudness: gain, a true-peak limiter that looks ahead, AAC, and the proof on
//! what comes out of the decoder again.

use std::collections::VecDeque;

use ffmpeg_next::codec::Context;
use ffmpeg_next::{Packet, frame};

use crate::adapters::ffmpeg::inspect::samples_of;
use crate::adapters::ffmpeg::open::failed;
use crate::adapters::ffmpeg::sound::{AacEncoder, RATE};
use crate::domain::clips::loudness::{LoudnessMeter, TruePeakMeter};
use crate::domain::clips::reel_plan::{REEL_LUFS, REEL_TRUE_PEAK_DBTP_MAX};
use crate::ports::media_engine::MediaError;

/// Bit rate of a reel's sound, bits per second.
const BIT_RATE: usize = 192_000;
/// Most a quiet source is raised, dB; beyond lies noise.
const GAIN_DB_MAX: f64 = 30.0;
/// Most that is added to make up for what the limiter takes, dB.
const MAKE_UP_DB_MAX: f64 = 15.0;
/// How far the encoded sound may be from its loudness before another round, LU.
const LUFS_ENCODED_NEAR: f64 = 0.25;
/// How near the loudness must come, LU.
const LUFS_NEAR: f64 = 0.1;
/// Rounds of gain, and of encoding with a lower ceiling.
const ROUNDS_MAX: usize = 6;
/// First ceiling of the limiter, dBTP; AAC overshoots by some tenths.
const CEILING_DBTP: f64 = -1.6;
/// Share of the highest sample below which peaks between samples are not looked for.
const PEAK_FLOOR_SHARE: f32 = 0.1;
/// Look-ahead of the limiter, samples (5 ms).
const LOOK_AHEAD: usize = RATE / 200;
/// Time constant of the limiter's release, samples (80 ms).
const RELEASE: f32 = RATE as f32 * 0.08;

/// Stereo samples at 48 kHz.
#[derive(Debug, Clone, Default)]
pub(super) struct Stereo {
    pub left: Vec<f32>,
    pub right: Vec<f32>,
}

impl Stereo {
    pub(super) fn push(&mut self, left: &[f32], right: &[f32]) {
        self.left.extend_from_slice(left);
        self.right.extend_from_slice(right);
    }

    /// Integrated loudness, LUFS; none when silent.
    pub(super) fn lufs(&self) -> Option<f64> {
        let mut meter = LoudnessMeter::new(RATE as u32, 2);
        meter.push(&[&self.left, &self.right]);
        meter.integrated()
    }

    /// True peak, dBTP.
    pub(super) fn true_peak_dbtp(&self) -> f64 {
        let mut peak = 0.0_f32;
        for channel in [&self.left, &self.right] {
            let mut meter = TruePeakMeter::new();
            peak =
                channel.iter().fold(peak, |peak, sample| peak.max(meter.push_above(*sample, peak)));
        }
        20.0 * f64::from(peak.max(1e-9)).log10()
    }
}

/// A reel's sound, ready to be written.
pub(super) struct Mastered {
    pub encoder: AacEncoder,
    pub packets: Vec<Packet>,
    /// Before; none when silent.
    pub source_lufs: Option<f64>,
    /// After encoding; none when silent.
    pub lufs: Option<f64>,
    /// After encoding; none when silent.
    pub true_peak_dbtp: Option<f64>,
}

/// Brings `sound` to −14 LUFS with true peaks of at most −1 dBTP after AAC. Silence stays silent.
pub(super) fn master(sound: &Stereo) -> Result<Mastered, MediaError> {
    let source_lufs = sound.lufs();
    let Some(loudness) = source_lufs else {
        let (encoder, packets) = encode(sound)?;
        return Ok(Mastered { encoder, packets, source_lufs, lufs: None, true_peak_dbtp: None });
    };
    let peaks = peak_envelope(sound);
    let asked_db = REEL_LUFS - loudness;
    let mut gain_db = asked_db.min(GAIN_DB_MAX);
    let gain_db_max = gain_db + MAKE_UP_DB_MAX;
    // A source too quiet to be raised all the way keeps its distance from the target.
    let target = REEL_LUFS - (asked_db - gain_db);
    let mut aimed_at = target;
    let mut ceiling_dbtp = CEILING_DBTP;
    let mut best: Option<Mastered> = None;
    for _ in 0..ROUNDS_MAX {
        let limited =
            to_loudness(sound, &peaks, (&mut gain_db, gain_db_max), aimed_at, ceiling_dbtp);
        let (encoder, packets) = encode(&limited)?;
        let heard = decode(&encoder, &packets)?;
        let (lufs, peak) = (heard.lufs(), heard.true_peak_dbtp());
        let fits = peak <= REEL_TRUE_PEAK_DBTP_MAX - 0.02;
        best = Some(Mastered { encoder, packets, source_lufs, lufs, true_peak_dbtp: Some(peak) });
        // The encoder takes some tenths of loudness too: aim that much beside the target.
        let missing = lufs.map_or(0.0, |lufs| target - lufs);
        if fits && missing.abs() <= LUFS_ENCODED_NEAR {
            break;
        }
        aimed_at = (aimed_at + missing).clamp(target - 1.0, target + 1.0);
        if !fits {
            ceiling_dbtp -= peak - REEL_TRUE_PEAK_DBTP_MAX + 0.15;
        }
    }
    Ok(best.expect("at least one round was made"))
}

/// Applies gain and limiter until the loudness is right; `gain_db` keeps what was found.
fn to_loudness(
    sound: &Stereo,
    peaks: &[f32],
    (gain_db, gain_db_max): (&mut f64, f64),
    target: f64,
    ceiling_dbtp: f64,
) -> Stereo {
    let ceiling = 10_f64.powf(ceiling_dbtp / 20.0) as f32;
    let mut limited = Stereo::default();
    for _ in 0..ROUNDS_MAX {
        let gain = 10_f64.powf(*gain_db / 20.0) as f32;
        limited = limit(sound, peaks, gain, ceiling);
        let Some(lufs) = limited.lufs() else { break };
        let missing = target - lufs;
        if missing.abs() <= LUFS_NEAR || *gain_db >= gain_db_max {
            break;
        }
        *gain_db = (*gain_db + missing).min(gain_db_max);
    }
    limited
}

/// For each sample the highest level, between the samples too, of both channels.
fn peak_envelope(sound: &Stereo) -> Vec<f32> {
    let mut peaks = vec![0.0_f32; sound.left.len()];
    // What stays this far under the highest sample is never limited: gain aims at loudness, not at noise.
    let highest = sound
        .left
        .iter()
        .chain(&sound.right)
        .fold(0.0_f32, |highest, sample| highest.max(sample.abs()));
    let floor = highest * PEAK_FLOOR_SHARE;
    for channel in [&sound.left, &sound.right] {
        let mut meter = TruePeakMeter::new();
        for (index, sample) in channel.iter().enumerate() {
            let peak = meter.push_above(*sample, floor);
            // The interpolator's answer belongs to the samples around its middle.
            let middle = index.saturating_sub(TruePeakMeter::DELAY);
            for slot in &mut peaks[middle.saturating_sub(1)..=middle] {
                *slot = slot.max(peak);
            }
            peaks[index] = peaks[index].max(sample.abs());
        }
    }
    peaks
}

/// Multiplies by `gain` and turns down, smoothly and in time, whatever would pass `ceiling`.
fn limit(sound: &Stereo, peaks: &[f32], gain: f32, ceiling: f32) -> Stereo {
    let len = peaks.len();
    let wanted = |index: usize| (ceiling / (peaks[index] * gain).max(1e-9)).min(1.0);
    // Lowest gain wanted within the look-ahead (a sliding minimum), let go slowly …
    let mut window: VecDeque<(usize, f32)> = VecDeque::with_capacity(LOOK_AHEAD);
    let mut held = vec![1.0_f32; len];
    let mut level = 1.0_f32;
    let mut next = 0;
    for (index, slot) in held.iter_mut().enumerate() {
        while next < len && next <= index + LOOK_AHEAD {
            let value = wanted(next);
            while window.back().is_some_and(|(_, kept)| *kept >= value) {
                window.pop_back();
            }
            window.push_back((next, value));
            next += 1;
        }
        while window.front().is_some_and(|(at, _)| *at < index) {
            window.pop_front();
        }
        let lowest = window.front().map_or(1.0, |(_, value)| *value);
        level = lowest.min(level + (1.0 - level) / RELEASE);
        *slot = level;
    }
    // … and averaged over the look-ahead, which reaches the lowest gain exactly when it is needed.
    let mut sum = f64::from(held.first().copied().unwrap_or(1.0)) * LOOK_AHEAD as f64;
    let mut out = Stereo { left: Vec::with_capacity(len), right: Vec::with_capacity(len) };
    for index in 0..len {
        let leaving = held[index.saturating_sub(LOOK_AHEAD)];
        sum += f64::from(held[index]) - f64::from(leaving);
        let factor = gain * ((sum / LOOK_AHEAD as f64) as f32).min(1.0);
        out.left.push(sound.left[index] * factor);
        out.right.push(sound.right[index] * factor);
    }
    out
}

fn encode(sound: &Stereo) -> Result<(AacEncoder, Vec<Packet>), MediaError> {
    let mut encoder = AacEncoder::try_new(BIT_RATE)?;
    let mut packets = Vec::new();
    let mut keep = |packet| {
        packets.push(packet);
        Ok(())
    };
    encoder.push(&sound.left, &sound.right, &mut keep)?;
    encoder.finish(&mut keep)?;
    Ok((encoder, packets))
}

fn decode(encoder: &AacEncoder, packets: &[Packet]) -> Result<Stereo, MediaError> {
    let decoding = failed("contrôle du son");
    let context = Context::from_parameters(encoder.parameters()).map_err(&decoding)?;
    let mut decoder = context.decoder().audio().map_err(&decoding)?;
    let mut sound = Stereo::default();
    let mut frame = frame::Audio::empty();
    let mut planes = Vec::new();
    for step in 0..=packets.len() {
        match packets.get(step) {
            Some(packet) => decoder.send_packet(packet).map_err(&decoding)?,
            None => decoder.send_eof().map_err(&decoding)?,
        }
        while decoder.receive_frame(&mut frame).is_ok() {
            samples_of(&frame, &mut planes)?;
            if let [left, right, ..] = &planes[..] {
                sound.push(left, right);
            }
        }
    }
    Ok(sound)
}
