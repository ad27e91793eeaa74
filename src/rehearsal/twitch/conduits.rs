//! Conduits and their shards: subscriptions that survive the sockets which carry them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State as Shared};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::asked::{self, Asked};
use super::helix::Caller;
use super::refusal::Refusal;
use super::stage::{Stage, State, now, rfc3339};
use super::subscriptions::{ENABLED, PENDING, Transport};
use super::webhooks::{Hook, Owner};

/// Conduits of one client at most.
const CONDUITS_MAX: usize = 5;
/// Shards of one conduit at most.
const SHARDS_MAX: usize = 20_000;
const SHARDS_PAGE: usize = 100;
/// A shard that nothing was attached to.
const UNATTACHED: &str = "websocket_disconnected";

/// One conduit.
pub(super) struct Conduit {
    pub(super) id: String,
    pub(super) client_id: String,
    shards: Vec<Shard>,
}

#[derive(Clone)]
struct Shard {
    status: String,
    transport: Option<ShardTransport>,
}

/// What a shard is attached to.
#[derive(Clone)]
pub(super) enum ShardTransport {
    Websocket { session: Arc<str>, connected_at: String, disconnected_at: Option<String> },
    Webhook(Hook),
}

impl Shard {
    const fn is_enabled(status: &str) -> bool {
        matches!(status.as_bytes(), b"enabled")
    }

    fn empty() -> Self {
        Self { status: UNATTACHED.into(), transport: None }
    }

    fn transport_shown(&self) -> Value {
        match &self.transport {
            Some(ShardTransport::Websocket { session, connected_at, disconnected_at }) => json!({
                "method": "websocket", "session_id": **session,
                "connected_at": connected_at, "disconnected_at": disconnected_at,
            }),
            Some(ShardTransport::Webhook(hook)) => {
                json!({"method": "webhook", "callback": *hook.callback})
            }
            None => json!({"method": "websocket", "session_id": ""}),
        }
    }

    fn shown(&self, index: usize) -> Value {
        json!({"id": index.to_string(), "status": self.status, "transport": self.transport_shown()})
    }
}

impl Conduit {
    /// The shard for a channel; when it is disabled one other is tried, then nobody gets the event.
    pub(super) fn route(&self, hash: u64) -> Option<&ShardTransport> {
        let count = self.shards.len().max(1);
        let first = (hash % count as u64) as usize;
        [first, (first + 1) % count]
            .into_iter()
            .filter_map(|index| self.shards.get(index))
            .find(|shard| Shard::is_enabled(&shard.status))
            .and_then(|shard| shard.transport.as_ref())
    }

    /// A session was followed by another.
    pub(super) fn follow(&mut self, old: &str, new: &Arc<str>) {
        for shard in &mut self.shards {
            if let Some(ShardTransport::Websocket { session, .. }) = &mut shard.transport
                && **session == *old
            {
                *session = Arc::clone(new);
            }
        }
    }

    fn shown(&self) -> Value {
        json!({"id": self.id, "shard_count": self.shards.len()})
    }
}

impl State {
    /// Disables every shard on a session and says so to who listens for `conduit.shard.disabled`.
    pub(super) fn disable_shards_on(&mut self, session: &str, status: &str) {
        let on_it: Vec<(String, usize)> = self
            .conduits
            .iter()
            .flat_map(|conduit| {
                let held = conduit.shards.iter().enumerate().filter(|(_, shard)| {
                    matches!(&shard.transport, Some(ShardTransport::Websocket { session: held, .. }) if **held == *session)
                });
                held.map(|(index, _)| (conduit.id.clone(), index))
            })
            .collect();
        for (conduit, shard) in on_it {
            self.set_shard_status(&conduit, shard, status);
        }
    }

    /// Sets the status of a shard. One that was enabled and is not any more is reported.
    pub(super) fn set_shard_status(&mut self, conduit_id: &str, index: usize, status: &str) {
        let conduit = self.conduits.iter_mut().find(|conduit| conduit.id == conduit_id);
        let Some(shard) = conduit.and_then(|conduit| conduit.shards.get_mut(index)) else { return };
        let was_enabled = Shard::is_enabled(&shard.status);
        status.clone_into(&mut shard.status);
        if !was_enabled || Shard::is_enabled(status) {
            return;
        }
        if let Some(ShardTransport::Websocket { disconnected_at, .. }) = &mut shard.transport {
            *disconnected_at = Some(rfc3339(now()));
        }
        let event = json!({
            "conduit_id": conduit_id, "shard_id": index.to_string(), "status": status,
            "transport": shard.transport_shown(),
        });
        self.counters.one("shard_disabled");
        self.emit("conduit.shard.disabled", "1", conduit_id, &event);
    }

    fn own_conduit(&mut self, caller: &Caller, id: &str) -> Result<&mut Conduit, Refusal> {
        let own =
            |conduit: &&mut Conduit| conduit.id == id && conduit.client_id == caller.client_id;
        let found = self.conduits.iter_mut().find(own);
        found.ok_or_else(|| Refusal::missing("the conduit was not found"))
    }
}

