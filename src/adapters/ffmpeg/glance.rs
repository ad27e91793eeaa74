//! A look at a few seconds of a camera: one picture, and how loud it is.

use crate::adapters::ffmpeg::open::open;
use crate::adapters::ffmpeg::poster::poster;
use crate::adapters::ffmpeg::sound::{RATE, sound_decoder};
use crate::adapters::ffmpeg::span::read_sound;
use crate::ports::media_engine::{
    GLANCE_S_MAX, Glance, GlanceOrder, LEVEL_DB_MIN, Level, MediaError, PosterOrder,
};

/// Looks and listens.
pub(super) fn glance(order: &GlanceOrder) -> Result<Glance, MediaError> {
    let still = PosterOrder {
        source: order.source.clone(),
        at_s: 0.0,
        width_max: order.width_max,
        output: order.output.clone(),
    };
    let has_picture = match poster(&still) {
        Ok(()) => true,
        Err(MediaError::NoVideoTrack) => false,
        Err(error) => return Err(error),
    };
    let mut source = open(&order.source)?;
    let Some(track) = source.audio.clone() else {
        return Ok(Glance { has_picture, level: None });
    };
    let (mut peak, mut squares, mut heard) = (0.0_f32, 0.0_f64, 0_usize);
    let samples = (GLANCE_S_MAX * RATE as f64) as usize;
    // What is missing at the end is filled with silence, which would count: it is left out by its exact zeros.
    read_sound(&mut source, &track, (0.0, GLANCE_S_MAX), samples, &mut |left, right| {
        let loudest = |side: &[f32]| side.iter().fold(0.0_f32, |peak, it| peak.max(it.abs()));
        let sum = |side: &[f32]| side.iter().map(|it| f64::from(*it).powi(2)).sum::<f64>();
        let (here, count) = (loudest(left).max(loudest(right)), left.len() + right.len());
        if here > 0.0 {
            peak = peak.max(here);
            squares += sum(left) + sum(right);
            heard += count;
        }
        Ok(())
    })?;
    // One microphone on two sides is made quieter by half its power: that is taken back.
    let turned =
        if sound_decoder(&track)?.channels() == 1 { std::f64::consts::SQRT_2 } else { 1.0 };
    let mean = if heard > 0 { (squares / heard as f64).sqrt() } else { 0.0 };
    let level =
        Level { peak_db: decibels(f64::from(peak) * turned), mean_db: decibels(mean * turned) };
    Ok(Glance { has_picture, level: Some(level) })
}

/// Of an amplitude, 1 being full scale.
fn decibels(amplitude: f64) -> f32 {
    ((20.0 * amplitude.max(1e-9).log10()) as f32).max(LEVEL_DB_MIN)
}
