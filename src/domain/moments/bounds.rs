//! Where a clip may begin and end.

use serde::{Deserialize, Serialize};

pub const SPAN_S: f64 = 45.0;
pub const SPAN_S_MIN: f64 = 15.0;
pub const SPAN_S_MAX: f64 = 60.0;
/// Moments whose spans are closer than this are one clip when it stays within [`SPAN_S_MAX`].
pub const MERGE_GAP_S: f64 = 15.0;
/// A clip begins this long before its event, so that one sees it coming.
const LEAD_S: f64 = 10.0;
/// The event is never closer to the edges than this.
const LEAD_S_MIN: f64 = 2.0;
const TAIL_S_MIN: f64 = 8.0;
/// How far an edge may move to find a quiet instant.
const START_REACH_S: f64 = 6.0;
const END_REACH_S: f64 = 8.0;
/// A cut this close to a quiet instant makes it better by [`CUT_WORTH_S`] seconds of moving.
const CUT_NEAR_S: f64 = 1.0;
const CUT_WORTH_S: f64 = 3.0;
/// An instant is quiet when it is this far under the median of [`AROUND_S`] seconds around it.
const QUIET_LU: f64 = 6.0;
const AROUND_S: f64 = 10.0;

/// Seconds of the stream, start before end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Span {
    pub start_s: f64,
    pub end_s: f64,
}

impl Span {
    pub fn length_s(self) -> f64 {
        self.end_s - self.start_s
    }

    pub fn holds(self, second: f64) -> bool {
        (self.start_s..=self.end_s).contains(&second)
    }
}

/// About 45 seconds that contain `event_s`, beginning and ending on one of the `quiet` instants,
/// rather on one near a scene cut; on a cut where nothing is quiet, else where the count says.
/// From 15 to 60 seconds, inside the stream (shorter only when the stream is). Instants are
/// seconds in any order.
pub fn suggest_span(event_s: f64, quiet: &[f64], cuts: &[f64], stream_s: f64) -> Span {
    let stream_s = if stream_s.is_finite() { stream_s.max(0.0) } else { f64::MAX };
    let event_s = if event_s.is_finite() { event_s.clamp(0.0, stream_s) } else { 0.0 };
    let latest_start = (stream_s - SPAN_S).max(0.0);
    let wanted_start = (event_s - LEAD_S).clamp(0.0, latest_start);
    let start_s = best_edge(
        wanted_start,
        (wanted_start - START_REACH_S).max(0.0),
        (wanted_start + START_REACH_S).min(event_s - LEAD_S_MIN),
        quiet,
        cuts,
    );
    let wanted_end = (start_s + SPAN_S).min(stream_s);
    let end_s = best_edge(
        wanted_end,
        (wanted_end - END_REACH_S).max(event_s + TAIL_S_MIN).max(start_s + SPAN_S_MIN),
        (wanted_end + END_REACH_S).min(start_s + SPAN_S_MAX).min(stream_s),
        quiet,
        cuts,
    );
    Span { start_s, end_s }
}

/// One span for each group of spans that are nearer than [`MERGE_GAP_S`] and together no longer
/// than [`SPAN_S_MAX`], in order of time.
pub fn merge_spans(spans: &[Span]) -> Vec<Span> {
    let mut spans = spans.to_vec();
    spans.sort_by(|one, other| one.start_s.total_cmp(&other.start_s));
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last)
                if span.start_s - last.end_s < MERGE_GAP_S
                    && span.end_s.max(last.end_s) - last.start_s <= SPAN_S_MAX =>
            {
                last.end_s = last.end_s.max(span.end_s);
            }
            _ => merged.push(span),
        }
    }
    merged
}

/// The instants of a loudness series (LUFS, one sample each `step_s`) at which the sound pauses:
/// the lowest sample of every dip of at least 6 LU under the ten seconds around it.
pub fn quiet_instants(loudness: &[f32], step_s: f64) -> Vec<f64> {
    if step_s <= 0.0 || !step_s.is_finite() {
        return Vec::new();
    }
    let half = ((AROUND_S / 2.0 / step_s) as usize).max(1);
    let mut quiet = Vec::new();
    let mut dip: Option<(usize, f32)> = None;
    for (at, &lufs) in loudness.iter().enumerate() {
        let from = at.saturating_sub(half);
        let to = (at + half + 1).min(loudness.len());
        if f64::from(lufs) <= f64::from(median(&loudness[from..to])) - QUIET_LU {
            if dip.is_none_or(|(_, lowest)| lufs < lowest) {
                dip = Some((at, lufs));
            }
        } else if let Some((lowest, _)) = dip.take() {
            quiet.push(lowest as f64 * step_s);
        }
    }
    quiet.extend(dip.map(|(lowest, _)| lowest as f64 * step_s));
    quiet
}

