//! The log of what reaches us from the audience while it happens: whole notices first, then what follows from them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::audience::notice::{Erasure, Notice};
use crate::domain::audience::{ChatMessage, Fact};
use crate::domain::ids::LiveId;
use crate::ports::PortError;

/// Most notices read in one batch.
pub const NOTICES_BATCH_MAX: usize = 2_000;

/// A notice on its way into the log, with what follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub notice: Notice,
    /// The live that was under way on its channel.
    pub live: Option<LiveId>,
    /// Stored beside the notice when a live is under way.
    pub message: Option<ChatMessage>,
    pub facts: Vec<Fact>,
    pub removal: Option<Removal>,
}

/// Words that have to go: from the log, from every page, within a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// One message, by its id.
    Message { channel: String, message_id: String },
    /// Everything a viewer wrote in a channel up to then.
    Viewer { channel: String, viewer_id: String, until: DateTime<Utc> },
}

/// A notice with its place in the log. `seq` grows in commit order: a reader that has seen `n` never meets a smaller one later.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    pub seq: i64,
    pub live: Option<LiveId>,
    pub notice: Notice,
}

/// The log of notices.
#[async_trait]
pub trait AudienceLog: Send + Sync {
    /// Stores entries in their order, in one transaction, and gives back those that were not heard before. A notice is heard
    /// before when its message id or its business id is known, in this batch too. What an erasure takes is left out.
    async fn append(&self, entries: Vec<Entry>) -> Result<Vec<Logged>, PortError>;

    /// Notices after `seq`, oldest first, at most [`NOTICES_BATCH_MAX`].
    async fn after(&self, seq: i64) -> Result<Vec<Logged>, PortError>;

    /// The same, of one live only.
    async fn of_live(&self, live: LiveId, seq: i64) -> Result<Vec<Logged>, PortError>;

    /// The newest number given; 0 in an empty log.
    async fn head(&self) -> Result<i64, PortError>;

    /// When a channel was last heard; `None` when it never was.
    async fn last_heard(&self, channel: &str) -> Result<Option<DateTime<Utc>>, PortError>;

    /// The erasures of viewers that are remembered, the oldest first.
    async fn erasures(&self) -> Result<Vec<Erasure>, PortError>;

    /// Makes the partitions of the days from `day` on that will be needed next.
    async fn make_room(&self, day: DateTime<Utc>) -> Result<(), PortError>;

    /// Resolves when this process has stored notices.
    async fn appended(&self);
}
