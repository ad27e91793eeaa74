//! Why a moment was picked: terms whose shares sum to its score.

use serde::{Deserialize, Serialize};

/// One term of a score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    pub kind: ReasonKind,
    /// What it adds to the score; negative when it speaks against the moment.
    pub share: f64,
    /// The number to tell, in the unit of `kind`.
    pub measure: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonKind {
    /// `measure` × the usual number of people writing within 30 seconds.
    Chatters,
    /// `measure` × the usual number of reactions (awe, laughter, shock).
    Reactions,
    /// `measure` × the usual number of messages in capitals.
    Shouts,
    /// Chat repeats itself: a token concentration of `measure` (1: all write one same word).
    Repetition,
    /// A raid, a gift or a hype train `measure` × what chat alone would have said.
    Support,
    /// The sound is `measure` LU over the stream's median.
    Loudness,
    /// `measure` people asked for a clip.
    Votes,
}

/// The score the reasons make together.
pub(crate) fn score(reasons: &[Reason]) -> f64 {
    reasons.iter().map(|reason| reason.share).sum()
}