fn best_edge(wanted_s: f64, from_s: f64, to_s: f64, quiet: &[f64], cuts: &[f64]) -> f64 {
    let cost = |instant: f64| {
        let near_cut = cuts.iter().any(|cut| (cut - instant).abs() <= CUT_NEAR_S);
        (instant - wanted_s).abs() - if near_cut { CUT_WORTH_S } else { 0.0 }
    };
    let nearest = |instants: &[f64]| {
        instants
            .iter()
            .copied()
            .filter(|instant| (from_s..=to_s).contains(instant))
            .min_by(|one, other| cost(*one).total_cmp(&cost(*other)).then(one.total_cmp(other)))
    };
    nearest(quiet).or_else(|| nearest(cuts)).unwrap_or(wanted_s)
}

fn median(samples: &[f32]) -> f32 {
    let mut sorted = samples.to_vec();
    let middle = sorted.len() / 2;
    *sorted.select_nth_unstable_by(middle, f32::total_cmp).1
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are equal by construction")]
mod tests {
    use crate::domain::moments::bounds::{
        SPAN_S, SPAN_S_MAX, SPAN_S_MIN, Span, merge_spans, quiet_instants, suggest_span,
    };

    #[test]
    fn a_clip_is_about_45_seconds_around_its_event() {
        let span = suggest_span(100.0, &[], &[], 600.0);
        assert!(span.holds(100.0));
        assert_eq!(span.length_s(), SPAN_S);
    }

    #[test]
    fn edges_move_to_a_quiet_instant_and_rather_to_one_at_a_cut() {
        let span = suggest_span(100.0, &[88.5, 92.0, 133.0, 140.0], &[92.3], 600.0);
        assert_eq!(span, Span { start_s: 92.0, end_s: 140.0 });
        let span = suggest_span(100.0, &[88.5, 92.0, 133.0, 140.0], &[], 600.0);
        assert_eq!(span.start_s, 88.5);
    }

    #[test]
    fn a_cut_serves_where_nothing_is_quiet() {
        let span = suggest_span(100.0, &[], &[88.0, 136.0], 600.0);
        assert_eq!(span, Span { start_s: 88.0, end_s: 136.0 });
    }

    #[test]
    fn a_clip_stays_inside_the_stream_and_its_limits() {
        for stream_s in [0.0, 1.0, 14.0, 30.0, 47.0, 600.0] {
            for event_s in [-5.0, 0.0, 3.0, 20.0, 590.0, 700.0, f64::NAN] {
                let quiet: Vec<f64> = (0..600).map(f64::from).collect();
                for quiet in [&quiet[..], &[]] {
                    let span = suggest_span(event_s, quiet, &[], stream_s);
                    assert!(span.start_s >= 0.0 && span.end_s <= stream_s, "{span:?}");
                    assert!(span.length_s() <= SPAN_S_MAX);
                    assert!(span.length_s() >= SPAN_S_MIN.min(stream_s), "{span:?} {stream_s}");
                    if event_s.is_finite() {
                        assert!(span.holds(event_s.clamp(0.0, stream_s)), "{span:?} {event_s}");
                    }
                }
            }
        }
    }

    #[test]
    fn near_spans_become_one_and_far_or_long_ones_do_not() {
        let span = |start_s, end_s| Span { start_s, end_s };
        let merged = merge_spans(&[span(30.0, 50.0), span(0.0, 20.0), span(90.0, 110.0)]);
        assert_eq!(merged, [span(0.0, 50.0), span(90.0, 110.0)]);
        let long = [span(0.0, 45.0), span(50.0, 95.0)];
        assert_eq!(merge_spans(&long), long);
    }

    #[test]
    fn pauses_of_speech_are_quiet_instants() {
        let mut loudness = vec![-20.0_f32; 300];
        loudness[80..84].fill(-45.0);
        loudness[82] = -50.0;
        assert_eq!(quiet_instants(&loudness, 0.125), [10.25]);
        assert!(quiet_instants(&[-20.0; 50], 0.1).is_empty());
        assert!(quiet_instants(&[], 0.1).is_empty());
    }
}
