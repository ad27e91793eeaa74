//! What there is of a span that lies over a break of a camera: its longest piece. Pieces are not put together: nobody could tell
//! what was said in between, and a jump in the middle of a sentence is worse than a shorter clip.

use std::cmp::Reverse;

use crate::domain::clips::Span;
use crate::domain::clips::clip::CLIP_MS_MIN;
use crate::ports::dvr::PartPlace;
use crate::use_cases::clips::footage::{FootageError, began, in_ns, in_ticks};

/// A clip is cut from a piece of what was asked for as long as no more than this share of it is missing.
const MISSING_SHARE_MAX: f64 = 0.5;
const NS_PER_MS: i64 = 1_000_000;

/// A stretch of a span that was recorded without a break.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    /// From a key frame on.
    pub(super) parts: &'a [PartPlace],
    /// Where it lies in its recording's own time, in ticks.
    pub(super) start: i64,
    pub(super) end: i64,
    /// Where it lies in what was asked for, in nanoseconds.
    within: (i64, i64),
}

impl<'a> Piece<'a> {
    /// The longest of a span, the first of two; times are UTC nanoseconds. `None` when nothing of it was recorded.
    pub(super) fn longest(all: &'a [PartPlace], from: i64, to: i64) -> Option<Self> {
        let follows = |one: &PartPlace, next: &PartPlace| {
            one.recording == next.recording && one.number + 1 == next.number
        };
        let pieces = all.chunk_by(follows).filter_map(|run| Self::of(run, from, to));
        pieces.max_by_key(|piece| (piece.within.1 - piece.within.0, Reverse(piece.within.0)))
    }

    fn of(run: &'a [PartPlace], from: i64, to: i64) -> Option<Self> {
        let first_key = run.iter().position(|part| part.is_key)?;
        let began_ns = began(run.iter())?;
        let last = run.last()?;
        let begins = began_ns + in_ns(run[first_key].dts);
        let ends = began_ns + in_ns(last.dts + last.ticks);
        let within = (from.max(begins) - from, to.min(ends) - from);
        if within.0 >= within.1 {
            return None;
        }
        let [start, end] = [within.0, within.1].map(|at| in_ticks(from + at - began_ns));
        let key = run.iter().rposition(|part| part.is_key && part.dts <= start);
        let key = key.unwrap_or(first_key);
        let last = run.iter().position(|part| part.dts + part.ticks >= end);
        let parts = &run[key..=last.unwrap_or(run.len() - 1).max(key)];
        Some(Self { parts, start: start.max(parts[0].dts), end, within })
    }

    /// Where it lies in a span of so many nanoseconds; refused in words when too much of that is missing.
    pub(super) fn span(&self, asked_ns: i64) -> Result<Span, FootageError> {
        span_of(self.within.0, self.within.1, asked_ns)
    }
}

/// A piece of a span, both in nanoseconds since the span begins.
pub(super) fn span_of(from_ns: i64, to_ns: i64, asked_ns: i64) -> Result<Span, FootageError> {
    let (from_ms, to_ms) = (from_ns / NS_PER_MS, to_ns / NS_PER_MS);
    let (there_ms, asked_ms) = (to_ms - from_ms, asked_ns / NS_PER_MS);
    let missing = (asked_ms - there_ms) as f64;
    if there_ms < CLIP_MS_MIN || missing > asked_ms as f64 * MISSING_SHARE_MAX {
        return Err(FootageError::Torn { there_ms, asked_ms });
    }
    Ok(Span { from_ms, to_ms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{CameraId, RecordingId};
    use crate::domain::live::track::TICKS_PER_S;
    use uuid::Uuid;

    const S: i64 = 1_000_000_000;

    /// Recordings of these seconds of the clock on the wall; a key frame every two seconds.
    fn recordings(each: &[(i64, i64)]) -> Vec<PartPlace> {
        let parts = each.iter().zip(1..).flat_map(|((from, to), n)| {
            (0..to - from).map(move |second| PartPlace {
                camera: CameraId::from_uuid(Uuid::nil()),
                recording: RecordingId::from_uuid(Uuid::from_u128(n)),
                file: 1,
                number: second as u32 + 1,
                offset: 0,
                bytes: 1,
                dts: second * TICKS_PER_S,
                ticks: TICKS_PER_S,
                utc_ns: (from + second) * S,
                is_key: second % 2 == 0,
            })
        });
        parts.collect()
    }

    /// The piece of a span, in seconds of it; and how many parts hold it.
    fn piece(all: &[PartPlace], from: i64, to: i64) -> Option<(i64, i64, usize)> {
        let piece = Piece::longest(all, from * S, to * S)?;
        assert_eq!(piece.end - piece.start, in_ticks(piece.within.1 - piece.within.0));
        Some((piece.within.0 / S, piece.within.1 / S, piece.parts.len()))
    }

    #[test]
    fn the_longest_piece_of_a_span_is_found_before_between_and_after_breaks() {
        let all = recordings(&[(100, 120), (123, 140), (141, 143)]);
        assert_eq!(piece(&all, 111, 133), Some((12, 22, 10)), "ten seconds after are longer");
        assert_eq!(piece(&all, 105, 133), Some((0, 15, 16)), "from the key frame before it");
        assert_eq!(piece(&all, 90, 110), Some((10, 20, 10)), "it was not there at the beginning");
        assert_eq!(piece(&all, 113, 130), Some((0, 7, 8)), "the first of two");
        assert_eq!(piece(&all, 120, 123), None);
        assert_eq!(piece(&[], 120, 123), None);
        let mut holed = recordings(&[(100, 130)]);
        holed.drain(10..15);
        assert_eq!(piece(&holed, 106, 128), Some((10, 22, 12)), "parts that went are a break, too");
    }

    #[test]
    fn half_of_a_span_is_enough_and_less_is_refused_with_what_there_is() {
        let all = recordings(&[(100, 120)]);
        let span = |from, to| {
            let piece = Piece::longest(&all, from * S, to * S).expect("a piece");
            piece.span((to - from) * S)
        };
        assert_eq!(span(110, 130).unwrap(), Span { from_ms: 0, to_ms: 10_000 });
        assert_eq!(span(90, 110).unwrap(), Span { from_ms: 10_000, to_ms: 20_000 });
        let refused = span(110, 131).unwrap_err();
        let words = refused.to_string();
        assert!(words.contains("10,0 s d'une traite sur 21,0 s"), "{words}");
    }
}
