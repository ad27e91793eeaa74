//! A shard of the conduit that this process listens to.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::adapters::twitch::eventsub::envelope::Subscription;
use crate::adapters::twitch::eventsub::house::{House, hold};
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
    /// When Twitch was last seen to deliver to it, as far as this process knows.
    sound_at: Option<DateTime<Utc>>,
    /// Twitch delivers to it no longer, perhaps since then.
    dropped: Option<DateTime<Utc>>,
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
        let now = self.house.clock.now();
        let mut attached = hold(&self.attached);
        if is_sound {
            attached.sound_at = Some(now);
        } else if attached.since.is_some_and(|since| since.elapsed() > LIST_LAGS_MAX) {
            (attached.session, attached.since) = (None, None);
            attached.dropped = Some(attached.sound_at.unwrap_or(now));
            self.dropped.notify_one();
        }
    }

    fn attached_to(&self, session_id: &str) {
        let now = self.house.clock.now();
        let mut attached = hold(&self.attached);
        (attached.session, attached.since) = (Some(session_id.to_owned()), Some(Instant::now()));
        (attached.sound_at, attached.dropped) = (Some(now), None);
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

    /// Whether something may have been missed before this process took the shard from who had it.
    fn tells_absence(&self, holder: Option<&Listener>) -> bool {
        !(self.was_enabled && holder.is_some_and(|it| it.is_alive))
    }

    /// Since when a channel may have missed something: when the shard's holder spoke last, or when the channel was last heard
    /// before this process began.
    fn deaf_since_absence(
        &self,
        channel: &ChannelId,
        holder: Option<&Listener>,
    ) -> Option<DateTime<Utc>> {
        let heard = self.house.heard_before(channel);
        holder.map(|holder| holder.seen_at).or(heard).map(|at| at - IN_FLIGHT)
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
                self.attached_to(session_id);
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

    async fn complete(&self, _: &str) -> Option<Opened> {
        None
    }

    fn moved(&self, session_id: &str) {
        self.attached_to(session_id);
    }

    async fn dropped(&self) -> DateTime<Utc> {
        loop {
            let notified = self.dropped.notified();
            let dropped = hold(&self.attached).dropped.take();
            if let Some(since) = dropped {
                return since;
            }
            notified.await;
        }
    }

    async fn missed(
        &self,
        since: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        reason: &str,
    ) -> Vec<Notice> {
        let is_first = !std::mem::replace(&mut hold(&self.attached).was, true);
        let channels = match self.house.channels().await {
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
                None if tells_absence => self.deaf_since_absence(&channel, holder.as_ref()),
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
