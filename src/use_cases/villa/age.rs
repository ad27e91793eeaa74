//! Ageing: the raw audience of a week goes when its time has come, and not before its minutes are folded.

use chrono::{DateTime, Duration, Utc};

use crate::domain::ids::LiveId;
use crate::domain::villa::{VillaEvent, audience_ages_at};
use crate::ports::PortError;
use crate::ports::ledger::{Commit, CommitError, Expectation};
use crate::ports::shelves::cards_of;
use crate::read_models::{BroadcastCard, LiveCard, WeekCard};
use crate::use_cases::villa::Weeks;

/// Days an id stays in the inbox: nothing repeats a message after that.
const INBOX_KEPT_DAYS: i64 = 7;

impl Weeks {
    /// Drops the raw audience of every week whose time has come by `now`; figures and facts stay. Says how many weeks
    /// aged. A week whose minutes cannot be folded keeps everything; the others age all the same.
    pub async fn age(&self, now: DateTime<Utc>) -> Result<usize, PortError> {
        let mut aged = 0;
        let mut failed = None;
        for week in self.list().await?.into_iter().filter(|week| !week.audience_aged) {
            match self.age_week(&week, now).await {
                Ok(has_aged) => aged += usize::from(has_aged),
                Err(error) => {
                    tracing::error!(week = %week.id, error = %error.chain(), "a week keeps its raw audience");
                    failed.get_or_insert(error);
                }
            }
        }
        self.ledger.sweep(now - Duration::days(INBOX_KEPT_DAYS)).await?;
        failed.map_or(Ok(aged), Err)
    }

    /// Says whether the week has aged now.
    async fn age_week(&self, week: &WeekCard, now: DateTime<Utc>) -> Result<bool, PortError> {
        let lives: Vec<LiveCard> = cards_of(&*self.shelves, week.id.as_uuid()).await?;
        let broadcasts: Vec<BroadcastCard> = cards_of(&*self.shelves, week.id.as_uuid()).await?;
        let imported = lives.iter().map(|live| live.imported_at);
        let on_air = broadcasts.iter().map(|live| live.ended_at.unwrap_or(live.started_at));
        let last_change = imported.chain(on_air).fold(week.opened_at, DateTime::max);
        if now < audience_ages_at(week.starts_on, last_change) {
            return Ok(false);
        }
        for broadcast in &broadcasts {
            self.fold_minutes(broadcast, now).await?;
        }
        let ids = lives.iter().map(|live| live.id);
        let ids: Vec<LiveId> = ids.chain(broadcasts.iter().map(|live| live.id)).collect();
        self.ledger.age_audience(week.id, &ids).await?;
        let commit = Commit {
            events: vec![VillaEvent::AudienceAged { week: week.id }.into()],
            expect: Some(Expectation { subject: week.id.as_uuid(), events: 1 }),
            ..Commit::default()
        };
        match self.ledger.commit(commit).await {
            // Somebody else aged it at the same time: it is done.
            Ok(_) | Err(CommitError::Conflict | CommitError::LeaseLost) => Ok(true),
            Err(CommitError::Port(error)) => Err(error),
        }
    }
}
