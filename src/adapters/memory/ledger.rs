//! The logs in memory.

use std::collections::btree_map::Entry;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::adapters::memory::MemoryDatabase;
use crate::adapters::memory::database::State;
use crate::adapters::memory::shelves::fold_into_cards;
use crate::domain::audience::{AudienceMinute, ChatMessage, FactKind, Tally, minutes_of};
use crate::domain::event::{Event, Recorded};
use crate::domain::ids::{LiveId, WeekId};
use crate::domain::job::{JobState, JobTicket};
use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::ledger::{
    AudienceBatch, Commit, CommitError, Committed, CursorMove, EVENTS_BATCH_MAX, Expectation,
    Ledger,
};

#[async_trait]
impl Ledger for MemoryDatabase {
    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let committed = {
            let mut state = self.state();
            let mut next = state.clone();
            let committed = next.take(commit, &self.clock)?;
            *state = next;
            committed
        };
        if !committed.events.is_empty() || !committed.jobs.is_empty() {
            self.written.notify_waiters();
        }
        Ok(committed)
    }

    async fn events_after(&self, seq: i64) -> Result<Vec<Recorded<Event>>, PortError> {
        let state = self.state();
        let after = state.events.iter().filter(|event| event.seq > seq);
        Ok(after.take(EVENTS_BATCH_MAX).cloned().collect())
    }

    async fn history(&self, subject: Uuid) -> Result<Vec<Recorded<Event>>, PortError> {
        let state = self.state();
        Ok(state.events.iter().filter(|event| event.event.subject() == subject).cloned().collect())
    }

    async fn cursor(&self, follower: &'static str) -> Result<i64, PortError> {
        Ok(self.state().cursors.get(follower).copied().unwrap_or(0))
    }

    async fn messages_of(&self, live: LiveId) -> Result<Vec<ChatMessage>, PortError> {
        let mut messages = self.state().messages.get(&live).cloned().unwrap_or_default();
        messages.sort_by(|a, b| (a.offset_ms, &a.message_id).cmp(&(b.offset_ms, &b.message_id)));
        Ok(messages)
    }

    async fn minutes_of(&self, live: LiveId) -> Result<Vec<AudienceMinute>, PortError> {
        let state = self.state();
        Ok(state.minutes.get(&live).map(|of| of.values().copied().collect()).unwrap_or_default())
    }

    async fn fold_minutes(
        &self,
        live: LiveId,
        lasted_ms: Option<i64>,
        looks: &[(i64, u32)],
    ) -> Result<(), PortError> {
        let mut state = self.state();
        if state.is_away {
            let away = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
            return Err(PortError::passing("fold a live's minutes", away));
        }
        let tally = Tally::of(state.facts.iter().filter(|fact| fact.live == live));
        let minutes = minutes_of(&tally, lasted_ms.unwrap_or(tally.last_ms), looks);
        let by_minute = minutes.into_iter().map(|minute| (minute.minute, minute)).collect();
        state.minutes.insert(live, by_minute);
        Ok(())
    }

    async fn pulse_of(&self, live: LiveId, step_ms: i64) -> Result<Vec<(i64, i64)>, PortError> {
        let state = self.state();
        let mut steps = std::collections::BTreeMap::new();
        let chat =
            state.facts.iter().filter(|fact| fact.live == live && fact.kind == FactKind::Chat);
        for fact in chat {
            *steps.entry(fact.offset_ms / step_ms.max(1)).or_insert(0) += 1;
        }
        Ok(steps.into_iter().collect())
    }

    async fn week_key(&self, week: WeekId, fresh: [u8; 32]) -> Result<Option<[u8; 32]>, PortError> {
        Ok(*self.state().week_keys.entry(week).or_insert(Some(fresh)))
    }

    async fn age_audience(&self, week: WeekId, lives: &[LiveId]) -> Result<u64, PortError> {
        let mut state = self.state();
        let dropped = lives.iter().filter_map(|live| state.messages.remove(live)).flatten().count();
        state.notices.retain(|logged| logged.live.is_none_or(|live| !lives.contains(&live)));
        state.week_keys.insert(week, None);
        Ok(dropped as u64)
    }

    async fn sweep(&self, before: DateTime<Utc>) -> Result<(), PortError> {
        let mut state = self.state();
        state.inbox.retain(|_, heard_at| *heard_at >= before);
        state.erased.retain(|_, at| *at >= before);
        Ok(())
    }

    async fn erase_viewer(&self, viewer_id: &str, at: DateTime<Utc>) -> Result<u64, PortError> {
        let mut state = self.state();
        let noted = state.erased.entry(viewer_id.to_owned()).or_insert(at);
        *noted = at.max(*noted);
        let mut erased = 0;
        for messages in state.messages.values_mut() {
            let before = messages.len();
            messages.retain(|message| message.viewer_id != viewer_id);
            erased += (before - messages.len()) as u64;
        }
        let before = state.notices.len();
        state.notices.retain(|logged| !logged.notice.names(viewer_id));
        let is_theirs = |id: &str| id.split(':').skip(1).any(|part| part == viewer_id);
        state.heard.retain(|id| !id.starts_with("business:") || !is_theirs(id));
        Ok(erased + (before - state.notices.len()) as u64)
    }

    async fn written(&self) {
        self.written.notified().await;
    }
}

