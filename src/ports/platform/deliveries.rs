//! Which events the platform sends us, and by which way.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::audience::channel::{ChannelId, Scopes};
use crate::ports::platform::{Bearer, PlatformError};
use crate::ports::vault::Secret;

/// Whom a subscription is about, by the platform's field names (`broadcaster_user_id`).
pub type Condition = BTreeMap<String, String>;

/// The way events take to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryVia {
    /// A socket, by the session its welcome named. The bearer is a user.
    Socket { session_id: String },
    /// A conduit. The bearer is the application.
    Conduit { conduit_id: String },
    /// An address of ours, over HTTPS. The bearer is the application. `secret` signs, 10 to 100 ASCII characters.
    Webhook { callback: String, secret: Secret },
}

/// A subscription to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionOrder {
    /// The platform's word, such as `channel.chat.message`.
    pub kind: String,
    pub version: String,
    pub condition: Condition,
    pub via: DeliveryVia,
}

/// A subscription as the platform has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSubscription {
    pub id: String,
    pub kind: String,
    pub version: String,
    /// The platform's word; `enabled` is the one that delivers.
    pub status: String,
    pub condition: Condition,
    pub cost: u32,
    /// `websocket`, `conduit` or `webhook`.
    pub method: String,
    pub session_id: Option<String>,
    pub conduit_id: Option<String>,
    pub callback: Option<String>,
    pub created_at: Option<DateTime<Utc>>,
}

/// Which subscriptions to list. The platform takes one filter at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionFilter {
    All,
    Status(String),
    Kind(String),
    User(ChannelId),
    Id(String),
    Conduit(String),
}

/// Several ways in one, which keep their subscriptions when one of them drops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conduit {
    pub id: String,
    pub shards: u32,
}

/// One way of a conduit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// "0" to the number of shards less one.
    pub id: String,
    /// The platform's word; `enabled` is the one that delivers.
    pub status: String,
    pub session_id: Option<String>,
    pub callback: Option<String>,
}

/// A shard that could not be attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRefused {
    pub id: String,
    pub code: String,
    pub reason: String,
}

/// What a channel granted our application, as the platform knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub channel: ChannelId,
    pub scopes: Scopes,
}

/// Subscriptions, conduits and their shards, grants. Conduits and grants are asked as the application.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Subscribes. [`PlatformError::Conflict`] names the subscription that stands already, where the platform does;
    /// [`PlatformError::RateLimited`] without `retry_after` means three of this kind and condition.
    async fn subscribe(
        &self,
        bearer: &Bearer,
        order: &SubscriptionOrder,
    ) -> Result<ListedSubscription, PlatformError>;

    /// All subscriptions of a filter, enabled or not.
    async fn subscriptions(
        &self,
        bearer: &Bearer,
        filter: &SubscriptionFilter,
    ) -> Result<Vec<ListedSubscription>, PlatformError>;

    /// Ends a subscription; one that is gone already is fine.
    async fn unsubscribe(&self, bearer: &Bearer, id: &str) -> Result<(), PlatformError>;

    async fn conduits(&self, bearer: &Bearer) -> Result<Vec<Conduit>, PlatformError>;

    async fn create_conduit(&self, bearer: &Bearer, shards: u32) -> Result<Conduit, PlatformError>;

    /// Changes the number of shards; fewer removes those with the highest ids.
    async fn resize_conduit(
        &self,
        bearer: &Bearer,
        id: &str,
        shards: u32,
    ) -> Result<Conduit, PlatformError>;

    /// Deletes a conduit and its subscriptions; one that is gone already is fine.
    async fn delete_conduit(&self, bearer: &Bearer, id: &str) -> Result<(), PlatformError>;

    async fn shards(&self, bearer: &Bearer, conduit: &str) -> Result<Vec<Shard>, PlatformError>;

    /// Attaches ways to shards by shard id; says which were refused.
    async fn attach_shards(
        &self,
        bearer: &Bearer,
        conduit: &str,
        ways: &[(String, DeliveryVia)],
    ) -> Result<Vec<ShardRefused>, PlatformError>;

    /// What these channels granted our application; those that granted nothing are left out.
    async fn grants(
        &self,
        bearer: &Bearer,
        channels: &[ChannelId],
    ) -> Result<Vec<Grant>, PlatformError>;
}
