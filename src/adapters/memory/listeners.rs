//! Who listens, in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use crate::adapters::memory::MemoryClock;
use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::listeners::{Beat, LISTENER_SILENT_MAX_S, Listener, Listeners};

/// The processes that listen. Clones share them.
#[derive(Clone, Default)]
pub struct MemoryListeners {
    clock: MemoryClock,
    rows: Arc<Mutex<BTreeMap<String, Row>>>,
}

#[derive(Clone)]
struct Row {
    beat: Beat,
    seen_at: DateTime<Utc>,
    has_left: bool,
}

impl MemoryListeners {
    pub fn new(clock: MemoryClock) -> Self {
        Self { clock, rows: Arc::default() }
    }
}

#[async_trait]
impl Listeners for MemoryListeners {
    async fn beat(&self, beat: &Beat) -> Result<(), PortError> {
        let row = Row { beat: beat.clone(), seen_at: self.clock.now(), has_left: false };
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).insert(beat.name.clone(), row);
        Ok(())
    }

    async fn leave(&self, name: &str) -> Result<(), PortError> {
        let now = self.clock.now();
        if let Some(row) = self.rows.lock().unwrap_or_else(PoisonError::into_inner).get_mut(name) {
            (row.has_left, row.seen_at) = (true, now);
        }
        Ok(())
    }

    async fn all(&self) -> Result<Vec<Listener>, PortError> {
        let now = self.clock.now();
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all: Vec<Listener> = rows
            .into_values()
            .filter(|row| now - row.seen_at < TimeDelta::days(1))
            .map(|row| Listener {
                is_alive: !row.has_left
                    && now - row.seen_at < TimeDelta::seconds(i64::from(LISTENER_SILENT_MAX_S)),
                seen_at: row.seen_at,
                has_left: row.has_left,
                beat: row.beat,
            })
            .collect();
        all.sort_by(|a, b| (a.beat.since, &a.beat.name).cmp(&(b.beat.since, &b.beat.name)));
        Ok(all)
    }
}
