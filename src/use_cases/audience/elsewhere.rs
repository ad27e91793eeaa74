//! How other processes listen, as the pages of this one show it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::audience::channel::ChannelId;
use crate::ports::PortError;
use crate::ports::audience_source::{Health, Listening, State};
use crate::ports::listeners::Listeners;

/// What the listening processes say of each channel.
pub struct ListeningElsewhere {
    listeners: Arc<dyn Listeners>,
    seen: Mutex<BTreeMap<ChannelId, Health>>,
}

impl ListeningElsewhere {
    pub fn new(listeners: Arc<dyn Listeners>) -> Self {
        Self { listeners, seen: Mutex::default() }
    }

    /// Reads it anew. A channel that several speak of is shown by whoever listens, and heard of it last.
    pub async fn look(&self) -> Result<(), PortError> {
        let mut seen: BTreeMap<ChannelId, Health> = BTreeMap::new();
        let rank = |health: &Health| {
            (health.state == State::Listening, health.wanted, health.last_frame_at)
        };
        for listener in self.listeners.all().await?.into_iter().filter(|it| it.is_alive) {
            for (channel, health) in listener.beat.health {
                match seen.get_mut(&channel) {
                    Some(best) if rank(best) < rank(&health) => *best = health,
                    Some(_) => {}
                    None => drop(seen.insert(channel, health)),
                }
            }
        }
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(())
    }
}

impl Listening for ListeningElsewhere {
    fn health(&self, channel: &ChannelId) -> Option<Health> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(channel).cloned()
    }
}
