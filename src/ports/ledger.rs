//! The logs, and the one way to write to them: a commit takes everything that belongs together, or nothing.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::audience::{AudienceMinute, ChatMessage, Fact};
use crate::domain::event::{Event, Recorded};
use crate::domain::ids::{JobId, LiveId, WeekId};
use crate::domain::job::{Job, JobTicket};
use crate::domain::media::MediaObject;
use crate::ports::PortError;

/// Most events read in one batch.
pub const EVENTS_BATCH_MAX: usize = 500;

/// What belongs together. Everything is written in one transaction, under the log's one appender.
#[derive(Debug, Default)]
pub struct Commit {
    pub events: Vec<Event>,
    /// Orders that follow; one whose deduplication key is already waiting or running is not repeated.
    pub jobs: Vec<Job>,
    /// Fails with [`CommitError::Conflict`] unless the subject has exactly this many events.
    pub expect: Option<Expectation>,
    /// Moves a follower's cursor; fails with [`CommitError::Conflict`] unless it stood at `from`.
    pub cursor: Option<CursorMove>,
    /// Finishes a job; fails with [`CommitError::LeaseLost`] unless its ticket still holds.
    pub finish: Option<JobTicket>,
    pub audience: Option<AudienceBatch>,
    /// Files now referred to.
    pub media: Vec<MediaObject>,
}

/// How long a subject's history must be for a decision about it to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expectation {
    pub subject: Uuid,
    pub events: usize,
}

/// A follower's step through the event log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorMove {
    pub follower: &'static str,
    pub from: i64,
    pub to: i64,
}

/// A live's audience, whole: raw messages, facts without persons, minutes folded from them.
#[derive(Debug)]
pub struct AudienceBatch {
    pub week: WeekId,
    pub live: LiveId,
    pub messages: Vec<ChatMessage>,
    pub facts: Vec<Fact>,
    pub minutes: Vec<AudienceMinute>,
}

/// What a commit wrote.
#[derive(Debug, Default)]
pub struct Committed {
    pub events: Vec<Recorded<Event>>,
    /// The jobs asked for, in order; with `false` where an equal one was under way.
    pub jobs: Vec<(JobId, bool)>,
}

#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error("somebody else decided in the meantime")]
    Conflict,
    #[error("the job's lease was lost to another worker")]
    LeaseLost,
    #[error(transparent)]
    Port(#[from] PortError),
}

/// The event log and its neighbours.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Writes all or nothing.
    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError>;

    /// Events after `seq`, oldest first, at most [`EVENTS_BATCH_MAX`]. In commit order: none appears later behind a reader.
    async fn events_after(&self, seq: i64) -> Result<Vec<Recorded<Event>>, PortError>;

    /// One subject's events, oldest first.
    async fn history(&self, subject: Uuid) -> Result<Vec<Recorded<Event>>, PortError>;

    /// Where a follower stands; 0 before its first step.
    async fn cursor(&self, follower: &'static str) -> Result<i64, PortError>;

    /// A live's messages in order of their offset, whole (a day of the busiest chat is some tens of MB).
    async fn messages_of(&self, live: LiveId) -> Result<Vec<ChatMessage>, PortError>;

    /// A live's minutes in order.
    async fn minutes_of(&self, live: LiveId) -> Result<Vec<AudienceMinute>, PortError>;

    /// Folds a live's minutes from its facts, in place of those that stand; done again, it gives the same. `lasted_ms` is
    /// `None` for a live whose end nobody heard: it lasted until its last fact. `looks` as in
    /// [`crate::domain::audience::minutes_of`]. Needs no key, and waits for a fold of the same live under way.
    async fn fold_minutes(
        &self,
        live: LiveId,
        lasted_ms: Option<i64>,
        looks: &[(i64, u32)],
    ) -> Result<(), PortError>;

    /// How many messages fell into each step of `step_ms` of a live's video: (step from 0, messages), steps without any left
    /// out. Told by the facts, so it outlives the raw chat.
    async fn pulse_of(&self, live: LiveId, step_ms: i64) -> Result<Vec<(i64, i64)>, PortError>;

    /// The key that makes pseudonyms within a week: drawn once, `None` after it was destroyed.
    async fn week_key(&self, week: WeekId, fresh: [u8; 32]) -> Result<Option<[u8; 32]>, PortError>;

    /// Drops the raw messages of these lives and destroys the week's key. Facts and minutes stay.
    async fn age_audience(&self, week: WeekId, lives: &[LiveId]) -> Result<u64, PortError>;

    /// Forgets ids heard before `before` and drops the days that hold no message any more.
    async fn sweep(&self, before: DateTime<Utc>) -> Result<(), PortError>;

    /// Deletes what a viewer left everywhere; says how many rows. What was heard of them by `at` and comes later, from
    /// whichever process, is not let in for as long as the inbox remembers ([`Self::sweep`]).
    async fn erase_viewer(&self, viewer_id: &str, at: DateTime<Utc>) -> Result<u64, PortError>;

    /// Resolves when a commit of this process has written events.
    async fn written(&self);
}
