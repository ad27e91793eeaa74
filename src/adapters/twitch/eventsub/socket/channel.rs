//! A linked channel's own socket, in its own name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::adapters::twitch::eventsub::envelope::Subscription;
use crate::adapters::twitch::eventsub::house::{House, hold};
use crate::adapters::twitch::eventsub::notice::{is_withdrawn, missed};
use crate::adapters::twitch::eventsub::socket::session::IN_FLIGHT;
use crate::adapters::twitch::eventsub::socket::subscribe::{clear_dead, subscribe_rest};
use crate::adapters::twitch::eventsub::socket::{Line, Opened};
use crate::domain::audience::channel::ChannelId;
use crate::domain::audience::notice::Notice;
use crate::ports::audience_source::{Health, State};
use crate::ports::platform::PlatformError;

pub(super) struct ChannelLine {
    house: Arc<House>,
    channel: ChannelId,
    subscribed: Mutex<Subscribed>,
}

/// How the session's subscriptions stand.
#[derive(Default)]
struct Subscribed {
    standing: BTreeSet<String>,
    /// What the session lacks, since when and why.
    lacking: BTreeMap<String, (DateTime<Utc>, String)>,
}

impl ChannelLine {
    pub(super) fn new(house: Arc<House>, channel: ChannelId) -> Self {
        Self { house, channel, subscribed: Mutex::default() }
    }

    /// Asks for what the session lacks; `None` when it lacks nothing.
    async fn subscribe(&self, session_id: &str) -> Option<Opened> {
        let has = hold(&self.subscribed).standing.clone();
        let outcomes = match subscribe_rest(&self.house, &self.channel, session_id, &has).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                let refused = vec![("channel".to_owned(), error.chain())];
                return Some(Opened { confirmed: has.len(), refused, ..Opened::default() });
            }
        };
        if outcomes.is_empty() && !has.is_empty() {
            return None;
        }
        let now = self.house.clock.now();
        let mut opened = Opened::default();
        let mut subscribed = hold(&self.subscribed);
        for (kind, outcome) in outcomes {
            match outcome {
                Ok(()) => {
                    let lacked = subscribed.lacking.remove(&kind).map(|(since, _)| since);
                    opened.lacked_since = opened.lacked_since.into_iter().chain(lacked).min();
                    subscribed.standing.insert(kind);
                }
                Err(error) => {
                    let reason = error.to_string();
                    if !subscribed.lacking.contains_key(&kind) {
                        tracing::warn!(channel = %self.channel, kind, "cannot subscribe: {reason}");
                    }
                    opened.is_revoked |= matches!(error, PlatformError::Unauthorised);
                    subscribed.lacking.entry(kind).or_insert((now, String::new())).1 = reason;
                }
            }
        }
        opened.confirmed = subscribed.standing.len();
        opened.refused = subscribed.refused();
        opened.is_revoked &= opened.confirmed == 0;
        Some(opened)
    }
}

impl Subscribed {
    fn refused(&self) -> Vec<(String, String)> {
        self.lacking.iter().map(|(kind, (_, reason))| (kind.clone(), reason.clone())).collect()
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
        *hold(&self.subscribed) = Subscribed::default();
        let opened = self.subscribe(session_id).await.unwrap_or_default();
        clear_dead(&self.house, &self.channel, session_id).await;
        opened
    }

    async fn complete(&self, session_id: &str) -> Option<Opened> {
        self.subscribe(session_id).await
    }

    fn moved(&self, _: &str) {}

    async fn dropped(&self) -> DateTime<Utc> {
        std::future::pending().await
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
        let now = self.house.clock.now();
        let (confirmed, refused) = {
            let mut subscribed = hold(&self.subscribed);
            let status = subscription.status.clone().unwrap_or_default();
            subscribed.standing.remove(&subscription.kind);
            subscribed.lacking.insert(subscription.kind.clone(), (now, status));
            (subscribed.standing.len(), subscribed.refused())
        };
        self.house.note(&self.channel, |health| {
            (health.confirmed, health.refused) = (confirmed, refused);
        });
        false
    }

    async fn over(&self) {
        tracing::warn!(channel = %self.channel, "the channel's permission ended: no more is heard of it");
        self.house.note(&self.channel, |health| health.state = State::Revoked);
        self.house.bearers.revoked(&self.channel).await;
    }
}
