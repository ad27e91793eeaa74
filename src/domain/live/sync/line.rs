//! A line through measured points: how far apart two recordings are at an instant, and how fast that changes.

use serde::{Deserialize, Serialize};

use crate::domain::live::sync::{PPM_MAX, Point};

/// A point this near to the line agrees with it, in nanoseconds. Measures of one pair are a fraction of a millisecond apart.
const AGREES_NS: f64 = 5e6;
/// Points nearer than this in time say nothing about how fast the two part, in nanoseconds.
const APART_NS: i64 = 20_000_000_000;

/// Where the same sound lies in the other recording.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Reference instant: nanoseconds since the reference's recording began.
    pub at_ns: i64,
    /// What has to be added there to get the other recording's time.
    pub offset_ns: i64,
    /// How fast that grows, in millionths.
    pub ppm: f64,
    /// How far the farthest point that it goes through lies from it, in milliseconds.
    pub residual_ms: f64,
    /// How many points it goes through.
    pub windows: u32,
}

impl Line {
    /// Draws the line through the newest points that agree: a step in the past (an encoder that dropped sound) is left behind once
    /// two windows bear it out, a single point off the line is left out. `None` without a point.
    pub fn through(points: &[Point]) -> Option<Self> {
        let newest = points.last()?;
        for until in [points.len(), points.len() - 1] {
            for from in 0..until.saturating_sub(1) {
                let Some(line) = robust(&points[from..until]) else { continue };
                let tail = &points[until - 2..until];
                if tail.iter().all(|point| line.miss_ns(point).abs() <= AGREES_NS) {
                    return Some(line);
                }
            }
        }
        Some(Self {
            at_ns: newest.at_ns,
            offset_ns: newest.offset_ns,
            ppm: newest.ppm,
            residual_ms: 0.0,
            windows: 1,
        })
    }

    /// The other recording's time of the sound that the reference holds at `at_ns`.
    pub fn other_ns(&self, at_ns: i64) -> i64 {
        at_ns + self.offset_ns + ((at_ns - self.at_ns) as f64 * self.ppm * 1e-6).round() as i64
    }

    fn miss_ns(&self, point: &Point) -> f64 {
        (point.at_ns + point.offset_ns - self.other_ns(point.at_ns)) as f64
    }
}

/// The line that most points agree with; `None` when that is not most of them, or no clock runs like that.
fn robust(points: &[Point]) -> Option<Line> {
    let slopes = points.iter().enumerate().flat_map(|(n, one)| {
        points[n + 1..].iter().filter_map(move |other| {
            let apart = other.at_ns - one.at_ns;
            (apart >= APART_NS).then(|| (other.offset_ns - one.offset_ns) as f64 / apart as f64)
        })
    });
    let slope = median(slopes.collect())?;
    let mean_at = points.iter().map(|point| i128::from(point.at_ns)).sum::<i128>();
    let at_ns = i64::try_from(mean_at / points.len() as i128).unwrap_or_default();
    let level = |point: &Point| point.offset_ns as f64 - slope * (point.at_ns - at_ns) as f64;
    let middle = median(points.iter().map(level).collect())?;
    let agreeing: Vec<&Point> =
        points.iter().filter(|point| (level(point) - middle).abs() <= AGREES_NS).collect();
    if agreeing.len() * 3 < points.len() * 2 {
        return None;
    }
    // Least squares through those that agree.
    let count = agreeing.len() as f64;
    let x = |point: &Point| (point.at_ns - at_ns) as f64;
    let mean_x = agreeing.iter().map(|point| x(point)).sum::<f64>() / count;
    let mean_y = agreeing.iter().map(|point| point.offset_ns as f64).sum::<f64>() / count;
    let spread = agreeing.iter().map(|point| (x(point) - mean_x).powi(2)).sum::<f64>();
    let along = agreeing
        .iter()
        .map(|point| (x(point) - mean_x) * (point.offset_ns as f64 - mean_y))
        .sum::<f64>();
    let slope = if spread > 0.0 { along / spread } else { slope };
    if (slope * 1e6).abs() > PPM_MAX {
        return None;
    }
    let mut line = Line {
        at_ns,
        offset_ns: (mean_y - slope * mean_x).round() as i64,
        ppm: rounded(slope * 1e6),
        residual_ms: 0.0,
        windows: agreeing.len() as u32,
    };
    let farthest = agreeing.iter().map(|point| line.miss_ns(point).abs()).fold(0.0, f64::max);
    line.residual_ms = rounded(farthest / 1e6);
    Some(line)
}

/// To a thousandth: what is written down short is read back the same.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn median(mut of: Vec<f64>) -> Option<f64> {
    of.sort_by(f64::total_cmp);
    let upper = *of.get(of.len() / 2)?;
    let lower = of[(of.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}
