//! The sound of a span as bare samples: one channel, few of them a second, enough to compare what two cameras heard.

use std::f64::consts::PI;

use ffmpeg_next::Packet;

use crate::adapters::ffmpeg::encode::{publish, temporary_of};
use crate::adapters::ffmpeg::job::Progress;
use crate::adapters::ffmpeg::open::open;
use crate::adapters::ffmpeg::sound::{RATE, SpanSound};
use crate::adapters::ffmpeg::span::next_packet;
use crate::domain::live::sync::RATE_HZ;
use crate::ports::media_engine::{MediaError, SoundOrder};

/// Longest span, in seconds.
const SECONDS_MAX: f64 = 600.0;
/// Packets before the span by so much warm the decoder up, in seconds.
const WARM_UP_S: f64 = 1.0;
/// So many samples become one.
const STEP: usize = RATE / RATE_HZ;
/// Half the length of the filter that takes off what the fewer samples cannot hold.
const REACH: usize = 16 * STEP;
/// What it lets through, in Hz.
const PASSES_HZ: f64 = 3_700.0;

/// Writes what is heard from `order.start_s` to `order.end_s`.
pub(super) fn listen(order: &SoundOrder, progress: &mut Progress) -> Result<(), MediaError> {
    let seconds = order.end_s - order.start_s;
    if !(order.origin_s.is_finite() && seconds > 0.0 && seconds <= SECONDS_MAX) {
        let detail = "On écoute dix minutes au plus à la fois.".to_owned();
        return Err(MediaError::BadOrder { detail });
    }
    let mut source = open(&order.source)?;
    source.origin_s = order.origin_s;
    let track = source.audio.clone().ok_or(MediaError::NoAudioTrack)?;
    let samples = (seconds * RATE as f64).round() as usize;
    let starts = track.ticks(order.start_s + order.origin_s);
    let mut sound = SpanSound::try_new(&track, starts, samples)?;
    let mut mono: Vec<f32> = Vec::with_capacity(samples);
    let mut hear = |left: &[f32], right: &[f32]| {
        mono.extend(left.iter().zip(right).map(|(left, right)| 0.5 * (left + right)));
        Ok(())
    };
    let mut packet = Packet::empty();
    while !sound.is_full() && next_packet(&mut source, &mut packet)? {
        if packet.stream() != track.index {
            continue;
        }
        let time_s = source.time_of(&track, packet.pts().or(packet.dts()).unwrap_or(0));
        if time_s > order.end_s + WARM_UP_S {
            break;
        }
        if time_s >= order.start_s - WARM_UP_S {
            sound.packet(&packet, &mut hear)?;
            progress.at((time_s - order.start_s) / seconds);
        }
    }
    sound.finish(&mut hear)?;
    let bytes: Vec<u8> = fewer(&mono).into_iter().flat_map(f32::to_le_bytes).collect();
    let temporary = temporary_of(&order.output);
    std::fs::write(&temporary, bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::StorageFull => MediaError::DiskFull,
        _ => MediaError::Failed { step: "écoute".to_owned(), detail: error.to_string() },
    })?;
    publish(&temporary, &order.output).map(|_| ())
}

/// One sample of [`STEP`], without what they cannot hold; none of them moves in time.
fn fewer(samples: &[f32]) -> Vec<f32> {
    let tap = |n: usize| {
        let x = n as f64 - REACH as f64;
        let cut = 2.0 * PASSES_HZ / RATE as f64;
        let sinc = if x == 0.0 { cut } else { (PI * x * cut).sin() / (PI * x) };
        (sinc * (0.5 + 0.5 * (PI * x / (REACH + 1) as f64).cos())) as f32
    };
    let taps: Vec<f32> = (0..=2 * REACH).map(tap).collect();
    let at = |middle: usize| {
        let from = middle.saturating_sub(REACH);
        let taps = &taps[from + REACH - middle..];
        samples[from..].iter().zip(taps).map(|(sample, tap)| sample * tap).sum()
    };
    (0..samples.len() / STEP).map(|n| at(n * STEP)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_tones_pass_in_place_and_high_ones_do_not() {
        let tone = |hz: f64, rate: f64, n: usize| (2.0 * PI * hz * n as f64 / rate).sin() as f32;
        let heard =
            |hz: f64| fewer(&(0..4_800).map(|n| tone(hz, RATE as f64, n)).collect::<Vec<_>>());
        let low = heard(1_000.0);
        assert_eq!(low.len(), 800);
        for (n, sample) in low.iter().enumerate().take(760).skip(40) {
            assert!((sample - tone(1_000.0, RATE_HZ as f64, n)).abs() < 0.01, "{n}: {sample}");
        }
        assert!(heard(5_500.0)[40..760].iter().all(|sample| sample.abs() < 0.01));
    }
}
