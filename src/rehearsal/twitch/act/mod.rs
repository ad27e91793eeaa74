//! The language of a rehearsal: what a script, the control interface or a test can make happen.

mod perform;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::rehearsal::twitch::faults::Faults;
use crate::rehearsal::twitch::polls::run_poll;
use crate::rehearsal::twitch::stage::Stage;

/// One thing to make happen. Channels and viewers are named by login or id; a name without a channel is a viewer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    /// Somebody writes; with `bits`, they cheer.
    Say {
        channel: String,
        viewer: String,
        text: String,
        #[serde(default)]
        bits: u32,
    },
    /// So many messages at once, by as many viewers.
    Burst {
        channel: String,
        count: u32,
        text: String,
    },
    /// Any event of any type.
    Emit {
        r#type: String,
        version: String,
        channel: String,
        event: Value,
    },
    GoLive {
        channel: String,
        #[serde(default)]
        viewers: u32,
    },
    GoOffline {
        channel: String,
    },
    /// How many watch.
    Viewers {
        channel: String,
        count: u32,
    },
    Title {
        channel: String,
        title: String,
    },
    DeleteMessage {
        channel: String,
        message_id: String,
    },
    /// A ban, or a timeout of so many seconds; the viewer's messages disappear.
    Ban {
        channel: String,
        viewer: String,
        #[serde(default)]
        seconds: Option<u32>,
    },
    ClearChat {
        channel: String,
    },
    Follow {
        channel: String,
        viewer: String,
    },
    Raid {
        channel: String,
        from: String,
        viewers: u32,
    },
    Subscribe {
        channel: String,
        viewer: String,
    },
    Resubscribe {
        channel: String,
        viewer: String,
        months: u32,
        #[serde(default)]
        text: String,
    },
    /// One gift of `count` subscriptions with its whole family of events.
    GiftBomb {
        channel: String,
        giver: String,
        count: u32,
    },
    Redeem {
        channel: String,
        viewer: String,
        title: String,
        cost: u32,
        #[serde(default)]
        text: String,
    },
    /// A poll that runs for so many of Twitch's seconds.
    Poll {
        channel: String,
        title: String,
        choices: Vec<String>,
        seconds: u32,
    },
    HypeTrain {
        channel: String,
        best: String,
        level: u32,
    },
    AdBreak {
        channel: String,
        seconds: u32,
    },
    /// The same chat message in several channels, as in a shared chat; it comes from the first.
    SharedSay {
        channels: Vec<String>,
        viewer: String,
        text: String,
    },

    /// Orders sockets to reconnect: a session's id, a user's id, or everybody.
    Reconnect {
        #[serde(default)]
        socket: Option<String>,
    },
    /// Ends sockets with a close code, or without a word when there is none. Counters `close_<code>`, `vanished`.
    Cut {
        #[serde(default)]
        socket: Option<String>,
        #[serde(default)]
        code: Option<u16>,
    },
    /// Revokes subscriptions: one by its id, or all of a type. Counter `revoked_<status>`.
    Revoke {
        subscription: String,
        status: String,
    },
    DisableShard {
        conduit: String,
        shard: usize,
        status: String,
    },
    /// Something a client never saw before. Counter `odd_<what>`.
    Odd {
        channel: String,
        what: Oddity,
    },
    /// Access tokens of a user run out now. Counter `tokens_expired`.
    ExpireTokens {
        user: String,
    },
    /// A user takes back what they granted: tokens die, subscriptions are revoked. Counter `grant_revoked`.
    RevokeGrant {
        user: String,
    },
    /// Sets the lasting faults.
    Faults {
        faults: Faults,
    },
}

/// What a client never saw before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Oddity {
    MessageType,
    Type,
    Version,
    EnumValue,
    Field,
    Null,
}

impl Oddity {
    const fn counter(self) -> &'static str {
        match self {
            Self::MessageType => "odd_message_type",
            Self::Type => "odd_type",
            Self::Version => "odd_version",
            Self::EnumValue => "odd_enum_value",
            Self::Field => "odd_field",
            Self::Null => "odd_null",
        }
    }
}

/// Why nothing happened.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ActError {
    #[error("there is no channel `{0}`: name one of this rehearsal by login or id")]
    NoChannel(String),
    #[error("there is no {0}")]
    NotThere(String),
    #[error("{0}")]
    Refused(&'static str),
}

impl Stage {
    /// Makes it happen. Returns the ids of what came of it: message, poll, redemption or session ids.
    pub(super) fn act(self: &Arc<Self>, act: Act) -> Result<Vec<String>, ActError> {
        let mut state = self.state();
        match act {
            Act::Poll { channel, title, choices, seconds } => {
                let channel = state.stage_of(&channel)?;
                let poll = state.begin_poll(&channel, &title, &choices, seconds);
                drop(state);
                run_poll(self, channel, &poll);
                Ok(vec![poll["id"].as_str().unwrap_or_default().to_owned()])
            }
            Act::Reconnect { socket } => {
                let mut ordered = state.sockets(socket.as_deref())?;
                ordered.retain(|id| state.order_reconnect(id, self.address));
                Ok(ordered)
            }
            other => state.act(other),
        }
    }
}
