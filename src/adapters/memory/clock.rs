//! A clock that stands still until a test moves it, and chance that is the same on every run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeZone, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ports::clock::Clock;

/// Settable time, ids and secrets that repeat from run to run. Clones share both.
#[derive(Debug, Clone)]
pub struct MemoryClock {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    now: DateTime<Utc>,
    drawn: u64,
}

impl MemoryClock {
    /// Stands still at an instant.
    pub fn at(now: DateTime<Utc>) -> Self {
        Self { inner: Arc::new(Mutex::new(Inner { now, drawn: 0 })) }
    }

    /// Moves time on.
    pub fn advance(&self, by: Duration) {
        self.inner().now += by;
    }

    /// Moves time to an instant, back as well.
    pub fn set(&self, now: DateTime<Utc>) {
        self.inner().now = now;
    }

    fn draw(&self) -> u64 {
        let mut inner = self.inner();
        inner.drawn += 1;
        inner.drawn
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryClock {
    /// Stands still at noon on the first day of a villa week.
    fn default() -> Self {
        Self::at(Utc.with_ymd_and_hms(2026, 11, 2, 12, 0, 0).single().unwrap_or_default())
    }
}

impl Clock for MemoryClock {
    fn now(&self) -> DateTime<Utc> {
        self.inner().now
    }

    fn new_id(&self) -> Uuid {
        Uuid::new_v5(&Uuid::nil(), &self.draw().to_be_bytes())
    }

    fn new_secret(&self) -> [u8; 32] {
        Sha256::digest(self.draw().to_be_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_still_until_moved_and_ids_never_repeat_within_a_run() {
        let clock = MemoryClock::default();
        let before = clock.now();
        assert_eq!(clock.now(), before);
        clock.advance(Duration::from_secs(90));
        assert_eq!((clock.now() - before).num_seconds(), 90);
        assert_ne!(clock.new_id(), clock.new_id());
        assert_ne!(clock.new_secret(), clock.new_secret());
        assert_eq!(MemoryClock::default().new_id(), MemoryClock::default().new_id());
    }
}
