//! The pulse of a chat as a curve: messages per minute over the video, drawn by the server so that it is there without
//! script and in print.

use std::fmt::Write;

use crate::web::pages::french::{count, timecode};

/// Height of the curve in the units of its own box; the width is [`WIDTH`].
const HEIGHT: f64 = 100.0;
const WIDTH: f64 = 1_000.0;
/// Room above the highest point, so that it does not touch the pins.
const HEADROOM: f64 = 1.08;
/// Instants named under the curve, at most.
const TICKS_MAX: i64 = 10;

/// A series of counts over a video, `step_ms` each.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::web::pages) struct Pulse {
    step_ms: i64,
    duration_ms: i64,
    /// Messages per minute; `None` where nothing was heard.
    rates: Vec<Option<f64>>,
}

/// An instant named under the curve.
pub(in crate::web::pages) struct Tick {
    /// « 12.5% »: where it stands, for an attribute.
    pub x: String,
    pub said: String,
    pub is_odd: bool,
}

impl Pulse {
    /// From counts of messages in steps of the same length.
    pub(in crate::web::pages) fn of_steps(counts: &[u32], step_ms: i64, duration_ms: i64) -> Self {
        let duration_ms = duration_ms.max(1);
        let rates = counts
            .iter()
            .zip(0_i64..)
            .map(|(&messages, step)| {
                let heard = (duration_ms - step * step_ms).min(step_ms);
                // The last step may be hardly a step.
                (heard * 4 > step_ms).then(|| f64::from(messages) * 60_000.0 / heard as f64)
            })
            .collect();
        Self { step_ms, duration_ms, rates }
    }

    pub(in crate::web::pages) fn is_silent(&self) -> bool {
        self.rates.iter().all(|rate| rate.unwrap_or(0.0) <= 0.0)
    }

    fn highest(&self) -> f64 {
        self.rates.iter().flatten().copied().fold(1.0, f64::max)
    }

    /// The highest rate in words.
    pub(in crate::web::pages) fn peak(&self) -> String {
        count(self.highest().round() as u64)
    }

    /// The line; gaps break it.
    pub(in crate::web::pages) fn line(&self) -> String {
        let mut path = String::new();
        let mut pen_up = true;
        for (x, y) in self.points() {
            let Some(y) = y else {
                pen_up = true;
                continue;
            };
            let command = if pen_up { 'M' } else { 'L' };
            let _ = write!(path, "{command}{x:.1} {y:.1}");
            pen_up = false;
        }
        path
    }

    /// The surface under the line, down to zero.
    pub(in crate::web::pages) fn area(&self) -> String {
        let mut path = String::new();
        let mut last = None;
        for (x, y) in self.points() {
            match (y, last) {
                (Some(y), None) => {
                    let _ = write!(path, "M{x:.1} {HEIGHT}L{x:.1} {y:.1}");
                    last = Some(x);
                }
                (Some(y), Some(_)) => {
                    let _ = write!(path, "L{x:.1} {y:.1}");
                    last = Some(x);
                }
                (None, Some(x)) => {
                    let _ = write!(path, "L{x:.1} {HEIGHT}Z");
                    last = None;
                }
                (None, None) => {}
            }
        }
        if let Some(x) = last {
            let _ = write!(path, "L{x:.1} {HEIGHT}Z");
        }
        path
    }

    fn points(&self) -> impl Iterator<Item = (f64, Option<f64>)> {
        let highest = self.highest() * HEADROOM;
        self.rates.iter().zip(0_i64..).map(move |(rate, step)| {
            let middle = (step * self.step_ms + self.step_ms / 2).min(self.duration_ms);
            let x = middle as f64 / self.duration_ms as f64 * WIDTH;
            (x, rate.map(|rate| HEIGHT - rate / highest * HEIGHT))
        })
    }

    /// Where an instant stands: « 34.20% ».
    pub(in crate::web::pages) fn place(&self, ms: i64) -> String {
        let share = ms.clamp(0, self.duration_ms) as f64 / self.duration_ms as f64;
        format!("{:.2}%", share * 100.0)
    }

    /// How wide a span is, a thin one still visible.
    pub(in crate::web::pages) fn width(&self, ms: i64) -> String {
        let share = ms.max(0) as f64 / self.duration_ms as f64;
        format!("{:.2}%", (share * 100.0).max(0.3))
    }

    /// Round instants under the curve.
    pub(in crate::web::pages) fn ticks(&self) -> Vec<Tick> {
        const STEPS_S: [i64; 10] = [15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200];
        let seconds = self.duration_ms / 1_000;
        let step = STEPS_S.into_iter().find(|step| seconds / step <= TICKS_MAX).unwrap_or(14_400);
        // One that stands at the very end would be cut.
        let last = (seconds as f64 * 0.97) as i64 / step;
        (1..=last)
            .map(|n| Tick {
                x: self.place(n * step * 1_000),
                said: timecode(n * step * 1_000),
                is_odd: n % 2 == 1,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_stands_on_zero_and_reaches_up_to_the_peak() {
        let pulse = Pulse::of_steps(&[0, 100, 50, 0], 60_000, 240_000);
        let line = pulse.line();
        assert!(line.starts_with("M125.0 100.0L375.0 7.4"), "{line}");
        assert_eq!(pulse.area().matches('Z').count(), 1);
        assert_eq!(pulse.peak(), "100");
    }

    #[test]
    fn part_of_a_step_counts_at_its_rate_and_hardly_any_is_a_gap() {
        assert_eq!(Pulse::of_steps(&[10, 10], 60_000, 90_000).peak(), "20");
        let pulse = Pulse::of_steps(&[1, 4, 9], 10_000, 21_000);
        assert_eq!(pulse.peak(), "24", "a tenth of a step is no rate");
        assert!(!pulse.is_silent() && Pulse::of_steps(&[0, 0], 10_000, 20_000).is_silent());
    }

    #[test]
    fn instants_are_round_and_few() {
        let ticks = |seconds: i64| {
            let pulse = Pulse::of_steps(&[], 60_000, seconds * 1_000);
            pulse.ticks().into_iter().map(|tick| tick.said).collect::<Vec<_>>()
        };
        assert_eq!(ticks(300).first().map(String::as_str), Some("0:30"));
        assert_eq!(ticks(7 * 3_600).first().map(String::as_str), Some("1:00:00"));
        for seconds in [0, 1, 59, 3_600, 43_200, 172_800] {
            assert!(ticks(seconds).len() <= TICKS_MAX as usize + 2);
        }
    }
}
