//! A linked channel's own socket, in its own name.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::adapters::twitch::eventsub::envelope::Subscription;
use crate::adapters::twitch::eventsub::house::House;
use crate::adapters::twitch::eventsub::notice::{is_withdrawn, missed};
use crate::adapters::twitch::eventsub::socket::session::IN_FLIGHT;
use crate::adapters::twitch::eventsub::socket::subscribe::subscribe_all;
use crate::adapters::twitch::eventsub::socket::{Line, Opened};
use crate::domain::audience::channel::ChannelId;
use crate::domain::audience::notice::Notice;
use crate::ports::audience_source::{Health, State};

pub(super) struct ChannelLine {
    house: Arc<House>,
    channel: ChannelId,
}

impl ChannelLine {
    pub(super) const fn new(house: Arc<House>, channel: ChannelId) -> Self {
        Self { house, channel }
    }
}

#[async_trait]
impl Line for ChannelLine {
    fn name(&self) -> &str {
        self.channel.as_str()
    }

    fn note(&self, change: &mut dyn FnMut(&mut Health)) {
        self.house.note(&self.channel, change);
    }

    async fn deaf_since(&self) -> Option<DateTime<Utc>> {
        self.house.bearers.heard_until(&self.channel).await.map(|heard| heard - IN_FLIGHT)
    }

    async fn open(&self, session_id: &str) -> Opened {
        subscribe_all(&self.house, &self.channel, session_id).await
    }

    fn moved(&self, _: &str) {}

    async fn dropped(&self) {
        std::future::pending::<()>().await;
    }

    async fn missed(
        &self,
        since: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        reason: &str,
    ) -> Vec<Notice> {
        since.map(|from| missed(&self.channel, from, now, reason)).into_iter().collect()
    }

    async fn revoked(&self, subscription: &Subscription) -> bool {
        if is_withdrawn(subscription) {
            return true;
        }
        self.house.note(&self.channel, |health| {
            health.confirmed = health.confirmed.saturating_sub(1);
            let status = subscription.status.clone().unwrap_or_default();
            health.refused.push((subscription.kind.clone(), status));
        });
        false
    }

    async fn over(&self) {
        tracing::warn!(channel = %self.channel, "the channel's permission ended: no more is heard of it");
        self.house.note(&self.channel, |health| health.state = State::Revoked);
        self.house.bearers.revoked(&self.channel).await;
    }
}
