//! What viewers did. A message holds what is personal; a fact holds what happened, without persons.

pub mod channel;
mod counted;
mod gap;
pub mod happening;
mod minutes;
pub mod notice;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::ids::LiveId;

pub use counted::counted;
pub use gap::ToldGap;
pub use minutes::{AudienceMinute, Gap, MinuteChat, Tally, minutes_of};

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
