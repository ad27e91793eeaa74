//! The pretend Twitch's own book: every notification it sent or meant to send. Tests compare a listener's log with it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

/// Most notifications the book holds; later ones are sent, but only counted (`ledger_full`).
pub const LEDGER_MAX: usize = 4_000_000;

/// One notification for one subscription; or, when nobody was subscribed, what would have been one.
#[derive(Debug, Clone, Serialize)]
pub struct LedgerEntry {
    /// When it happened, by the real clock.
    pub at: DateTime<Utc>,
    /// Number of the happening: notifications of one happening share it.
    pub happening: u64,
    #[serde(rename = "type")]
    pub kind: Arc<str>,
    /// The channel's (or user's) id.
    pub channel: Arc<str>,
    /// What the event calls itself: chat message, redemption, poll, … id; empty when the event has none.
    pub business_id: Arc<str>,
    /// Empty when no subscription was there to carry it.
    pub message_id: String,
    /// Empty when no subscription was there to carry it.
    pub subscription_id: Arc<str>,
    /// Sessions on whose sockets it was written whole, webhook callbacks that took it; one entry per copy.
    pub taken_by: Vec<Arc<str>>,
}

/// All entries, oldest first.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<LedgerEntry>,
    happenings: u64,
}

impl Ledger {
    pub(super) fn next_happening(&mut self) -> u64 {
        self.happenings += 1;
        self.happenings
    }

    /// Enters a notification; its place, unless the book is full.
    pub(super) fn enter(&mut self, entry: LedgerEntry) -> Option<usize> {
        if self.entries.len() >= LEDGER_MAX {
            return None;
        }
        self.entries.push(entry);
        Some(self.entries.len() - 1)
    }

    pub(super) fn taken(&mut self, place: usize, by: &Arc<str>) {
        if let Some(entry) = self.entries.get_mut(place) {
            entry.taken_by.push(Arc::clone(by));
        }
    }

    pub(super) fn entries(&self) -> &[LedgerEntry] {
        &self.entries
    }
}

/// What an event calls itself.
pub(super) fn business_id(event: &Value) -> &str {
    ["message_id", "id"].iter().find_map(|field| event[*field].as_str()).unwrap_or_default()
}
