//! How far chat runs behind the picture: viewer latency and reaction time. It belongs to the
//! stream; it is set, calibrated from sound and marks, or a default that says so.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Used when nothing is known: between low-latency playback (5 s) and ordinary playback (18 s).
pub const DELAY_DEFAULT_S: f64 = 10.0;
/// Longer delays are not looked for.
pub const DELAY_S_MAX: usize = 40;

/// Lags that cannot be a delay show what chance does: chat before the sound, or a minute after.
const EARLY_S: usize = 20;
const LAGS: usize = EARLY_S + 61;
/// A lag this much closer to the possible ones is no control: bursts are some seconds wide.
const CONTROL_GAP_S: usize = 6;
/// Bursts of a few seconds make neighbouring seconds alike; this many count as one.
const SECONDS_ALIKE: f64 = 4.0;
/// The correlation must be this many times what chance does.
const STANDS_OUT: f64 = 3.5;
/// Seconds of sound and chat before an estimate is tried.
const SECONDS_MIN: f64 = 180.0;
/// What is older weighs less: half an hour.
const FORGET: f64 = 1.0 / 1_800.0;
/// Slow changes (music, a full room) are not bursts.
const DRIFT: f64 = 1.0 / 60.0;
/// The creator sets a mark this long after what is marked.
pub(crate) const MARK_REACTION_S: f64 = 3.0;
/// A mark weighs like this much loudness for three seconds.
const MARK_LU: f64 = 20.0;
const MARK_S: usize = 3;

/// A delay and how it is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    pub seconds: f64,
    pub origin: DelayOrigin,
    /// From 0 (a default) to 1 (set by a person); half is the least a calibration passes with.
    pub confidence: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DelayOrigin {
    Default,
    Set,
    Calibrated,
}

impl Default for Delay {
    fn default() -> Self {
        Self { seconds: DELAY_DEFAULT_S, origin: DelayOrigin::Default, confidence: 0.0 }
    }
}

impl Delay {
    /// A delay somebody set, in seconds; negative or not finite counts as none.
    pub fn set(seconds: f64) -> Self {
        let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
        Self { seconds, origin: DelayOrigin::Set, confidence: 1.0 }
    }
}

/// The delay of a whole stream from two series of one value a second, loudness over its usual
/// (LU) and reactions in chat, and the instants (seconds) of marks or cues on stage: how long after
/// the sound the reactions culminate. The default when no lag stands out.
pub fn estimate_delay(loudness_excess: &[f64], reactions: &[f64], marks: &[f64]) -> Delay {
    let mut estimator = DelayEstimator::default();
    for (second, &reaction) in reactions.iter().enumerate() {
        if marks.iter().any(|&mark| mark >= 0.0 && mark as usize == second) {
            estimator.mark();
        }
        let loudness = loudness_excess.get(second).copied().unwrap_or(0.0);
        estimator.hear(loudness, reaction);
    }
    estimator.estimate().unwrap_or_default()
}

/// Correlates sound and chat over lags while they run; old seconds are forgotten slowly.
#[derive(Debug)]
pub struct DelayEstimator {
    /// The last seconds, newest first.
    loudness: VecDeque<f64>,
    reactions: VecDeque<f64>,
    usual_loudness: f64,
    usual_reactions: f64,
    products: [f64; LAGS],
    loudness_power: f64,
    reactions_power: f64,
    seconds: f64,
    mark_left: usize,
}

impl Default for DelayEstimator {
    fn default() -> Self {
        Self {
            loudness: VecDeque::with_capacity(LAGS + 1),
            reactions: VecDeque::with_capacity(EARLY_S + 2),
            usual_loudness: 0.0,
            usual_reactions: 0.0,
            products: [0.0; LAGS],
            loudness_power: 0.0,
            reactions_power: 0.0,
            seconds: 0.0,
            mark_left: 0,
        }
    }
}

impl DelayEstimator {
    /// Something is known to have happened on stage just now.
    pub fn mark(&mut self) {
        self.mark_left = MARK_S;
    }

    /// One second of both series: loudness over its usual in LU, and reactions in chat.
    pub fn hear(&mut self, loudness: f64, reactions: f64) {
        let marked = if self.mark_left > 0 { MARK_LU } else { 0.0 };
        self.mark_left = self.mark_left.saturating_sub(1);
        let loudness = burst(loudness.max(marked), &mut self.usual_loudness);
        let reactions = burst(reactions, &mut self.usual_reactions);
        self.loudness.push_front(loudness);
        self.loudness.truncate(LAGS);
        self.reactions.push_front(reactions);
        self.reactions.truncate(EARLY_S + 1);
        // Chat of `EARLY_S` ago against sound from then + `EARLY_S` (now) back to a minute before.
        let Some(&reaction) = self.reactions.get(EARLY_S) else { return };
        for (product, sound) in self.products.iter_mut().zip(&self.loudness) {
            *product += reaction * sound - *product * FORGET;
        }
        self.loudness_power += loudness * loudness - self.loudness_power * FORGET;
        self.reactions_power += reaction * reaction - self.reactions_power * FORGET;
        self.seconds += 1.0 - self.seconds * FORGET;
    }

