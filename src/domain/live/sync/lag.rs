//! How far one sound runs behind another: generalised cross-correlation with phase transform (Knapp and Carter, 1976), the level
//! taken off by neighbourhoods of frequencies.
//!
//! Two encoders count samples at speeds of their own: within a window they part by a dozen samples, which blurs a single
//! correlation until nothing stands out. So the window is correlated in blocks, and these are added up for each speed there may be.

use realfft::RealFftPlanner;
use realfft::num_complex::Complex32;

/// Samples a second of what is compared.
pub const RATE_HZ: usize = 8_000;
/// Length of what is compared at once, in seconds.
pub const WINDOW_S: usize = 30;
/// Cameras that run farther apart are not found: arrival is off by three seconds at most, some encoders hold back ten.
pub const LAG_S_MAX: usize = 15;
/// What is known already is looked for so near, in seconds.
pub const NEAR_S: usize = 1;
/// A match stands out of chance by so many standard deviations at least. Unrelated
/// speech reaches 9.6; the same speech 10 dB below the noise, 25.
pub const Z_MIN: f64 = 12.0;
/// No two clocks part faster, in millionths: cheap ones are off by 100 each.
pub const PPM_MAX: f64 = 200.0;

const PPM_STEP: f64 = 8.0;
/// Another speed has to fit so much better.
const BETTER: f32 = 1.01;
/// Blocks so short that clocks part by half a sample at most within them.
const BLOCKS: usize = 12;
const BLOCK: usize = WINDOW_S * RATE_HZ / BLOCKS;
/// Shifts between the blocks of a window at the fastest speed, in samples.
const MARGIN: usize = WINDOW_S * RATE_HZ / 2 * PPM_MAX as usize / 1_000_000 + 1;
/// Frequencies that are compared: below is hum, above is nothing.
const BAND_HZ: (usize, usize) = (100, 3_600);
/// Frequencies so near are of one level, in Hz.
const ALIKE_HZ: usize = 50;
/// Quieter than this is silence, full scale being 1.
const SILENCE: f32 = 1e-4;
/// A second peak of this share of the best one, farther away than an echo, makes the match ambiguous: a metronome, a siren.
const RIVAL_SHARE_MAX: f32 = 0.75;
const ECHO_S: f64 = 0.08;

/// How one sound lies beside another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lag {
    /// So many samples later is it heard in the other, at the middle of the window.
    pub samples: f64,
    /// How fast that grows, in millionths.
    pub ppm: f64,
    /// How far it stands out, in standard deviations.
    pub z: f64,
}

/// Why two sounds were not matched.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Mismatch {
    #[error("silence")]
    Silence,
    #[error("nothing in common (z {z:.1})")]
    Weak { z: f64 },
    #[error("the sound repeats itself: it fits at several places")]
    Repeats,
}

/// Whether there is next to nothing to hear.
pub fn is_silent(sound: &[f32]) -> bool {
    let power = sound.iter().map(|sample| sample * sample).sum::<f32>();
    power <= SILENCE * SILENCE * sound.len() as f32
}

