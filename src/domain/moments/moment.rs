//! A moment worth showing: where it is, how strong it is, and why.

use serde::{Deserialize, Serialize};

use crate::domain::moments::bounds::Span;
use crate::domain::moments::delay::Delay;
use crate::domain::moments::lexicon::Mood;
use crate::domain::moments::reasons::Reason;

/// What the detector found. All times are seconds of the stream clock.
///
/// A moment with the `peak_s` of an earlier one replaces it: a vote came late.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// First second of the 15 seconds of chat in which the reaction was strongest.
    pub peak_s: f64,
    /// Where chat began to rise.
    pub onset_s: f64,
    /// When it happened in the picture: where the reaction begins (`onset_s`, but not before
    /// `peak_s` nor more than 8 s after it) less the delay, or a jump of the sound close by.
    pub event_s: f64,
    /// The suggested clip.
    pub span: Span,
    /// Sum of the shares of `reasons`; from 2.5 about ten an hour (esports chats).
    pub score: f64,
    pub kind: MomentKind,
    /// The mood most reactions share, when there are any.
    pub mood: Option<Mood>,
    /// Strongest share first.
    pub reasons: Vec<Reason>,
    /// The delay that was removed, and how it is known.
    pub delay: Delay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MomentKind {
    /// Something happened in the picture.
    Highlight,
    /// People came or gave: a raid, gifts, a hype train.
    Support,
}