    /// The lag that stands out, from the middle of a sound to where reactions to it culminate;
    /// `None` when none does.
    pub fn estimate(&self) -> Option<Delay> {
        let power = (self.loudness_power * self.reactions_power).sqrt();
        if self.seconds < SECONDS_MIN || power <= f64::EPSILON {
            return None;
        }
        let at = |lag: usize| {
            let near = &self.products[lag.saturating_sub(1)..(lag + 2).min(LAGS)];
            near.iter().sum::<f64>() / near.len() as f64 / power
        };
        let possible = EARLY_S..=EARLY_S + DELAY_S_MAX;
        let mut best = EARLY_S;
        for lag in possible.clone() {
            if at(lag) > at(best) {
                best = lag;
            }
        }
        let controls: Vec<f64> = (0..LAGS)
            .filter(|lag| {
                lag + CONTROL_GAP_S < EARLY_S || *lag > EARLY_S + DELAY_S_MAX + CONTROL_GAP_S
            })
            .filter(|lag| lag.abs_diff(best) > 2 * CONTROL_GAP_S)
            .map(at)
            .collect();
        let squares = controls.iter().map(|control| control * control).sum::<f64>();
        let by_controls = (squares / controls.len() as f64).sqrt();
        let by_length = (SECONDS_ALIKE / self.seconds).sqrt();
        let stands_out = at(best) / by_controls.max(by_length);
        if stands_out < STANDS_OUT {
            return None;
        }
        // The middle of the hill, not one second of its ridge.
        let (mut weight, mut sum) = (0.0, 0.0);
        for lag in possible.filter(|lag| lag.abs_diff(best) <= 5) {
            let height = (at(lag) - 0.7 * at(best)).max(0.0);
            weight += height;
            sum += height * (lag as f64 - EARLY_S as f64);
        }
        Some(Delay {
            seconds: sum / weight,
            origin: DelayOrigin::Calibrated,
            confidence: (stands_out / (2.0 * STANDS_OUT)).min(1.0),
        })
    }
}

/// What rises over the slow level, which it then learns.
fn burst(value: f64, usual: &mut f64) -> f64 {
    let value = if value.is_finite() { value } else { 0.0 };
    let over = value - *usual;
    *usual += DRIFT * over;
    over
}

#[cfg(test)]
mod tests {
    use crate::domain::moments::delay::{
        DELAY_DEFAULT_S, DelayEstimator, DelayOrigin, estimate_delay,
    };
    use crate::domain::moments::rehearsed::{Dice, loudness_with_bursts, reactions_to};

    #[test]
    fn chat_that_lags_a_loudness_series_gives_its_lag() {
        for lag_s in [3, 6, 10, 14, 20, 28, 35] {
            for seed in 0..5 {
                let (loudness, bursts) = loudness_with_bursts(&mut Dice::new(seed), 1_800);
                let reactions = reactions_to(&mut Dice::new(seed + 99), &bursts, lag_s, 1_800);
                let delay = estimate_delay(&loudness, &reactions, &[]);
                assert_eq!(delay.origin, DelayOrigin::Calibrated, "lag {lag_s} seed {seed}");
                assert!((delay.seconds - f64::from(lag_s)).abs() <= 3.0, "{lag_s}: {delay:?}");
            }
        }
    }

    #[test]
    fn unrelated_sound_and_chat_are_refused() {
        let mut accepted = 0;
        for seed in 0..200 {
            let (loudness, _) = loudness_with_bursts(&mut Dice::new(seed), 1_800);
            let (_, others) = loudness_with_bursts(&mut Dice::new(seed + 1_000), 1_800);
            let reactions = reactions_to(&mut Dice::new(seed + 99), &others, 10, 1_800);
            let delay = estimate_delay(&loudness, &reactions, &[]);
            accepted += u32::from(delay.origin == DelayOrigin::Calibrated);
        }
        assert!(accepted <= 4, "{accepted} of 200");
    }

    #[test]
    fn unrelated_sound_and_chat_are_refused_all_along() {
        let mut accepted = 0;
        for seed in 0..100 {
            let (loudness, _) = loudness_with_bursts(&mut Dice::new(seed), 7_200);
            let (_, others) = loudness_with_bursts(&mut Dice::new(seed + 1_000), 7_200);
            let reactions = reactions_to(&mut Dice::new(seed + 99), &others, 10, 7_200);
            let mut estimator = DelayEstimator::default();
            let mut was_accepted = false;
            for second in 0..7_200 {
                estimator.hear(loudness[second], reactions[second]);
                was_accepted |= second % 10 == 0 && estimator.estimate().is_some();
            }
            accepted += u32::from(was_accepted);
        }
        println!("ALL ALONG {accepted}");
        assert!(accepted <= 5, "{accepted} of 100");
    }

    #[test]
    fn marks_alone_calibrate_and_silence_does_not() {
        let (_, bursts) = loudness_with_bursts(&mut Dice::new(7), 1_800);
        let reactions = reactions_to(&mut Dice::new(8), &bursts, 12, 1_800);
        let marks: Vec<f64> = bursts.iter().map(|&burst| burst as f64).collect();
        let delay = estimate_delay(&[], &reactions, &marks);
        assert_eq!(delay.origin, DelayOrigin::Calibrated);
        assert!((delay.seconds - 12.0).abs() <= 3.0, "{delay:?}");
        let silent = estimate_delay(&[0.0; 1_800], &reactions, &[]);
        assert_eq!((silent.origin, silent.seconds), (DelayOrigin::Default, DELAY_DEFAULT_S));
        assert_eq!(estimate_delay(&[], &[], &[f64::NAN]).origin, DelayOrigin::Default);
    }
}
