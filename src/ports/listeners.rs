//! Which processes listen to the audience, and how they do: each says so every few seconds, and all of them see it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::audience::channel::ChannelId;
use crate::ports::PortError;
use crate::ports::audience_source::Health;

/// A process that said nothing for this long, in seconds, is taken to listen no more: its work goes to others.
pub const LISTENER_SILENT_MAX_S: u32 = 15;

/// What a process says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Unique among the processes of a database, the same after a restart.
    pub name: String,
    /// When it began to listen.
    pub since: DateTime<Utc>,
    /// The shards of the conduit it holds.
    pub shards: Vec<u32>,
    /// How listening to each channel does.
    pub health: BTreeMap<ChannelId, Health>,
}

/// A process as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub beat: Beat,
    /// When it spoke last, by the clock they share.
    pub seen_at: DateTime<Utc>,
    /// It spoke within [`LISTENER_SILENT_MAX_S`] and did not say that it leaves.
    pub is_alive: bool,
    /// It said that it leaves.
    pub has_left: bool,
}

/// The processes that listen.
#[async_trait]
pub trait Listeners: Send + Sync {
    /// Says how this process does.
    async fn beat(&self, beat: &Beat) -> Result<(), PortError>;

    /// This process listens no more, from now on.
    async fn leave(&self, name: &str) -> Result<(), PortError>;

    /// All that listened within a day: who has listened longest first, then by name.
    async fn all(&self) -> Result<Vec<Listener>, PortError>;
}