/// `GET eventsub/conduits`.
pub(super) async fn list(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Refusal> {
    caller.need_app()?;
    let state = stage.state();
    let own = state.conduits.iter().filter(|conduit| conduit.client_id == caller.client_id);
    Ok(Json(json!({"data": own.map(Conduit::shown).collect::<Vec<_>>()})))
}

/// What a conduit shall be.
#[derive(Deserialize)]
pub(super) struct ConduitWish {
    #[serde(default)]
    id: String,
    shard_count: usize,
}

impl ConduitWish {
    fn shards(&self) -> Result<usize, Refusal> {
        let allowed = (1..=SHARDS_MAX).contains(&self.shard_count);
        let refusal = || Refusal::bad(format!("shard_count must be 1 to {SHARDS_MAX}"));
        allowed.then_some(self.shard_count).ok_or_else(refusal)
    }
}

/// `POST eventsub/conduits`.
pub(super) async fn create(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    Json(wish): Json<ConduitWish>,
) -> Result<Json<Value>, Refusal> {
    caller.need_app()?;
    let shards = wish.shards()?;
    let mut state = stage.state();
    let own = state.conduits.iter().filter(|conduit| conduit.client_id == caller.client_id);
    if own.count() >= CONDUITS_MAX {
        return Err(Refusal::too_many("conduit limit reached"));
    }
    let conduit = Conduit {
        id: Uuid::new_v4().to_string(),
        client_id: caller.client_id,
        shards: vec![Shard::empty(); shards],
    };
    let shown = conduit.shown();
    state.conduits.push(conduit);
    Ok(Json(json!({"data": [shown]})))
}

/// `PATCH eventsub/conduits`: shrinking removes the shards with the highest ids.
pub(super) async fn resize(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    Json(wish): Json<ConduitWish>,
) -> Result<Json<Value>, Refusal> {
    caller.need_app()?;
    let shards = wish.shards()?;
    let mut state = stage.state();
    let conduit = state.own_conduit(&caller, &wish.id)?;
    conduit.shards.resize(shards, Shard::empty());
    Ok(Json(json!({"data": [conduit.shown()]})))
}

/// `DELETE eventsub/conduits?id=`.
pub(super) async fn delete(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<StatusCode, Refusal> {
    caller.need_app()?;
    let id = asked.need("id")?;
    let mut state = stage.state();
    state.own_conduit(&caller, id)?;
    state.conduits.retain(|conduit| conduit.id != id);
    for known in &mut state.subscriptions {
        if matches!(&known.transport, Transport::Conduit(held) if held == id) {
            known.disable("conduit_deleted");
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `GET eventsub/conduits/shards`.
pub(super) async fn shards(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    caller.need_app()?;
    let mut state = stage.state();
    let conduit = state.own_conduit(&caller, asked.need("conduit_id")?)?;
    let wanted = asked.one("status");
    let fits = |(_, shard): &(usize, &Shard)| wanted.is_none_or(|wanted| wanted == shard.status);
    let shown = conduit.shards.iter().enumerate().filter(fits);
    let shown = shown.map(|(index, shard)| shard.shown(index)).collect();
    let (page, pagination) = asked::page(shown, SHARDS_PAGE, asked.one("after"))?;
    Ok(Json(json!({"data": page, "pagination": pagination})))
}

/// Shards to attach.
#[derive(Deserialize)]
pub(super) struct ShardsWish {
    conduit_id: String,
    shards: Vec<ShardWish>,
}

#[derive(Deserialize)]
struct ShardWish {
    id: String,
    transport: TransportWish,
}

#[derive(Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
enum TransportWish {
    Websocket { session_id: String },
    Webhook { callback: String, secret: String },
}

/// `PATCH eventsub/conduits/shards`: attaches what can be attached, and says what could not.
pub(super) async fn attach(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    Json(wish): Json<ShardsWish>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    caller.need_app()?;
    let mut state = stage.state();
    state.own_conduit(&caller, &wish.conduit_id)?;
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for shard in wish.shards {
        let id = shard.id.clone();
        match state.attach(&caller, &wish.conduit_id, shard) {
            Ok(shown) => done.push(shown),
            Err((code, message)) => {
                errors.push(json!({"id": id, "message": message, "code": code}));
            }
        }
    }
    Ok((StatusCode::ACCEPTED, Json(json!({"data": done, "errors": errors}))))
}

impl State {
    fn attach(
        &mut self,
        caller: &Caller,
        conduit_id: &str,
        wish: ShardWish,
    ) -> Result<Value, (&'static str, &'static str)> {
        let missing = ("not_found", "the shard id is not of this conduit");
        let index: usize = wish.id.parse().map_err(|_| missing)?;
        let (transport, status) = match wish.transport {
            TransportWish::Websocket { session_id } => {
                let gone = ("invalid_parameter", "the websocket session is not connected");
                let session = self.sessions.get_mut(&*session_id).ok_or(gone)?;
                if session.is_replaced {
                    return Err(gone);
                }
                session.is_used = true;
                let transport = ShardTransport::Websocket {
                    session: Arc::clone(&session.id),
                    connected_at: session.connected_at.clone(),
                    disconnected_at: None,
                };
                (transport, ENABLED)
            }
            TransportWish::Webhook { callback, secret } => {
                let owner = Owner::Shard { conduit: conduit_id.to_owned(), shard: index };
                let hook = Hook::accept(&callback, &secret, owner).map_err(|_| {
                    ("invalid_parameter", "callback must be an address of this machine, secret 10 to 100 ASCII characters")
                })?;
                (ShardTransport::Webhook(hook), PENDING)
            }
        };
        let conduit = self.own_conduit(caller, conduit_id).map_err(|_| missing)?;
        let shard = conduit.shards.get_mut(index).ok_or(missing)?;
        shard.transport = Some(transport.clone());
        status.clone_into(&mut shard.status);
        let shown = shard.shown(index);
        if let ShardTransport::Webhook(hook) = &transport {
            let about =
                json!({"conduit_shard": {"conduit_id": conduit_id, "shard": index.to_string()}});
            self.challenge(hook, "conduit.shard", &about);
        }
        Ok(shown)
    }
}
