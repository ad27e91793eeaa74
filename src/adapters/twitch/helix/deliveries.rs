//! Subscriptions to events, conduits and their shards, grants.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::adapters::twitch::helix::{Call, Page, TwitchHelix};
use crate::domain::audience::channel::{ChannelId, Scopes};
use crate::ports::platform::{
    Bearer, Condition, Conduit, Deliveries, DeliveryVia, Grant, ListedSubscription, PlatformError,
    Shard, ShardRefused, SubscriptionFilter, SubscriptionOrder,
};

/// Channels whose grants are asked for in one question.
const GRANTS_ASKED_MAX: usize = 10;

#[derive(Deserialize)]
struct SubscriptionRow {
    id: String,
    #[serde(default)]
    status: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    condition: serde_json::Map<String, Value>,
    #[serde(default)]
    cost: Option<u32>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    transport: TransportRow,
}

#[derive(Default, Deserialize)]
struct TransportRow {
    #[serde(default)]
    method: String,
    #[serde(default)]
    session_id: Option<String>,
    #[serde(default)]
    conduit_id: Option<String>,
    #[serde(default)]
    callback: Option<String>,
}

#[derive(Deserialize)]
struct ConduitRow {
    id: String,
    #[serde(default)]
    shard_count: u32,
}

#[derive(Deserialize)]
struct ShardRow {
    id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    transport: TransportRow,
}

#[derive(Deserialize)]
struct AttachAnswer {
    #[serde(default)]
    errors: Vec<ShardErrorRow>,
}

#[derive(Deserialize)]
struct ShardErrorRow {
    id: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct GrantRow {
    user_id: ChannelId,
    #[serde(default)]
    scopes: Option<Scopes>,
    #[serde(default)]
    has_authorized: Option<bool>,
}

#[async_trait]
impl Deliveries for TwitchHelix {
    async fn subscribe(
        &self,
        bearer: &Bearer,
        order: &SubscriptionOrder,
    ) -> Result<ListedSubscription, PlatformError> {
        let call = Call::new("subscribe to events", Method::POST, "eventsub/subscriptions").saying(
            json!({
                "type": order.kind,
                "version": order.version,
                "condition": order.condition,
                "transport": transport(&order.via),
            }),
        );
        let page: Page<SubscriptionRow> = self.page(bearer, call).await?;
        Ok(page.one()?.into())
    }

    async fn subscriptions(
        &self,
        bearer: &Bearer,
        filter: &SubscriptionFilter,
    ) -> Result<Vec<ListedSubscription>, PlatformError> {
        let question = |after: Option<String>| {
            let call = Call::new("list subscriptions", Method::GET, "eventsub/subscriptions")
                .with_some("after", after);
            match filter {
                SubscriptionFilter::All => call,
                SubscriptionFilter::Status(status) => call.with("status", status),
                SubscriptionFilter::Kind(kind) => call.with("type", kind),
                SubscriptionFilter::User(user) => call.with("user_id", user),
                SubscriptionFilter::Id(id) => call.with("subscription_id", id),
                SubscriptionFilter::Conduit(conduit) => call.with("conduit_id", conduit),
            }
        };
        let rows: Vec<SubscriptionRow> = self.pages(bearer, question).await?;
        Ok(rows.into_iter().map(ListedSubscription::from).collect())
    }

    async fn unsubscribe(&self, bearer: &Bearer, id: &str) -> Result<(), PlatformError> {
        let call = Call::new("end a subscription", Method::DELETE, "eventsub/subscriptions")
            .with("id", id);
        gone(self.call(bearer, call).await.map(drop))
    }

    async fn conduits(&self, bearer: &Bearer) -> Result<Vec<Conduit>, PlatformError> {
        let call = Call::new("list conduits", Method::GET, "eventsub/conduits");
        let page: Page<ConduitRow> = self.page(bearer, call).await?;
        Ok(page.data.into_iter().map(Conduit::from).collect())
    }

    async fn create_conduit(&self, bearer: &Bearer, shards: u32) -> Result<Conduit, PlatformError> {
        let call = Call::new("create a conduit", Method::POST, "eventsub/conduits")
            .saying(json!({ "shard_count": shards }));
        let page: Page<ConduitRow> = self.page(bearer, call).await?;
        Ok(page.one()?.into())
    }

