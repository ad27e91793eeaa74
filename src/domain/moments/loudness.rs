//! How loud each second is over the stream's usual, from loudness samples.

use std::collections::VecDeque;

/// The usual is the median of this many seconds.
const MEDIAN_S: usize = 600;
/// Seconds of sound before there is a usual.
const MEDIAN_S_MIN: usize = 30;
const FLOOR_LUFS: f64 = -70.0;
const STEP_LU: f64 = 0.5;
/// From −70 to +5 LUFS.
const STEPS: usize = 150;
/// Louder than this over the usual says no more.
pub(crate) const EXCESS_LU_MAX: f64 = 20.0;

/// A running median of one value a second, on a grid of half loudness units.
#[derive(Debug)]
pub(crate) struct Loudness {
    seconds: VecDeque<u8>,
    grid: [u16; STEPS],
    /// The loudest sample of the second that runs.
    running: Option<f64>,
}

impl Default for Loudness {
    fn default() -> Self {
        Self { seconds: VecDeque::with_capacity(MEDIAN_S), grid: [0; STEPS], running: None }
    }
}

impl Loudness {
    pub(crate) fn add(&mut self, lufs: f32) {
        if lufs.is_nan() {
            return;
        }
        let lufs = f64::from(lufs).clamp(FLOOR_LUFS, FLOOR_LUFS + STEP_LU * (STEPS - 1) as f64);
        self.running = Some(self.running.map_or(lufs, |loudest| loudest.max(lufs)));
    }

    /// Ends the second: its loudness over the median before it, in LU, from 0 to
    /// [`EXCESS_LU_MAX`]; `None` when nothing was heard or not enough yet.
    pub(crate) fn end_second(&mut self) -> Option<f64> {
        let lufs = self.running.take()?;
        let excess = (self.seconds.len() >= MEDIAN_S_MIN)
            .then(|| (lufs - self.median()).clamp(0.0, EXCESS_LU_MAX));
        if self.seconds.len() == MEDIAN_S
            && let Some(oldest) = self.seconds.pop_front()
        {
            self.grid[usize::from(oldest)] -= 1;
        }
        let step = ((lufs - FLOOR_LUFS) / STEP_LU).round() as u8;
        self.grid[usize::from(step)] += 1;
        self.seconds.push_back(step);
        excess
    }

    fn median(&self) -> f64 {
        let half = self.seconds.len().div_ceil(2);
        let mut below = 0;
        let step = self.grid.iter().position(|&seconds| {
            below += usize::from(seconds);
            below >= half
        });
        FLOOR_LUFS + STEP_LU * step.unwrap_or(0) as f64
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::moments::loudness::Loudness;

    #[test]
    fn a_shout_stands_over_the_usual_voice() {
        let mut loudness = Loudness::default();
        for _ in 0..100 {
            loudness.add(-23.0);
            loudness.end_second();
        }
        loudness.add(-40.0);
        loudness.add(-13.0);
        assert_eq!(loudness.end_second(), Some(10.0));
    }

    #[test]
    fn silence_nonsense_and_too_little_sound_have_no_excess() {
        let mut loudness = Loudness::default();
        loudness.add(f32::NEG_INFINITY);
        loudness.add(f32::INFINITY);
        loudness.add(f32::NAN);
        assert_eq!(loudness.end_second(), None);
        assert_eq!(loudness.end_second(), None);
        for _ in 0..2_000 {
            loudness.add(f32::NEG_INFINITY);
            loudness.end_second();
        }
        loudness.add(-120.0);
        assert_eq!(loudness.end_second(), Some(0.0));
    }
}
