//! Loudness as people hear it: the meter of ITU-R BS.1770-4 and the series an inspection keeps.

use serde::{Deserialize, Serialize};

/// Values per second of a [`LoudnessSeries`].
pub const SERIES_HZ: usize = 10;
/// What a series writes for digital silence, LUFS.
pub const SILENCE_LUFS: f32 = -120.0;
/// Absolute gate of integrated loudness, LUFS (BS.1770-4).
const ABSOLUTE_GATE_LUFS: f64 = -70.0;
/// Relative gate, LU under the loudness above the absolute gate (BS.1770-4).
const RELATIVE_GATE_LU: f64 = -10.0;
/// Blocks of 100 ms in one momentary window of 400 ms.
const MOMENTARY_BLOCKS: usize = 4;

/// Momentary loudness (400 ms window) ten times a second; entry `i` is the window that ends at `(i + 1) / 10` s.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LoudnessSeries {
    /// LUFS, at least [`SILENCE_LUFS`].
    pub lufs: Vec<f32>,
}

impl LoudnessSeries {
    /// The middle, in seconds, of the quietest 400 ms within [`from_s`, `to_s`]; none when the range holds no window.
    pub fn quietest_within(&self, from_s: f64, to_s: f64) -> Option<f64> {
        let hz = SERIES_HZ as f64;
        let first = (from_s.max(0.0) * hz).floor() as usize;
        let last = ((to_s.max(0.0) * hz).ceil() as usize).min(self.lufs.len());
        let index = (first..last).min_by(|a, b| self.lufs[*a].total_cmp(&self.lufs[*b]))?;
        Some(((index + 1) as f64 / hz - 0.2).max(0.0))
    }
}

/// One second-order filter section, direct form II transposed.
#[derive(Debug, Clone, Copy)]
struct Biquad {
    b: [f64; 3],
    a: [f64; 2],
}

/// The two filters of BS.1770-4 ("K weighting") for any sample rate, by the analogue prototypes the
/// recommendation's 48 kHz coefficients come from (as libebur128 derives them).
fn k_weighting(sample_rate_hz: f64) -> [Biquad; 2] {
    let shelf = {
        let (f0, gain_db, q) =
            (1_681.974_450_955_533, 3.999_843_853_973_347, 0.707_175_236_955_419_6);
        let k = (std::f64::consts::PI * f0 / sample_rate_hz).tan();
        let high = 10_f64.powf(gain_db / 20.0);
        let band = high.powf(0.499_666_774_154_541_6);
        let a0 = 1.0 + k / q + k * k;
        Biquad {
            b: [
                (high + band * k / q + k * k) / a0,
                2.0 * (k * k - high) / a0,
                (high - band * k / q + k * k) / a0,
            ],
            a: [2.0 * (k * k - 1.0) / a0, (1.0 - k / q + k * k) / a0],
        }
    };
    let high_pass = {
        let (f0, q) = (38.135_470_876_024_44, 0.500_327_037_323_877_3);
        let k = (std::f64::consts::PI * f0 / sample_rate_hz).tan();
        let a0 = 1.0 + k / q + k * k;
        Biquad { b: [1.0, -2.0, 1.0], a: [2.0 * (k * k - 1.0) / a0, (1.0 - k / q + k * k) / a0] }
    };
    [shelf, high_pass]
}

/// State of both sections for one channel.
#[derive(Debug, Clone, Copy, Default)]
struct ChannelState {
    z: [[f64; 2]; 2],
}

/// Measures loudness while samples pass.
#[derive(Debug)]
pub struct LoudnessMeter {
    filters: [Biquad; 2],
    channels: Vec<ChannelState>,
    weights: Vec<f64>,
    block_len: usize,
    in_block: usize,
    block_sum: f64,
    /// Mean weighted power of each whole 100 ms block.
    blocks: Vec<f64>,
}

impl LoudnessMeter {
    /// A meter for `channels` in FFmpeg's order; the low-frequency channel of 5.1 and 7.1 is left out and
    /// surrounds weigh 1.41, as BS.1770-4 asks.
    pub fn new(sample_rate_hz: u32, channels: usize) -> Self {
        let weights = (0..channels)
            .map(|index| match (channels, index) {
                (6 | 8, 3) => 0.0,
                (6, 4 | 5) | (8, 4..=7) => 1.41,
                _ => 1.0,
            })
            .collect();
        Self {
            filters: k_weighting(f64::from(sample_rate_hz)),
            channels: vec![ChannelState::default(); channels],
            weights,
            block_len: (sample_rate_hz as usize / SERIES_HZ).max(1),
            in_block: 0,
            block_sum: 0.0,
            blocks: Vec::new(),
        }
    }

    /// Takes one stretch of samples, one slice per channel, all of the same length.
    pub fn push(&mut self, planes: &[&[f32]]) {
        let len = planes.first().map_or(0, |plane| plane.len());
        let mut from = 0;
        while from < len {
            let take = (self.block_len - self.in_block).min(len - from);
            for (index, plane) in planes.iter().enumerate().take(self.channels.len()) {
                let weight = self.weights[index];
                if weight > 0.0 {
                    let power = self.filter(index, &plane[from..from + take]);
                    self.block_sum += weight * power;
                }
            }
            self.in_block += take;
            from += take;
            if self.in_block == self.block_len {
                self.blocks.push(self.block_sum / self.block_len as f64);
                self.block_sum = 0.0;
                self.in_block = 0;
            }
        }
    }

    /// Lets `samples` of silence pass, as for a gap in the recording.
    pub fn push_silence(&mut self, samples: usize) {
        const CHUNK: usize = 4096;
        let zeros = [0.0_f32; CHUNK];
        let channels = self.channels.len();
        let mut left = samples;
        while left > 0 {
            let take = left.min(CHUNK);
            self.push(&vec![&zeros[..take]; channels]);
            left -= take;
        }
    }

