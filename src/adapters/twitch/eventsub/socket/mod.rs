//! EventSub by WebSocket: one socket a linked channel, kept alive without a last attempt.
//!
//! ```text
//!   channels ──► watch ──► life (connect, backoff, gaps) ──► session (frames) ──► notices, in order
//!                                                      └──► subscribe (fresh welcomes only)
//! ```
//! There is no replay: whatever may have been missed between two sessions is told as a notice of its own.

mod life;
mod session;
mod subscribe;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::domain::audience::channel::ChannelId;
use crate::domain::audience::notice::Notice;
use crate::ports::audience_source::{AudienceSource, Bearers, Health, NOTICES_PULLED_MAX};
use crate::ports::clock::Clock;
use crate::ports::platform::Deliveries;

/// Notices that wait for the listener at most; then sockets wait too, and Twitch's own buffers fill.
const QUEUE_MAX: usize = 50_000;
/// How often somebody looks whether channels were linked or unlinked.
const CHANNELS_LOOK: Duration = Duration::from_secs(5);

/// What all sockets share.
pub(super) struct House {
    pub(super) url: String,
    pub(super) deliveries: Arc<dyn Deliveries>,
    pub(super) bearers: Arc<dyn Bearers>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) out: mpsc::Sender<Notice>,
    health: Mutex<BTreeMap<ChannelId, Health>>,
}

impl House {
    fn healths(&self) -> MutexGuard<'_, BTreeMap<ChannelId, Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how a channel's socket does.
    pub(super) fn note(&self, channel: &ChannelId, change: impl FnOnce(&mut Health)) {
        change(self.healths().entry(channel.clone()).or_default());
    }
}

/// The notices of all linked channels.
pub struct SocketSource {
    house: Arc<House>,
    notices: mpsc::Receiver<Notice>,
    stop: CancellationToken,
    is_watching: bool,
}

/// A look at the sockets from elsewhere.
#[derive(Clone)]
pub struct SocketHealth(Arc<House>);

impl crate::ports::audience_source::Listening for SocketHealth {
    fn health(&self, channel: &ChannelId) -> Option<Health> {
        self.0.healths().get(channel).cloned()
    }
}

impl SocketSource {
    /// A source that listens, from its first [`AudienceSource::next`] on, to every channel that is linked, now and later.
    pub fn new(
        url: &str,
        deliveries: Arc<dyn Deliveries>,
        bearers: Arc<dyn Bearers>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (out, notices) = mpsc::channel(QUEUE_MAX);
        let (url, health) = (url.to_owned(), Mutex::default());
        let house = Arc::new(House { url, deliveries, bearers, clock, out, health });
        Self { house, notices, stop: CancellationToken::new(), is_watching: false }
    }

    /// How the sockets do, for pages.
    pub fn health(&self) -> SocketHealth {
        SocketHealth(self.house.clone())
    }
}

impl Drop for SocketSource {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[async_trait]
impl AudienceSource for SocketSource {
    async fn next(&mut self) -> Option<Vec<Notice>> {
        if !std::mem::replace(&mut self.is_watching, true) {
            tokio::spawn(watch(self.house.clone(), self.stop.clone()));
        }
        let mut pulled = Vec::new();
        let count = self.notices.recv_many(&mut pulled, NOTICES_PULLED_MAX).await;
        (count > 0).then_some(pulled)
    }
}

/// Starts a socket for each channel that is linked and ends it when the channel is so no more.
async fn watch(house: Arc<House>, stop: CancellationToken) {
    let mut lives: BTreeMap<ChannelId, (CancellationToken, JoinHandle<()>)> = BTreeMap::new();
    loop {
        match house.bearers.channels().await {
            Ok(channels) => {
                lives.retain(|channel, (end, _)| {
                    let stays = channels.contains(channel);
                    if !stays {
                        end.cancel();
                        house.healths().remove(channel);
                    }
                    stays
                });
                for channel in channels {
                    lives.entry(channel.clone()).or_insert_with(|| {
                        let end = stop.child_token();
                        let life = life::live(house.clone(), channel, end.clone());
                        (end, tokio::spawn(life))
                    });
                }
            }
            Err(error) => {
                tracing::warn!(error = %error.chain(), "cannot read which channels are linked");
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(CHANNELS_LOOK)).await.is_none() {
            return;
        }
    }
}
