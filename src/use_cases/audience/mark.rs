//! Marks: somebody says « this was good », by the page, a key, or a program.

use chrono::{DateTime, Utc};

use crate::domain::audience::channel::ChannelId;
use crate::domain::ids::{LiveId, PersonId};
use crate::domain::live::LiveEvent;
use crate::ports::PortError;
use crate::ports::ledger::{Commit, CommitError};
use crate::use_cases::audience::Audience;

/// A mark that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub live: LiveId,
    /// Milliseconds from the live's start.
    pub offset_ms: i64,
}

impl Audience {
    /// Marks the present instant of a channel's live; `None` when it is not on air.
    pub async fn mark(
        &self,
        channel: &ChannelId,
        at: DateTime<Utc>,
        by: Option<PersonId>,
    ) -> Result<Option<Mark>, PortError> {
        let on_air = self.on_air().get(channel.as_str()).cloned();
        let Some(broadcast) = on_air.filter(|one| one.ended_at.is_none()) else { return Ok(None) };
        let (live, offset_ms) = (broadcast.live, (at - broadcast.started_at).num_milliseconds());
        let offset_ms = offset_ms.max(0);
        let marked = LiveEvent::Marked { live, offset_ms, by };
        let commit = Commit { events: vec![marked.into()], ..Commit::default() };
        match self.ledger.commit(commit).await {
            Ok(_) => Ok(Some(Mark { live, offset_ms })),
            Err(CommitError::Port(error)) => Err(error),
            Err(error) => Err(PortError::plain(error.to_string())),
        }
    }
}
