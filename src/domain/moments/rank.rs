//! The best moments of a stream, best first, spaced.

use crate::domain::moments::moment::Moment;

/// Spacing of reels, in seconds.
pub const REEL_SPACING_S: f64 = 120.0;
/// Spacing of suggestions, in seconds.
pub const SUGGESTION_SPACING_S: f64 = 60.0;

/// The `count_max` best of `moments`, best first, with peaks at least `spacing_s` apart. Of equal
/// scores the earlier goes first.
pub fn rank(moments: &[Moment], spacing_s: f64, count_max: usize) -> Vec<&Moment> {
    let mut by_score: Vec<&Moment> = moments.iter().collect();
    by_score.sort_by(|one, other| {
        other.score.total_cmp(&one.score).then(one.peak_s.total_cmp(&other.peak_s))
    });
    let mut best: Vec<&Moment> = Vec::new();
    for moment in by_score {
        if best.len() == count_max {
            break;
        }
        if best.iter().all(|better| (better.peak_s - moment.peak_s).abs() >= spacing_s) {
            best.push(moment);
        }
    }
    best
}