    async fn resize_conduit(
        &self,
        bearer: &Bearer,
        id: &str,
        shards: u32,
    ) -> Result<Conduit, PlatformError> {
        let call = Call::new("resize a conduit", Method::PATCH, "eventsub/conduits")
            .saying(json!({ "id": id, "shard_count": shards }));
        let page: Page<ConduitRow> = self.page(bearer, call).await?;
        Ok(page.one()?.into())
    }

    async fn delete_conduit(&self, bearer: &Bearer, id: &str) -> Result<(), PlatformError> {
        let call =
            Call::new("delete a conduit", Method::DELETE, "eventsub/conduits").with("id", id);
        gone(self.call(bearer, call).await.map(drop))
    }

    async fn shards(&self, bearer: &Bearer, conduit: &str) -> Result<Vec<Shard>, PlatformError> {
        let question = |after: Option<String>| {
            Call::new("list shards", Method::GET, "eventsub/conduits/shards")
                .with("conduit_id", conduit)
                .with_some("after", after)
        };
        let rows: Vec<ShardRow> = self.pages(bearer, question).await?;
        Ok(rows.into_iter().map(Shard::from).collect())
    }

    async fn attach_shards(
        &self,
        bearer: &Bearer,
        conduit: &str,
        ways: &[(String, DeliveryVia)],
    ) -> Result<Vec<ShardRefused>, PlatformError> {
        let doing = "attach shards";
        let shards: Vec<Value> =
            ways.iter().map(|(id, via)| json!({ "id": id, "transport": transport(via) })).collect();
        let call = Call::new(doing, Method::PATCH, "eventsub/conduits/shards")
            .saying(json!({ "conduit_id": conduit, "shards": shards }));
        let answer: AttachAnswer = self.call(bearer, call).await?.read(doing)?;
        let refused =
            |row: ShardErrorRow| ShardRefused { id: row.id, code: row.code, reason: row.message };
        Ok(answer.errors.into_iter().map(refused).collect())
    }

    async fn grants(
        &self,
        bearer: &Bearer,
        channels: &[ChannelId],
    ) -> Result<Vec<Grant>, PlatformError> {
        let mut grants = Vec::new();
        for channels in channels.chunks(GRANTS_ASKED_MAX) {
            let call = Call::new("read grants", Method::GET, "authorization/users")
                .with_each("user_id", channels);
            let page: Page<GrantRow> = self.page(bearer, call).await?;
            let given = page.data.into_iter().filter(|row| row.has_authorized != Some(false));
            grants.extend(
                given.map(|row| Grant {
                    channel: row.user_id,
                    scopes: row.scopes.unwrap_or_default(),
                }),
            );
        }
        Ok(grants)
    }
}

fn transport(via: &DeliveryVia) -> Value {
    match via {
        DeliveryVia::Socket { session_id } => {
            json!({ "method": "websocket", "session_id": session_id })
        }
        DeliveryVia::Conduit { conduit_id } => {
            json!({ "method": "conduit", "conduit_id": conduit_id })
        }
        DeliveryVia::Webhook { callback, secret } => {
            json!({ "method": "webhook", "callback": callback, "secret": secret.expose() })
        }
    }
}

/// What is not there any more was to go anyway.
fn gone(ended: Result<(), PlatformError>) -> Result<(), PlatformError> {
    match ended {
        Err(PlatformError::NotFound) => Ok(()),
        ended => ended,
    }
}

impl From<SubscriptionRow> for ListedSubscription {
    fn from(row: SubscriptionRow) -> Self {
        // Values are texts; whatever else comes is kept as it is written.
        let condition: Condition = row
            .condition
            .into_iter()
            .map(|(name, value)| match value {
                Value::String(text) => (name, text),
                other => (name, other.to_string()),
            })
            .collect();
        let created_at: Option<DateTime<Utc>> =
            row.created_at.as_deref().and_then(|said| said.parse().ok());
        Self {
            id: row.id,
            kind: row.kind,
            version: row.version,
            status: row.status,
            condition,
            cost: row.cost.unwrap_or(0),
            method: row.transport.method,
            session_id: row.transport.session_id,
            conduit_id: row.transport.conduit_id,
            callback: row.transport.callback,
            created_at,
        }
    }
}

impl From<ConduitRow> for Conduit {
    fn from(row: ConduitRow) -> Self {
        Self { id: row.id, shards: row.shard_count }
    }
}

impl From<ShardRow> for Shard {
    fn from(row: ShardRow) -> Self {
        Self {
            id: row.id,
            status: row.status,
            session_id: row.transport.session_id,
            callback: row.transport.callback,
        }
    }
}
