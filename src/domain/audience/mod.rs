//! What viewers did. A message holds what is personal; a fact holds what happened, without persons.

pub mod channel;
mod counted;
pub mod happening;
pub mod notice;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::ids::LiveId;

pub use counted::counted;

/// A viewer as a fact knows them: a keyed hash that means nothing outside its villa week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pseudonym(pub [u8; 16]);

/// A chat message as it came: personal, kept until the week's report is frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// Unique within the live: the platform's id, or one derived from the message's place and text.
    pub message_id: String,
    pub at: DateTime<Utc>,
    /// Milliseconds from the start of the video.
    pub offset_ms: i64,
    pub viewer_id: String,
    pub viewer_name: String,
    pub text: String,
    /// The creator or a moderator wrote it.
    pub trusted: bool,
    /// Bits cheered with the message.
    pub bits: u32,
}

/// What a fact says happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactKind {
    /// One chat message; `amount` is its length in characters.
    Chat,
    /// Bits; `amount` is their number.
    Cheer,
    /// A vote for a moment (`!clip`).
    Vote,
    /// A new follower.
    Follow,
    /// A sub that begins and is no gift; `amount` is its tier, 1 to 3.
    Sub,
    /// A sub that goes on; `amount` is its tier.
    Resub,
    /// Subs given away; `amount` is their number.
    Gift,
    /// Another channel came along; `amount` is how many viewers it brought.
    Raid,
    /// A reward for channel points; `amount` is its price.
    Redemption,
    /// An ad break; `amount` is its length in seconds.
    Ad,
    /// Nothing was heard for a while until then; `amount` is how long, in milliseconds.
    Missed,
}

impl FactKind {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Cheer => "cheer",
            Self::Vote => "vote",
            Self::Follow => "follow",
            Self::Sub => "sub",
            Self::Resub => "resub",
            Self::Gift => "gift",
            Self::Raid => "raid",
            Self::Redemption => "redemption",
            Self::Ad => "ad",
            Self::Missed => "missed",
        }
    }
}

/// Something that happened in the audience, without persons: the ground of every figure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub live: LiveId,
    pub at: DateTime<Utc>,
    pub offset_ms: i64,
    pub kind: FactKind,
    pub viewer: Pseudonym,
    pub amount: i64,
}

/// One minute of a live's audience. `coverage` is the share of the minute that was heard, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AudienceMinute {
    /// Minute of the video, from 0.
    pub minute: i32,
    pub messages: i32,
    pub chatters: i32,
    pub coverage: f32,
}

/// Folds facts into minutes over a video of `duration_ms`. Every minute has a row, a silent one too.
pub fn minutes_of(facts: &[Fact], duration_ms: i64) -> Vec<AudienceMinute> {
    let count = usize::try_from((duration_ms + 59_999) / 60_000).unwrap_or(0);
    let mut viewers = vec![std::collections::BTreeSet::new(); count];
    let mut messages = vec![0_i32; count];
    for fact in facts.iter().filter(|fact| fact.kind == FactKind::Chat) {
        let Ok(minute) = usize::try_from(fact.offset_ms / 60_000) else { continue };
        if minute < count {
            messages[minute] += 1;
            viewers[minute].insert(fact.viewer);
        }
    }
    let last_share = |minute: usize| {
        let left = duration_ms - minute as i64 * 60_000;
        (left.min(60_000) as f32) / 60_000.0
    };
    (0..count)
        .map(|minute| AudienceMinute {
            minute: minute as i32,
            messages: messages[minute],
            chatters: viewers[minute].len() as i32,
            coverage: last_share(minute),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::LiveId;

    #[test]
    fn minutes_count_messages_and_distinct_chatters_with_their_coverage() {
        let fact = |offset_ms, viewer: u8| Fact {
            live: LiveId::from_uuid(uuid::Uuid::nil()),
            at: DateTime::UNIX_EPOCH,
            offset_ms,
            kind: FactKind::Chat,
            viewer: Pseudonym([viewer; 16]),
            amount: 3,
        };
        let minutes = minutes_of(
            &[fact(0, 1), fact(5, 1), fact(10, 2), fact(61_000, 1), fact(500_000, 9)],
            90_000,
        );
        assert_eq!(minutes.len(), 2);
        assert_eq!((minutes[0].messages, minutes[0].chatters), (3, 2));
        assert_eq!((minutes[1].messages, minutes[1].chatters), (1, 1));
        assert!((minutes[1].coverage - 0.5).abs() < 1e-6);
    }
}