impl State {
    fn take(&mut self, commit: Commit, clock: &dyn Clock) -> Result<Committed, CommitError> {
        if let Some(expectation) = commit.expect {
            self.check(expectation)?;
        }
        if let Some(step) = &commit.cursor {
            self.advance(step)?;
        }
        if let Some(ticket) = commit.finish {
            self.finish(ticket, clock)?;
        }
        if let Some(audience) = commit.audience {
            self.store_audience(audience, clock.now());
        }
        for object in commit.media {
            self.media.entry(object.key.clone()).or_insert(object);
        }
        let events = self.append(commit.events, clock)?;
        let jobs = commit.jobs.into_iter().map(|job| self.enqueue(job, clock)).collect();
        Ok(Committed { events, jobs })
    }

    fn check(&self, expectation: Expectation) -> Result<(), CommitError> {
        let events =
            self.events.iter().filter(|event| event.event.subject() == expectation.subject).count();
        if events == expectation.events { Ok(()) } else { Err(CommitError::Conflict) }
    }

    fn advance(&mut self, step: &CursorMove) -> Result<(), CommitError> {
        let cursor = self.cursors.entry(step.follower).or_insert(0);
        if *cursor != step.from {
            return Err(CommitError::Conflict);
        }
        *cursor = step.to;
        Ok(())
    }

    fn finish(&mut self, ticket: JobTicket, clock: &dyn Clock) -> Result<(), CommitError> {
        let row = self.held(ticket).ok_or(CommitError::LeaseLost)?;
        row.end(JobState::Done, clock.now());
        row.view.progress = 1.0;
        row.view.error = None;
        Ok(())
    }

    /// Appends events and folds them into their cards.
    pub(super) fn append(
        &mut self,
        events: Vec<Event>,
        clock: &dyn Clock,
    ) -> Result<Vec<Recorded<Event>>, PortError> {
        let head = self.events.last().map_or(0, |event| event.seq);
        let at = clock.now();
        let recorded: Vec<Recorded<Event>> =
            (head + 1..).zip(events).map(|(seq, event)| Recorded { seq, at, event }).collect();
        for event in &recorded {
            fold_into_cards(&mut self.cards, event)?;
        }
        self.events.extend(recorded.iter().cloned());
        Ok(recorded)
    }

    /// Stores a live's audience. What the inbox has heard already is dropped.
    fn store_audience(&mut self, batch: AudienceBatch, now: DateTime<Utc>) {
        let live = batch.live;
        for message in batch.messages {
            let id = (live, message.message_id.clone());
            if let Entry::Vacant(place) = self.inbox.entry(id) {
                place.insert(now);
                self.messages.entry(live).or_default().push(message);
            }
        }
        self.facts.extend(batch.facts);
        let minutes = self.minutes.entry(live).or_default();
        for minute in batch.minutes {
            minutes.entry(minute.minute).or_insert(minute);
        }
    }
}
