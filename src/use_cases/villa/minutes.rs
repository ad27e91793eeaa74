//! Minutes of lives on air: folded as soon as nobody talks on, again for what comes late, and once more before ageing.

use chrono::{DateTime, Duration, Utc};

use crate::domain::audience::channel::{ChannelId, Seen, ViewerSample};
use crate::domain::live::CHAT_AFTER_END_MS_MAX;
use crate::ports::PortError;
use crate::ports::shelves::cards_of;
use crate::read_models::BroadcastCard;
use crate::use_cases::villa::Weeks;

/// A live is fresh for so many hours after its last talk: one without minutes is looked for every minute.
const FRESH_H: i64 = 1;
/// Hours for which a live is folded again: a spool may bring its messages late. What comes later counts when it ages.
const LATE_H: i64 = 48;

impl Weeks {
    /// Folds the lives on air that ended a short while ago and have no minutes yet. Says how many.
    pub async fn fold_fresh(&self, now: DateTime<Utc>) -> Result<usize, PortError> {
        let mut folded = 0;
        for live in self.over(now).await? {
            let is_fresh =
                since_talk(&live, now).is_some_and(|over| over <= Duration::hours(FRESH_H));
            if is_fresh && self.ledger.minutes_of(live.id).await?.is_empty() {
                self.fold_minutes(&live, now).await?;
                folded += 1;
            }
        }
        Ok(folded)
    }

    /// Folds again the lives whose messages may still come late, and those that were never folded. Says how many.
    pub async fn fold_late(&self, now: DateTime<Utc>) -> Result<usize, PortError> {
        let mut folded = 0;
        for live in self.over(now).await? {
            let is_late =
                since_talk(&live, now).is_some_and(|over| over <= Duration::hours(LATE_H));
            if is_late || self.ledger.minutes_of(live.id).await?.is_empty() {
                self.fold_minutes(&live, now).await?;
                folded += 1;
            }
        }
        Ok(folded)
    }

    /// Folds the minutes of one live, by `now`.
    pub(super) async fn fold_minutes(
        &self,
        live: &BroadcastCard,
        now: DateTime<Utc>,
    ) -> Result<(), PortError> {
        let looks = match ChannelId::try_new(live.channel.clone()) {
            Ok(channel) => {
                let until = live.ended_at.unwrap_or(now);
                let samples = self.samples.between(&channel, live.started_at, until).await?;
                samples.iter().filter_map(|sample| look(sample, live.started_at)).collect()
            }
            // Nobody looks at a channel without a number.
            Err(_) => Vec::new(),
        };
        let lasted_ms = live.ended_at.map(|ended| (ended - live.started_at).num_milliseconds());
        self.ledger.fold_minutes(live.id, lasted_ms, &looks).await
    }

    /// The lives that are over, talk included, of the weeks that have not aged.
    async fn over(&self, now: DateTime<Utc>) -> Result<Vec<BroadcastCard>, PortError> {
        let mut over = Vec::new();
        for week in self.list().await?.into_iter().filter(|week| !week.audience_aged) {
            let broadcasts: Vec<BroadcastCard> =
                cards_of(&*self.shelves, week.id.as_uuid()).await?;
            over.extend(broadcasts.into_iter().filter(|live| since_talk(live, now).is_some()));
        }
        Ok(over)
    }
}

/// How long nobody has talked on after the live; `None` while somebody may.
fn since_talk(live: &BroadcastCard, now: DateTime<Utc>) -> Option<Duration> {
    let over = now - (live.ended_at? + Duration::milliseconds(CHAT_AFTER_END_MS_MAX));
    (over > Duration::zero()).then_some(over)
}

/// Where a look stands in a live, and what it saw; `None` when it saw no stream, or failed.
fn look(sample: &ViewerSample, started_at: DateTime<Utc>) -> Option<(i64, u32)> {
    match sample.seen {
        Seen::Live { viewers, .. } => {
            Some(((sample.fetched_at - started_at).num_milliseconds(), viewers))
        }
        Seen::Offline | Seen::Failed => None,
    }
}
