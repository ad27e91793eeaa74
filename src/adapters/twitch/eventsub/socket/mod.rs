//! EventSub by WebSocket: one socket a line, kept alive without a last attempt. A line is a linked channel's own socket, or
//! a shard of a conduit.
//!
//! ```text
//!   watch ──► life (connect, backoff, gaps) ──► session (frames) ──► notices, in order
//!                                         └──► the line opens: subscribes, or attaches its shard
//! ```
//! There is no replay: whatever may have been missed between two sessions is told as a notice of its own.

mod channel;
mod life;
mod session;
mod subscribe;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::adapters::twitch::eventsub::envelope::Subscription;
use crate::adapters::twitch::eventsub::house::{House, LOOK_EVERY};
use crate::domain::audience::channel::ChannelId;
use crate::domain::audience::notice::Notice;
use crate::ports::audience_source::Health;

use self::channel::ChannelLine;

pub(super) use self::life::live;
pub(super) use self::session::{IN_FLIGHT, LINGER};

/// What a socket is for.
#[async_trait]
pub(super) trait Line: Send + Sync {
    /// For the log.
    fn name(&self) -> &str;

    /// Notes how it does.
    fn note(&self, change: &mut dyn FnMut(&mut Health));

    /// Since when nothing is sure to have been heard, before the first session.
    async fn deaf_since(&self) -> Option<DateTime<Utc>>;

    /// Makes Twitch deliver to a session that was just welcomed.
    async fn open(&self, session_id: &str) -> Opened;

    /// Asks again for what its session lacks; `None` when it lacks nothing.
    async fn complete(&self, session_id: &str) -> Option<Opened>;

    /// The session goes on under another id: Twitch ordered a reconnect.
    fn moved(&self, session_id: &str);

    /// Resolves when Twitch delivers to this line no longer although its socket lives: since when it perhaps did not.
    async fn dropped(&self) -> DateTime<Utc>;

    /// It is open: what says that events since then may have been missed.
    async fn missed(
        &self,
        since: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        reason: &str,
    ) -> Vec<Notice>;

    /// A subscription of it was ended; says whether the whole line is.
    async fn revoked(&self, subscription: &Subscription) -> bool;

    /// The line's permission is gone.
    async fn over(&self);
}

/// How opening a line went.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// Subscriptions that stand; nothing is delivered without any.
    pub(super) confirmed: usize,
    /// Kinds that are not heard, and why.
    pub(super) refused: Vec<(String, String)>,
    /// The permission is gone.
    pub(super) is_revoked: bool,
    /// Something stands now that this session had lacked, since then.
    pub(super) lacked_since: Option<DateTime<Utc>>,
}

impl Opened {
    /// Notes it.
    pub(super) fn tell(&self, health: &mut Health) {
        health.confirmed = self.confirmed;
        health.wanted = self.confirmed + self.refused.len();
        health.refused.clone_from(&self.refused);
    }
}

/// Starts a socket for each channel that is linked and ends it when the channel is so no more. Of several processes one
/// listens: two sockets of one channel would cost twice and bring everything twice.
pub(super) async fn watch(house: Arc<House>, stop: CancellationToken) {
    let mut lives: BTreeMap<ChannelId, (CancellationToken, JoinHandle<()>)> = BTreeMap::new();
    let mut is_standing_by = false;
    let speaking = house.speak_up(stop.clone()).await;
    loop {
        let place = house.place();
        if is_standing_by != (place.rank > 0) {
            is_standing_by = place.rank > 0;
            let what =
                if is_standing_by { "another spark listens: standing by" } else { "listening" };
            tracing::info!(others = place.of - 1, "{what}");
        }
        let linked = if is_standing_by { Ok(Vec::new()) } else { house.channels().await };
        match linked {
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
                        let line = Arc::new(ChannelLine::new(house.clone(), channel));
                        (end.clone(), tokio::spawn(live(house.clone(), line, end)))
                    });
                }
            }
            Err(error) => {
                tracing::warn!(error = %error.chain(), "cannot read which channels are linked");
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = house.look.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    house.leave(speaking).await;
}
