//! What the logs, the queue and the cards share in memory. A commit works on a copy that replaces the state when
//! everything went through: all or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::adapters::memory::MemoryClock;
use crate::adapters::memory::jobs::JobRow;
use crate::adapters::memory::shelves::StandingCard;
use crate::domain::audience::{AudienceMinute, ChatMessage, Fact};
use crate::domain::event::{Event, Recorded};
use crate::domain::ids::{LiveId, WeekId};
use crate::domain::media::{MediaKey, MediaObject};
use crate::ports::audience_log::Logged;
use crate::read_models::Model;

/// The twin of one PostgreSQL database: ledger, job queue and shelves in one. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryDatabase {
    state: Arc<Mutex<State>>,
    pub(super) clock: MemoryClock,
    pub(super) written: Arc<Notify>,
    pub(super) appended: Arc<Notify>,
}

impl MemoryDatabase {
    /// An empty database whose time is the clock's.
    pub fn new(clock: MemoryClock) -> Self {
        Self { state: Arc::default(), clock, written: Arc::default(), appended: Arc::default() }
    }

    /// The media files something refers to.
    pub fn media(&self) -> Vec<MediaObject> {
        self.state().media.values().cloned().collect()
    }

    /// The audience facts of a live, in the order they were stored.
    pub fn facts_of(&self, live: LiveId) -> Vec<Fact> {
        self.state().facts.iter().filter(|fact| fact.live == live).cloned().collect()
    }

    /// Spoils a card, as a slip in SQL would: a rebuild has to find and mend it.
    pub fn tamper_with_card(&self, model: Model, key: Uuid, document: serde_json::Value) {
        if let Some(card) = self.state().cards.get_mut(&(model, key)) {
            card.document = document;
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that stands.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) events: Vec<Recorded<Event>>,
    pub(super) cursors: BTreeMap<&'static str, i64>,
    pub(super) cards: BTreeMap<(Model, Uuid), StandingCard>,
    pub(super) jobs: Vec<JobRow>,
    /// When the ids of messages were heard, by live.
    pub(super) inbox: BTreeMap<(LiveId, String), DateTime<Utc>>,
    pub(super) messages: BTreeMap<LiveId, Vec<ChatMessage>>,
    pub(super) facts: Vec<Fact>,
    pub(super) minutes: BTreeMap<LiveId, BTreeMap<i32, AudienceMinute>>,
    /// `None` once destroyed.
    pub(super) week_keys: BTreeMap<WeekId, Option<[u8; 32]>>,
    pub(super) media: BTreeMap<MediaKey, MediaObject>,
    pub(super) notices: Vec<Logged>,
    /// The newest number given to a notice; that of an erased one is not given again.
    pub(super) notice_number: i64,
    /// Ids of notices and of what they tell.
    pub(super) heard: BTreeSet<String>,
    /// Messages and viewers whose words have to go, by channel, and until when.
    pub(super) removed: BTreeMap<(String, String), DateTime<Utc>>,
    /// Viewers who are erased, and since when.
    pub(super) erased: BTreeMap<String, DateTime<Utc>>,
    pub(super) is_away: bool,
}
