//! Villa weeks: open one, list them, find one.

use std::sync::Arc;

use chrono::{DateTime, Duration, NaiveDate, Utc};
use uuid::Uuid;

use crate::domain::ids::{LiveId, PersonId, WeekId};
use crate::domain::villa::{VillaEvent, WeekName, audience_ages_at};
use crate::ports::PortError;
use crate::ports::ledger::{Commit, CommitError, Expectation, Ledger};
use crate::ports::shelves::{Shelves, cards_of, find_card};
use crate::read_models::{BroadcastCard, LiveCard, WeekCard};

/// Days an id stays in the inbox: nothing repeats a message after that.
const INBOX_KEPT_DAYS: i64 = 7;

/// Villa weeks.
#[derive(Clone)]
pub struct Weeks {
    pub ledger: Arc<dyn Ledger>,
    pub shelves: Arc<dyn Shelves>,
}

impl Weeks {
    /// Opens a week, or finds the one of this name (case and spaces aside): opening twice opens one.
    pub async fn open(
        &self,
        name: WeekName,
        starts_on: NaiveDate,
        by: Option<PersonId>,
    ) -> Result<WeekId, PortError> {
        let week = WeekId::named(&name.folded());
        let commit = Commit {
            events: vec![VillaEvent::Opened { week, name, starts_on, by }.into()],
            expect: Some(Expectation { subject: week.as_uuid(), events: 0 }),
            ..Commit::default()
        };
        match self.ledger.commit(commit).await {
            Ok(_) | Err(CommitError::Conflict | CommitError::LeaseLost) => Ok(week),
            Err(CommitError::Port(error)) => Err(error),
        }
    }

    /// Drops the raw audience of every week whose time has come by `now`; figures and facts stay. Says how many weeks aged.
    pub async fn age(&self, now: DateTime<Utc>) -> Result<usize, PortError> {
        let mut aged = 0;
        for week in self.list().await?.into_iter().filter(|week| !week.audience_aged) {
            let lives: Vec<LiveCard> = cards_of(&*self.shelves, week.id.as_uuid()).await?;
            let broadcasts: Vec<BroadcastCard> =
                cards_of(&*self.shelves, week.id.as_uuid()).await?;
            let imported = lives.iter().map(|live| live.imported_at);
            let on_air = broadcasts.iter().map(|live| live.ended_at.unwrap_or(live.started_at));
            let last_change = imported.chain(on_air).fold(week.opened_at, DateTime::max);
            if now < audience_ages_at(week.starts_on, last_change) {
                continue;
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
                Ok(_) | Err(CommitError::Conflict | CommitError::LeaseLost) => aged += 1,
                Err(CommitError::Port(error)) => return Err(error),
            }
        }
        self.ledger.sweep(now - Duration::days(INBOX_KEPT_DAYS)).await?;
        Ok(aged)
    }

    /// All weeks, the latest first.
    pub async fn list(&self) -> Result<Vec<WeekCard>, PortError> {
        let mut weeks: Vec<WeekCard> = cards_of(&*self.shelves, Uuid::nil()).await?;
        weeks.sort_by_key(|week| std::cmp::Reverse((week.starts_on, week.opened_at)));
        Ok(weeks)
    }

    /// One week.
    pub async fn find(&self, week: WeekId) -> Result<Option<WeekCard>, PortError> {
        find_card(&*self.shelves, week.as_uuid()).await
    }
}