/// Looks for a window of [`WINDOW_S`] in a longer stretch that begins and ends `margin_s` before and after where it would be
/// without a lag.
///
/// # Panics
/// When the lengths are not as told.
pub fn find_lag(window: &[f32], stretch: &[f32], margin_s: usize) -> Result<Lag, Mismatch> {
    assert_eq!(window.len(), WINDOW_S * RATE_HZ, "a window");
    assert_eq!(stretch.len(), window.len() + 2 * margin_s * RATE_HZ, "its surroundings");
    if is_silent(window) || is_silent(stretch) {
        return Err(Mismatch::Silence);
    }
    let blocks = correlated(window, stretch, 2 * margin_s * RATE_HZ);
    let steps = (PPM_MAX / PPM_STEP) as i32;
    let mut best: Option<(f32, usize, f64)> = None;
    let mut sum = Vec::new();
    // From slow to fast: a clap says nothing about speed, and then none is believed.
    for step in (0..=steps).flat_map(|step| [step, -step]) {
        let ppm = f64::from(step) * PPM_STEP;
        add_up(&blocks, ppm, &mut sum);
        let highest = sum.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((at, height)) = highest
            && best.is_none_or(|(before, ..)| height > before * BETTER)
        {
            best = Some((height, at, ppm));
        }
    }
    let Some((height, at, ppm)) = best else { return Err(Mismatch::Silence) };
    add_up(&blocks, ppm, &mut sum);
    let echo = (ECHO_S * RATE_HZ as f64) as usize;
    let others = || {
        let far = sum.iter().enumerate().filter(move |(place, _)| place.abs_diff(at) > echo);
        far.map(|(_, value)| *value)
    };
    let count = others().count().max(1) as f64;
    let mean = others().map(f64::from).sum::<f64>() / count;
    let power = others().map(|value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
    let z = (f64::from(height) - mean) / power.sqrt().max(f64::MIN_POSITIVE);
    if z < Z_MIN {
        return Err(Mismatch::Weak { z });
    }
    if others().fold(0.0, f32::max) > RIVAL_SHARE_MAX * height {
        return Err(Mismatch::Repeats);
    }
    let place = (at + MARGIN) as f64 + between(&sum, at);
    Ok(Lag { samples: place - (margin_s * RATE_HZ) as f64, ppm, z })
}

/// Correlates each block of a window with its surroundings, over `lags` + 1 lags.
fn correlated(window: &[f32], stretch: &[f32], lags: usize) -> Vec<Vec<f32>> {
    let size = (BLOCK + lags).next_power_of_two();
    let mut planner = RealFftPlanner::<f32>::new();
    let (forward, back) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
    let band = BAND_HZ.0 * size / RATE_HZ..BAND_HZ.1 * size / RATE_HZ;
    let spectrum = |sound: &[f32]| {
        let mut padded = vec![0.0; size];
        padded[..sound.len()].copy_from_slice(sound);
        let mut spectrum = forward.make_output_vec();
        forward.process(&mut padded, &mut spectrum).expect("lengths are the planner's own");
        whiten(&mut spectrum, ALIKE_HZ * size / RATE_HZ);
        spectrum
    };
    let correlate = |block: usize| {
        let begins = block * BLOCK;
        let one = spectrum(&window[begins..begins + BLOCK]);
        let mut product = spectrum(&stretch[begins..begins + BLOCK + lags]);
        for (bin, (other, one)) in product.iter_mut().zip(&one).enumerate() {
            *other = if band.contains(&bin) { *other * one.conj() } else { Complex32::default() };
        }
        let mut correlation = back.make_output_vec();
        back.process(&mut product, &mut correlation).expect("lengths are the planner's own");
        correlation.truncate(lags + 1);
        correlation
    };
    (0..BLOCKS).map(correlate).collect()
}

/// Brings all frequencies to one level, that of their surroundings `around` bins wide: what is loud says no more than what is soft.
/// Each bin by itself would do (and is the textbook's way), but makes a sound that repeats itself look as if it did not.
fn whiten(spectrum: &mut [Complex32], around: usize) {
    let mut power_before = Vec::with_capacity(spectrum.len() + 1);
    power_before.push(0.0_f64);
    for (n, bin) in spectrum.iter().enumerate() {
        power_before.push(power_before[n] + f64::from(bin.norm_sqr()));
    }
    for (n, bin) in spectrum.iter_mut().enumerate() {
        let (from, to) = (n.saturating_sub(around / 2), n + around / 2 + 1);
        let to = to.min(power_before.len() - 1);
        let level = (power_before[to] - power_before[from]) / (to - from) as f64;
        let level = level.sqrt() as f32;
        *bin = if level > f32::MIN_POSITIVE { *bin / level } else { Complex32::default() };
    }
}

/// The blocks on top of each other, for a clock that gains this much; lags from [`MARGIN`] on.
fn add_up(blocks: &[Vec<f32>], ppm: f64, sum: &mut Vec<f32>) {
    let lags = blocks.first().map_or(0, Vec::len).saturating_sub(2 * MARGIN);
    sum.clear();
    sum.resize(lags, 0.0);
    for (n, block) in blocks.iter().enumerate() {
        let from_middle = (n as f64 + 0.5 - BLOCKS as f64 / 2.0) * BLOCK as f64;
        let shift = MARGIN as i64 + (from_middle * ppm * 1e-6).round() as i64;
        let shifted = &block[shift as usize..shift as usize + lags];
        sum.iter_mut().zip(shifted).for_each(|(sum, value)| *sum += value);
    }
}

/// Where between the samples the peak at `at` culminates: the top of a parabola through it and its neighbours.
fn between(sum: &[f32], at: usize) -> f64 {
    if at == 0 || at + 1 >= sum.len() {
        return 0.0;
    }
    let (before, top, after) = (sum[at - 1], sum[at], sum[at + 1]);
    let bend = before - 2.0 * top + after;
    if bend >= 0.0 { 0.0 } else { f64::from(0.5 * (before - after) / bend).clamp(-0.5, 0.5) }
}
