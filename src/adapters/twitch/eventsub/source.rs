//! What happens on the linked channels, as one stream of notices, whichever way it takes.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::adapters::twitch::eventsub::house::{Connection, House, Told};
use crate::adapters::twitch::eventsub::webhook::WebhookDoor;
use crate::adapters::twitch::eventsub::{conduit, socket, webhook};
use crate::domain::audience::channel::ChannelId;
use crate::domain::audience::notice::Notice;
use crate::ports::audience_source::{AudienceSource, Health, Listening, NOTICES_PULLED_MAX};
use crate::ports::vault::Secret;

/// Notices that wait for the listener at most; then sockets wait too, and Twitch's own buffers fill.
const QUEUE_MAX: usize = 50_000;

/// The way Twitch's events take to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// A socket for each channel, in its own name. Of several processes one listens, the others stand by.
    Sockets,
    /// Sockets of a conduit, shared out among all processes that listen.
    Conduit { shards: u32 },
    /// An address of ours: `secret` signs what comes there, 10 to 100 ASCII characters.
    Webhooks { callback: String, secret: Secret },
}

/// The notices of all linked channels.
pub struct EventsubSource {
    house: Arc<House>,
    transport: Transport,
    notices: mpsc::Receiver<Told>,
    /// Who waits to hear whether the last batch was kept.
    unanswered: Vec<oneshot::Sender<bool>>,
    stop: CancellationToken,
    is_watching: bool,
}

/// A look at how listening does, from elsewhere.
#[derive(Clone)]
pub struct EventsubHealth(Arc<House>);

impl Listening for EventsubHealth {
    fn health(&self, channel: &ChannelId) -> Option<Health> {
        self.0.healths().get(channel).cloned()
    }
}

impl EventsubSource {
    /// A source that listens, from its first [`AudienceSource::next`] on, to every channel that is linked, now and later.
    pub fn new(connection: Connection, transport: Transport) -> Self {
        let (out, notices) = mpsc::channel(QUEUE_MAX);
        let house = Arc::new(House::new(connection, out));
        let stop = CancellationToken::new();
        Self { house, transport, notices, unanswered: Vec::new(), stop, is_watching: false }
    }

    /// How listening does, for pages.
    pub fn health(&self) -> EventsubHealth {
        EventsubHealth(self.house.clone())
    }

    /// Where webhooks come in; only when they are the transport.
    pub fn door(&self) -> Option<WebhookDoor> {
        match &self.transport {
            Transport::Webhooks { secret, .. } => {
                Some(WebhookDoor::new(self.house.clone(), secret.clone()))
            }
            _ => None,
        }
    }

    fn watch(&self) {
        let (house, stop) = (self.house.clone(), self.stop.clone());
        match self.transport.clone() {
            Transport::Sockets => drop(tokio::spawn(socket::watch(house, stop))),
            Transport::Conduit { shards } => {
                drop(tokio::spawn(conduit::watch(house, shards, stop)));
            }
            Transport::Webhooks { callback, secret } => {
                drop(tokio::spawn(webhook::watch(house, callback, secret, stop)));
            }
        }
    }
}

impl Drop for EventsubSource {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[async_trait]
impl AudienceSource for EventsubSource {
    async fn next(&mut self) -> Option<Vec<Notice>> {
        if !std::mem::replace(&mut self.is_watching, true) {
            self.watch();
        }
        let mut pulled = Vec::new();
        let count = self.notices.recv_many(&mut pulled, NOTICES_PULLED_MAX).await;
        let mut notices = Vec::with_capacity(count);
        for Told { notice, kept } in pulled {
            notices.push(notice);
            self.unanswered.extend(kept);
        }
        (count > 0).then_some(notices)
    }

    fn kept(&mut self, kept: bool) {
        for waiting in self.unanswered.drain(..) {
            // Whoever asked may have gone.
            let _ = waiting.send(kept);
        }
    }
}
