//! Which channels are on air: a live begins with its channel's stream, in the villa week of that day.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use crate::domain::audience::ToldGap;
use crate::domain::audience::channel::{Seen, ViewerSample};
use crate::domain::event::{Event, Recorded};
use crate::domain::ids::LiveId;
use crate::domain::live::LiveEvent;
use crate::ports::PortError;
use crate::ports::ledger::{Commit, CommitError, Expectation};
use crate::ports::shelves::cards_of;
use crate::read_models::{BroadcastCard, WeekCard};
use crate::use_cases::audience::Audience;
use crate::use_cases::week_at;

/// What is said this long after the end of a stream still belongs to it, in minutes: people talk on.
const TALK_AFTER_MIN: i64 = 10;

/// A live that no look finds for this long, in minutes, has ended although nobody said so.
const UNSEEN_MAX_MIN: i64 = 5;

/// The lives under way, by channel.
pub(super) type OnAir = BTreeMap<String, Broadcast>;

/// A live under way, or over a moment ago.
#[derive(Debug, Clone)]
pub(super) struct Broadcast {
    pub(super) live: LiveId,
    pub(super) started_at: DateTime<Utc>,
    pub(super) ended_at: Option<DateTime<Utc>>,
    /// Makes pseudonyms; `None` once destroyed.
    pub(super) key: Option<[u8; 32]>,
}

impl Broadcast {
    /// Whether a stretch of time touches it.
    pub(super) fn touches(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> bool {
        self.started_at <= to && self.holds(from)
    }

    /// Whether what happened then belongs to it.
    pub(super) fn holds(&self, at: DateTime<Utc>) -> bool {
        self.ended_at.is_none_or(|ended| at <= ended + Duration::minutes(TALK_AFTER_MIN))
    }
}

impl Audience {
    pub(super) fn on_air(&self) -> MutexGuard<'_, OnAir> {
        self.state.on_air.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up which lives are on air by the log: those of before this process began, and those that another process
    /// heard begin or end. Of a channel, only the latest is on air: one before it that nobody heard end ended with the
    /// beginning of the next.
    pub async fn take_up(&self) -> Result<(), PortError> {
        let weeks: Vec<WeekCard> = cards_of(&*self.shelves, Uuid::nil()).await?;
        let mut by_channel: BTreeMap<String, Vec<BroadcastCard>> = BTreeMap::new();
        for week in weeks.iter().filter(|week| !week.audience_aged) {
            let broadcasts: Vec<BroadcastCard> =
                cards_of(&*self.shelves, week.id.as_uuid()).await?;
            for card in broadcasts {
                by_channel.entry(card.channel.clone()).or_default().push(card);
            }
        }
        for (channel, mut cards) in by_channel {
            cards.sort_by_key(|card| card.started_at);
            for pair in cards.windows(2).filter(|pair| pair[0].ended_at.is_none()) {
                self.say_ended(pair[0].id, pair[1].started_at).await?;
            }
            let Some(latest) = cards.pop() else { continue };
            let known = self.on_air().get(&channel).cloned();
            let is_known = known.as_ref().is_some_and(|known| known.live == latest.id);
            let is_later = known.is_none_or(|known| latest.started_at > known.started_at);
            if is_known {
                if let (Some(broadcast), Some(ended_at)) =
                    (self.on_air().get_mut(&channel), latest.ended_at)
                {
                    broadcast.ended_at.get_or_insert(ended_at);
                }
            } else if is_later && latest.ended_at.is_none() {
                let key = self.ledger.week_key(latest.week, self.clock.new_secret()).await?;
                let (live, started_at) = (latest.id, latest.started_at);
                let broadcast = Broadcast { live, started_at, ended_at: None, key };
                self.on_air().insert(channel, broadcast);
            }
        }
        Ok(())
    }

    /// The lives of a channel that reach into a gap, those over by now too, the earliest first.
    pub(super) async fn lives_of(&self, gap: &ToldGap) -> Result<Vec<Broadcast>, PortError> {
        let mut lives = Vec::new();
        let weeks: Vec<WeekCard> = cards_of(&*self.shelves, Uuid::nil()).await?;
        for week in weeks.iter().filter(|week| !week.audience_aged) {
            let cards: Vec<BroadcastCard> = cards_of(&*self.shelves, week.id.as_uuid()).await?;
            for card in cards.into_iter().filter(|card| card.channel == gap.channel.as_str()) {
                let (live, started_at, ended_at) = (card.id, card.started_at, card.ended_at);
                let mut broadcast = Broadcast { live, started_at, ended_at, key: None };
                if broadcast.touches(gap.from, gap.to) {
                    broadcast.key = self.ledger.week_key(week.id, self.clock.new_secret()).await?;
                    lives.push(broadcast);
                }
            }
        }
        lives.sort_by_key(|live| live.started_at);
        // One that nobody heard end was over when the next began.
        let starts: Vec<DateTime<Utc>> = lives.iter().map(|live| live.started_at).collect();
        for (live, next) in lives.iter_mut().zip(starts.into_iter().skip(1)) {
            live.ended_at.get_or_insert(next);
        }
        Ok(lives)
    }

