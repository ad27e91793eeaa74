//! A shard of the conduit that this process listens to.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::adapters::twitch::eventsub::conduit::hold;
use crate::adapters::twitch::eventsub::envelope::Subscription;
use crate::adapters::twitch::eventsub::house::House;
use crate::adapters::twitch::eventsub::notice::{channel_of, is_withdrawn, missed};
use crate::adapters::twitch::eventsub::socket::{IN_FLIGHT, Line, Opened};
use crate::adapters::twitch::eventsub::standing::ask_app;
use crate::domain::audience::channel::ChannelId;
use crate::domain::audience::notice::Notice;
use crate::ports::audience_source::Health;
use crate::ports::listeners::Listener;
use crate::ports::platform::{DeliveryVia, PlatformError, Shard};

/// Twitch's list may be this much older than what we just attached.
const LIST_LAGS_MAX: Duration = Duration::from_secs(10);

/// Which session the shard is attached to, by our own doing.
#[derive(Default)]
struct Attached {
    session: Option<String>,
    since: Option<Instant>,
    /// It was attached once by this process: what is missed from here on, the session knows.
    was: bool,
}

pub(super) struct ShardLine {
    house: Arc<House>,
    conduit: String,
    number: u32,
    name: String,
    /// Twitch delivered to somebody when we took it.
    was_enabled: bool,
    health: Mutex<Health>,
    attached: Mutex<Attached>,
    dropped: Notify,
}

impl ShardLine {
    /// `standing` is the shard as Twitch lists it before we take it.
    pub(super) fn new(
        house: Arc<House>,
        conduit: String,
        number: u32,
        standing: Option<&Shard>,
    ) -> Self {
        Self {
            name: format!("shard {number} of conduit {conduit}"),
            house,
            conduit,
            number,
            was_enabled: standing.is_some_and(|shard| shard.status == "enabled"),
            health: Mutex::default(),
            attached: Mutex::default(),
            dropped: Notify::new(),
        }
    }

    pub(super) fn health(&self) -> Health {
        hold(&self.health).clone()
    }

    pub(super) fn is_attached(&self) -> bool {
        hold(&self.attached).session.is_some()
    }

    pub(super) fn is_on(&self, session: &str) -> bool {
        hold(&self.attached).session.as_deref() == Some(session)
    }

    /// Looks at what Twitch says of it: one that is not enabled, although we attached it a while ago, begins anew.
    pub(super) fn seen(&self, shard: Option<&Shard>) {
        let is_sound = shard.is_some_and(|shard| {
            shard.status == "enabled" && shard.session_id.as_deref().is_none_or(|it| self.is_on(it))
        });
        let mut attached = hold(&self.attached);
        if !is_sound && attached.since.is_some_and(|since| since.elapsed() > LIST_LAGS_MAX) {
            (attached.session, attached.since) = (None, None);
            self.dropped.notify_one();
        }
    }

    async fn attach(&self, session_id: &str) -> Result<(), PlatformError> {
        let via = DeliveryVia::Socket { session_id: session_id.to_owned() };
        let ways = [(self.number.to_string(), via)];
        let (house, ways) = (&self.house, &ways);
        let refused = ask_app(house, |bearer| async move {
            house.deliveries.attach_shards(&bearer, &self.conduit, ways).await
        })
        .await?;
        match refused.into_iter().next() {
            Some(refused) => Err(PlatformError::Refused { status: 400, reason: refused.reason }),
            None => Ok(()),
        }
    }

    /// Whether something may have been missed before this process took the shard from who had it. Of shards that fell
    /// silent together, one tells.
    fn tells_absence(&self, holder: Option<&Listener>) -> bool {
        let is_handed_over = self.was_enabled && holder.is_some_and(|it| it.is_alive);
        !is_handed_over && self.house.tells_absence(holder)
    }

    /// Since when a channel may have missed something, when the shard's holder fell silent.
    async fn deaf_since_absence(
        &self,
        channel: &ChannelId,
        holder: Option<&Listener>,
    ) -> Option<DateTime<Utc>> {
        let heard = self.house.bearers.heard_until(channel).await?;
        let left = holder.map_or(heard, |holder| holder.seen_at);
        Some(heard.min(left) - IN_FLIGHT)
    }
}

#[async_trait]
impl Line for ShardLine {
    fn name(&self) -> &str {
        &self.name
    }

    fn note(&self, change: &mut dyn FnMut(&mut Health)) {
        change(&mut hold(&self.health));
    }

    async fn deaf_since(&self) -> Option<DateTime<Utc>> {
        None
    }

    async fn open(&self, session_id: &str) -> Opened {
        match self.attach(session_id).await {
            Ok(()) => {
                let mut attached = hold(&self.attached);
                (attached.session, attached.since) =
                    (Some(session_id.to_owned()), Some(Instant::now()));
                Opened { confirmed: 1, ..Opened::default() }
            }
            Err(error) => {
                // The conduit may be gone: the watch finds out.
                self.house.look.notify_one();
                let refused = vec![(self.name.clone(), error.to_string())];
                Opened { refused, ..Opened::default() }
            }
        }
    }

    fn moved(&self, session_id: &str) {
        let mut attached = hold(&self.attached);
        (attached.session, attached.since) = (Some(session_id.to_owned()), Some(Instant::now()));
    }

    async fn dropped(&self) {
        self.dropped.notified().await;
    }

    async fn missed(
        &self,
        since: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        reason: &str,
    ) -> Vec<Notice> {
        let is_first = !std::mem::replace(&mut hold(&self.attached).was, true);
        let channels = match self.house.bearers.channels().await {
            Ok(channels) => channels,
            Err(error) => {
                tracing::error!(error = %error.chain(), "cannot tell whom a gap concerns");
                Vec::new()
            }
        };
        let holder = self.house.holder_of(self.number);
        let tells_absence = is_first && self.tells_absence(holder.as_ref());
        let mut notices = Vec::new();
        for channel in channels {
            let from = match since {
                None if tells_absence => self.deaf_since_absence(&channel, holder.as_ref()).await,
                since => since,
            };
            notices.extend(from.map(|from| missed(&channel, from, now, reason)));
        }
        notices
    }

    async fn revoked(&self, subscription: &Subscription) -> bool {
        if is_withdrawn(subscription)
            && let Some(channel) = channel_of(subscription)
            && let Ok(channel) = ChannelId::try_new(channel)
        {
            self.house.bearers.revoked(&channel).await;
        }
        self.house.look.notify_one();
        false
    }

    async fn over(&self) {}
}
