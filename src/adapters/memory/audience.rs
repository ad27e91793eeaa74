//! The log of notices in memory. Away on request.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::adapters::memory::MemoryDatabase;
use crate::adapters::memory::database::State;
use crate::domain::audience::notice::Erasure;
use crate::domain::ids::LiveId;
use crate::ports::PortError;
use crate::ports::audience_log::{AudienceLog, Entry, Logged, NOTICES_BATCH_MAX, Removal};
use crate::ports::clock::Clock;

impl MemoryDatabase {
    /// Lets the log of notices and the fold of minutes fail, as if the database were away, or answer again.
    pub fn set_away(&self, is_away: bool) {
        self.state().is_away = is_away;
    }
}

#[async_trait]
impl AudienceLog for MemoryDatabase {
    async fn append(&self, entries: Vec<Entry>) -> Result<Vec<Logged>, PortError> {
        let logged = {
            let mut state = self.state();
            if state.is_away {
                let away = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
                return Err(PortError::passing("store notices", away));
            }
            let now = self.clock.now();
            entries.into_iter().filter_map(|entry| state.take_entry(entry, now)).collect()
        };
        self.appended.notify_waiters();
        Ok(logged)
    }

    async fn after(&self, seq: i64) -> Result<Vec<Logged>, PortError> {
        let state = self.state();
        let after = state.notices.iter().filter(|logged| logged.seq > seq);
        Ok(after.take(NOTICES_BATCH_MAX).cloned().collect())
    }

    async fn of_live(&self, live: LiveId, seq: i64) -> Result<Vec<Logged>, PortError> {
        let state = self.state();
        let of_live = |logged: &&Logged| logged.seq > seq && logged.live == Some(live);
        Ok(state.notices.iter().filter(of_live).take(NOTICES_BATCH_MAX).cloned().collect())
    }

    async fn head(&self) -> Result<i64, PortError> {
        Ok(self.state().notices.last().map_or(0, |logged| logged.seq))
    }

    async fn last_heard(&self, channel: &str) -> Result<Option<DateTime<Utc>>, PortError> {
        let state = self.state();
        let of_channel = state.notices.iter().filter(|logged| logged.notice.channel == channel);
        Ok(of_channel.map(|logged| logged.notice.heard_at).max())
    }

    async fn erasures(&self) -> Result<Vec<Erasure>, PortError> {
        Ok(self.state().erasures())
    }

    async fn make_room(&self, _: DateTime<Utc>) -> Result<(), PortError> {
        Ok(())
    }

    async fn appended(&self) {
        self.appended.notified().await;
    }
}

impl State {
    fn erasures(&self) -> Vec<Erasure> {
        let all = self.erased.iter();
        let mut erasures: Vec<Erasure> =
            all.map(|(viewer_id, at)| Erasure { viewer_id: viewer_id.clone(), at: *at }).collect();
        erasures.sort_by_key(|erasure| erasure.at);
        erasures
    }

    fn take_entry(&mut self, mut entry: Entry, now: DateTime<Utc>) -> Option<Logged> {
        if self.erasures().iter().any(|erasure| erasure.takes(&entry.notice)) {
            // What an erased moderator took away stays away.
            if let Some(removal) = entry.removal {
                self.remove_words(&removal, now);
            }
            return None;
        }
        if !self.heard.insert(format!("message:{}", entry.notice.message_id)) {
            return None;
        }
        let business = entry.notice.happening().and_then(|it| it.business_id.clone());
        if business.is_some_and(|id| !self.heard.insert(format!("business:{id}"))) {
            return None;
        }
        let notice = &entry.notice;
        if let (Some(message_id), Some(viewer_id)) = (notice.subject(), notice.viewer_id()) {
            let is_gone = |id: &str| self.removed.get(&(notice.channel.clone(), id.to_owned()));
            let at = notice.happening().map_or(notice.heard_at, |happening| happening.at);
            let silenced = is_gone(viewer_id).is_some_and(|until| at <= *until);
            if is_gone(message_id).is_some() || silenced {
                entry.message = None;
                entry.notice.forget_words();
            }
        }
        self.notice_number += 1;
        let seq = self.notice_number;
        let logged = Logged { seq, live: entry.live, notice: entry.notice };
        self.notices.push(logged.clone());
        if let (Some(live), Some(message)) = (entry.live, entry.message) {
            self.messages.entry(live).or_default().push(message);
        }
        self.facts.extend(entry.facts);
        if let Some(removal) = entry.removal {
            self.remove_words(&removal, now);
        }
        Some(logged)
    }

    fn remove_words(&mut self, removal: &Removal, now: DateTime<Utc>) {
        let (channel, id, until) = match removal {
            Removal::Message { channel, message_id } => (channel, message_id, now),
            Removal::Viewer { channel, viewer_id, until } => (channel, viewer_id, *until),
        };
        self.removed.insert((channel.clone(), id.clone()), until);
        let is_gone = |logged: &Logged| match removal {
            Removal::Message { .. } => logged.notice.subject() == Some(id),
            Removal::Viewer { .. } => {
                logged.notice.subject().is_some() && logged.notice.viewer_id() == Some(id)
            }
        };
        for logged in &mut self.notices {
            if logged.notice.channel != *channel || !is_gone(logged) {
                continue;
            }
            let message_id = logged.notice.subject().unwrap_or_default().to_owned();
            logged.notice.forget_words();
            if let Some(messages) = logged.live.and_then(|live| self.messages.get_mut(&live)) {
                messages.retain(|message| message.message_id != message_id);
            }
        }
    }
}
