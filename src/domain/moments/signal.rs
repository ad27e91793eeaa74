//! What the detector hears. Times are milliseconds of the stream clock: 0 is the stream's start.

use serde::{Deserialize, Serialize};

use crate::domain::moments::bounds::Span;

/// One thing that was heard, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signal<'a> {
    /// Milliseconds since the start of the stream. A late or repeated time is harmless.
    pub at_ms: u64,
    pub heard: Heard<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Heard<'a> {
    Message(Message<'a>),
    Audience(AudienceEvent),
    Vote(Vote),
    /// EBU R128 momentary or short-term loudness in LUFS; any fixed step, one a second is enough.
    Loudness {
        lufs: f32,
    },
    /// Only the clock moved: lets a silent chat end a moment.
    Nothing,
}

/// A chat message. System notices (« X offre 5 abonnements ») are audience events, not messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    pub chatter: ChatterId,
    pub text: &'a str,
    /// From the creator or a moderator: their `!clip` counts at once.
    pub is_trusted: bool,
}

/// Who wrote, as a number: a platform id or the hash of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChatterId(pub u64);

impl ChatterId {
    /// The same login, in any case, always gives the same id.
    pub fn of_login(login: &str) -> Self {
        Self(fingerprint(login.trim().chars().flat_map(char::to_lowercase)))
    }
}

/// What the audience or the channel did. None of it is worth a clip by itself; most of it brings
/// chatters who have seen nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudienceEvent {
    Raid { viewers: u32 },
    GiftBomb { count: u32 },
    Sub,
    Cheer { bits: u32 },
    HypeTrainBegan,
    HypeTrainProgressed,
    HypeTrainEnded,
    PollEnded,
    PredictionEnded,
    TitleChanged,
}

/// Somebody asks for a clip in so many words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vote {
    pub by: ChatterId,
    pub is_trusted: bool,
    pub kind: VoteKind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum VoteKind {
    /// `!clip` or a button, as late as any chat message.
    Command,
    /// The creator's own marker, set on the stage: no viewer latency, so it calibrates the delay.
    Marker,
    /// A clip a viewer made: its span of the video says where.
    Clip(Span),
}

/// FNV-1a over characters: stable across machines and releases, which std's hashers do not promise.
pub(crate) fn fingerprint(chars: impl Iterator<Item = char>) -> u64 {
    chars.fold(0xcbf2_9ce4_8422_2325, mix)
}

pub(crate) fn mix(hash: u64, char: char) -> u64 {
    (hash ^ u64::from(u32::from(char))).wrapping_mul(0x0000_0100_0000_01b3)
}