    fn filter(&mut self, channel: usize, samples: &[f32]) -> f64 {
        let [shelf, pass] = self.filters;
        let [mut first, mut second] = self.channels[channel].z;
        let mut power = 0.0;
        for &sample in samples {
            // A broken file may decode to NaN, which would stay in the filter for good.
            let x = if sample.is_finite() { f64::from(sample) } else { 0.0 };
            let y = shelf.b[0] * x + first[0];
            first[0] = shelf.b[1] * x - shelf.a[0] * y + first[1];
            first[1] = shelf.b[2] * x - shelf.a[1] * y;
            let k = pass.b[0] * y + second[0];
            second[0] = pass.b[1] * y - pass.a[0] * k + second[1];
            second[1] = pass.b[2] * y - pass.a[1] * k;
            power += k * k;
        }
        for state in first.iter_mut().chain(second.iter_mut()) {
            // Denormal numbers make silence a hundred times slower to filter than speech.
            if state.abs() < 1e-20 {
                *state = 0.0;
            }
        }
        self.channels[channel].z = [first, second];
        power
    }

    /// Momentary loudness ten times a second. The first three windows hold what there is so far.
    pub fn series(&self) -> LoudnessSeries {
        let lufs = (0..self.blocks.len())
            .map(|end| {
                let window = &self.blocks[(end + 1).saturating_sub(MOMENTARY_BLOCKS)..=end];
                lufs_of(window.iter().sum::<f64>() / MOMENTARY_BLOCKS as f64)
                    .max(f64::from(SILENCE_LUFS)) as f32
            })
            .collect();
        LoudnessSeries { lufs }
    }

    /// Integrated loudness in LUFS with both gates; none when nothing passes the absolute gate.
    pub fn integrated(&self) -> Option<f64> {
        let windows: Vec<f64> = self
            .blocks
            .windows(MOMENTARY_BLOCKS)
            .map(|window| window.iter().sum::<f64>() / MOMENTARY_BLOCKS as f64)
            .filter(|power| lufs_of(*power) > ABSOLUTE_GATE_LUFS)
            .collect();
        let gate = lufs_of(mean(&windows)?) + RELATIVE_GATE_LU;
        let loud: Vec<f64> = windows.into_iter().filter(|power| lufs_of(*power) > gate).collect();
        Some(lufs_of(mean(&loud)?))
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() { None } else { Some(values.iter().sum::<f64>() / values.len() as f64) }
}

/// Loudness of a weighted mean power, LUFS (BS.1770-4, equation 2).
fn lufs_of(power: f64) -> f64 {
    -0.691 + 10.0 * power.max(1e-30).log10()
}

/// Phases per sample the true-peak meter looks at (BS.1770-4, annex 2: four-fold oversampling).
const PHASES: usize = 4;
/// Samples each phase is made of.
const TAPS: usize = 13;

/// Estimates the level between the samples of one channel at 48 kHz, as BS.1770-4 annex 2 asks.
#[derive(Debug)]
pub struct TruePeakMeter {
    filters: [[f32; TAPS]; PHASES],
    /// Twice the last samples, so that a window is always in one piece.
    history: [f32; 2 * TAPS],
    at: usize,
    /// Samples for which the window still holds one that matters.
    loud_for: u32,
}

impl Default for TruePeakMeter {
    fn default() -> Self {
        Self::new()
    }
}

impl TruePeakMeter {
    /// Samples by which an answer lags what it is about.
    pub const DELAY: usize = TAPS / 2;

    /// A meter that has heard nothing. The interpolator is a sinc under a Hann window, 49 points long.
    pub fn new() -> Self {
        let mut filters = [[0.0; TAPS]; PHASES];
        let points = PHASES * (TAPS - 1) + 1;
        for point in 0..points {
            let distance = point as f64 - (points - 1) as f64 / 2.0;
            let angle = distance * std::f64::consts::PI / PHASES as f64;
            let sinc = if distance == 0.0 { 1.0 } else { angle.sin() / angle };
            let hann = 0.5
                * (1.0 - (2.0 * std::f64::consts::PI * point as f64 / (points - 1) as f64).cos());
            filters[point % PHASES][point / PHASES] = (sinc * hann) as f32;
        }
        Self { filters, history: [0.0; 2 * TAPS], at: 0, loud_for: 0 }
    }

    /// Takes one sample; the highest absolute level of the four phases around the sample [`Self::DELAY`] ago.
    pub fn push(&mut self, sample: f32) -> f32 {
        self.push_above(sample, 0.0)
    }

    /// As [`Self::push`], but only roughly where no level can pass `floor`: most of a recording is far below its
    /// peaks, and looking between its samples is most of the work.
    pub fn push_above(&mut self, sample: f32, floor: f32) -> f32 {
        /// No phase raises a level by more than the sum of its taps, which is below 2.
        const GAIN_MAX: f32 = 2.0;
        /// Samples a loud one stays in the window.
        const WINDOW: u32 = TAPS as u32;
        self.at = if self.at == 0 { TAPS - 1 } else { self.at - 1 };
        self.history[self.at] = sample;
        self.history[self.at + TAPS] = sample;
        let mut peak = sample.abs();
        self.loud_for =
            if peak * GAIN_MAX > floor { WINDOW } else { self.loud_for.saturating_sub(1) };
        if self.loud_for == 0 {
            return peak;
        }
        let window = &self.history[self.at..self.at + TAPS];
        for filter in &self.filters {
            let level: f32 = filter.iter().zip(window).map(|(tap, sample)| tap * sample).sum();
            peak = peak.max(level.abs());
        }
        peak
    }
}