    /// A channel's stream began. Heard twice, by whomever, it is one live.
    pub async fn began(
        &self,
        channel: &str,
        title: &str,
        started_at: DateTime<Utc>,
    ) -> Result<LiveId, PortError> {
        let live = LiveId::on_air(channel, started_at);
        let is_known = |on_air: &OnAir| on_air.get(channel).is_some_and(|one| one.live == live);
        if is_known(&self.on_air()) {
            return Ok(live);
        }
        let week = week_at(&*self.ledger, &*self.shelves, started_at).await?;
        let began = LiveEvent::Began {
            live,
            week,
            channel: channel.to_owned(),
            title: title.to_owned(),
            started_at,
        };
        self.say_first(live.as_uuid(), began).await?;
        let key = self.ledger.week_key(week, self.clock.new_secret()).await?;
        let broadcast = Broadcast { live, started_at, ended_at: None, key };
        self.on_air().insert(channel.to_owned(), broadcast);
        Ok(live)
    }

    /// What a look at the streams tells: a live whose beginning was not heard begins, one that nobody sees any more has
    /// ended. The platform's list lags behind, so a live is believed for [`UNSEEN_MAX_MIN`] minutes.
    pub async fn seen(&self, samples: &[ViewerSample]) -> Result<(), PortError> {
        for sample in samples {
            let channel = sample.channel.as_str();
            let on_air = self.on_air().get(channel).filter(|one| one.ended_at.is_none()).cloned();
            match (&sample.seen, on_air) {
                (Seen::Live { title, started_at: Some(started_at), .. }, on_air) => {
                    if on_air.is_none_or(|one| one.started_at != *started_at) {
                        self.began(channel, title, *started_at).await?;
                    }
                    self.unseen().remove(channel);
                }
                (Seen::Offline, Some(_)) => {
                    let since =
                        *self.unseen().entry(channel.to_owned()).or_insert(sample.fetched_at);
                    if sample.fetched_at - since >= Duration::minutes(UNSEEN_MAX_MIN) {
                        self.ended(channel, since).await?;
                        self.unseen().remove(channel);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn unseen(&self) -> MutexGuard<'_, BTreeMap<String, DateTime<Utc>>> {
        self.state.unseen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A channel's stream ended.
    pub async fn ended(&self, channel: &str, ended_at: DateTime<Utc>) -> Result<(), PortError> {
        let live = match self.on_air().get(channel) {
            Some(broadcast) if broadcast.ended_at.is_none() => broadcast.live,
            _ => return Ok(()),
        };
        self.say_ended(live, ended_at).await?;
        if let Some(broadcast) = self.on_air().get_mut(channel) {
            broadcast.ended_at = Some(ended_at);
        }
        Ok(())
    }

    /// Says that a live has ended, unless somebody said so before.
    async fn say_ended(&self, live: LiveId, ended_at: DateTime<Utc>) -> Result<(), PortError> {
        let history = self.ledger.history(live.as_uuid()).await?;
        let is_over =
            |it: &Recorded<Event>| matches!(it.event, Event::Live(LiveEvent::Ended { .. }));
        if history.iter().any(is_over) {
            return Ok(());
        }
        let ended = LiveEvent::Ended { live, ended_at };
        let commit = Commit { events: vec![ended.into()], ..Commit::default() };
        said(self.ledger.commit(commit).await.map(|_| ()))
    }

    /// Writes the first event of a subject, unless somebody else was first.
    async fn say_first(&self, subject: Uuid, event: impl Into<Event>) -> Result<(), PortError> {
        let commit = Commit {
            events: vec![event.into()],
            expect: Some(Expectation { subject, events: 0 }),
            ..Commit::default()
        };
        said(self.ledger.commit(commit).await.map(|_| ()))
    }
}

/// Somebody else said it at the same time: it is said.
fn said(outcome: Result<(), CommitError>) -> Result<(), PortError> {
    match outcome {
        Ok(()) | Err(CommitError::Conflict | CommitError::LeaseLost) => Ok(()),
        Err(CommitError::Port(error)) => Err(error),
    }
}
