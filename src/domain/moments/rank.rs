//! The best moments of a stream, best first, spaced.

use crate::domain::moments::moment::Moment;

/// Spacing of reels, in seconds.
pub const REEL_SPACING_S: f64 = 120.0;
/// Spacing of suggestions, in seconds.
pub const SUGGESTION_SPACING_S: f64 = 60.0;

/// Spacing of suggestions in a stream of this length, in seconds: [`SUGGESTION_SPACING_S`], less in a short one, which
/// would else offer two or three, and never so little that their clips lie on each other.
pub fn suggestion_spacing_s(stream_s: f64) -> f64 {
    (stream_s / 8.0).clamp(SUGGESTION_SPACING_S / 2.0, SUGGESTION_SPACING_S)
}

/// The `count_max` best of `moments`, best first, with peaks at least `spacing_s` apart. Of equal
/// scores the earlier goes first.
pub fn rank(moments: &[Moment], spacing_s: f64, count_max: usize) -> Vec<&Moment> {
    // A moment told again, with a late vote, is still one.
    let spacing_s = spacing_s.max(f64::MIN_POSITIVE);
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

#[cfg(test)]
mod tests {
    use crate::domain::moments::bounds::Span;
    use crate::domain::moments::delay::Delay;
    use crate::domain::moments::moment::{Moment, MomentKind};
    use crate::domain::moments::rank::rank;

    #[track_caller]
    fn check(moments: &[(f64, f64)], spacing_s: f64, count_max: usize, expected: &[f64]) {
        let moments: Vec<Moment> = moments.iter().map(|&(at, score)| moment(at, score)).collect();
        let ranked: Vec<f64> =
            rank(&moments, spacing_s, count_max).iter().map(|moment| moment.peak_s).collect();
        assert_eq!(ranked, expected);
    }

    fn moment(peak_s: f64, score: f64) -> Moment {
        Moment {
            peak_s,
            onset_s: peak_s,
            event_s: peak_s,
            span: Span { start_s: peak_s, end_s: peak_s + 45.0 },
            score,
            kind: MomentKind::Highlight,
            mood: None,
            reasons: Vec::new(),
            delay: Delay::set(0.0),
        }
    }

    #[test]
    fn the_best_come_first_and_keep_their_distance() {
        check(&[(100.0, 2.0), (150.0, 5.0), (400.0, 3.0)], 120.0, 10, &[150.0, 400.0]);
        check(&[(100.0, 2.0), (150.0, 5.0), (400.0, 3.0)], 50.0, 2, &[150.0, 400.0]);
        check(&[(100.0, 2.0), (150.0, 5.0), (400.0, 3.0)], 50.0, 3, &[150.0, 400.0, 100.0]);
    }

    #[test]
    fn of_equal_ones_the_earlier_goes_first_and_one_told_twice_is_one() {
        check(&[(300.0, 2.0), (100.0, 2.0)], 120.0, 10, &[100.0, 300.0]);
        check(&[(100.0, 2.0), (100.0, 4.0)], 0.0, 10, &[100.0]);
    }
}
