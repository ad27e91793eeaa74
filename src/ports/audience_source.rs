//! Where notices come from: sockets and webhooks of the platform, merged into one stream.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::audience::channel::ChannelId;
use crate::domain::audience::notice::Notice;
use crate::ports::PortError;
use crate::ports::platform::{Bearer, PlatformError};

/// Most notices handed over at once.
pub const NOTICES_PULLED_MAX: usize = 1_000;

/// A stream of notices, pulled at the listener's own pace.
#[async_trait]
pub trait AudienceSource: Send {
    /// What came since the last call, at least one and at most [`NOTICES_PULLED_MAX`], in order; `None` when no more will.
    async fn next(&mut self) -> Option<Vec<Notice>>;

    /// Whether the last batch was kept, by the database or the spool. Call it before the next [`Self::next`].
    fn kept(&mut self, kept: bool);
}

/// What becomes of a message that was posted to an address of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// It is kept, or asks for nothing.
    Taken,
    /// The platform wants to read this word for word.
    Answer(String),
    /// From the platform, but of another time: somebody plays it back, or it comes far too late. It has no effect, and is not to
    /// be sent again.
    Old,
    /// Not from the platform.
    Refused,
    /// From the platform, but nothing we can read.
    Malformed,
    /// It could not be kept now: the platform shall send it again.
    Busy,
}

/// Takes what the platform posts.
#[async_trait]
pub trait Mailbox: Send + Sync {
    /// `headers` by lower-case name; `body` as it came, at most as long as the platform's longest.
    async fn receive(&self, headers: &BTreeMap<String, String>, body: &[u8]) -> Received;
}

/// What a source needs to know of the linked channels.
#[async_trait]
pub trait Bearers: Send + Sync {
    /// The channels to listen to: those that are linked and whose permission holds.
    async fn channels(&self) -> Result<Vec<ChannelId>, PortError>;

    /// What a channel allows, in the platform's words.
    async fn scopes(&self, channel: &ChannelId) -> Result<Vec<String>, PortError>;

    /// Who speaks for a channel now. Ask at each use: tokens change every few hours.
    async fn bearer(&self, channel: &ChannelId) -> Result<Bearer, PlatformError>;

    /// Who speaks for our application itself.
    async fn app(&self) -> Result<Bearer, PlatformError>;

    /// A new token in place of one the platform took no longer.
    async fn renewed(&self, stale: &Bearer) -> Result<Bearer, PlatformError>;

    /// The platform says that a channel's permission is gone.
    async fn revoked(&self, channel: &ChannelId);

    /// Until when a channel was listened to, by whatever was kept of it; `None` when it never was.
    async fn heard_until(&self, channel: &ChannelId) -> Option<DateTime<Utc>>;
}

/// How a channel's listening stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    #[default]
    Connecting,
    Listening,
    /// Pauses before it connects again.
    Waiting,
    /// The permission is gone: it has to be linked anew.
    Revoked,
}

/// How listening to a channel does, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    pub state: State,
    pub connected_at: Option<DateTime<Utc>>,
    /// Anything at all came.
    pub last_frame_at: Option<DateTime<Utc>>,
    /// Something happened.
    pub last_event_at: Option<DateTime<Utc>>,
    /// Subscriptions that stand, of those that were wanted.
    pub confirmed: usize,
    pub wanted: usize,
    /// Kinds that are not heard, and why.
    pub refused: Vec<(String, String)>,
    /// Frames and events nobody here understands.
    pub unknown: u64,
    pub reconnects: u64,
    /// Why the last connection ended.
    pub last_end: Option<String>,
}

/// Tells how listening does.
pub trait Listening: Send + Sync {
    fn health(&self, channel: &ChannelId) -> Option<Health>;
}
