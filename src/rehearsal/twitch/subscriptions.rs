//! Create, list and delete EventSub subscriptions, with the checks of production.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::asked::{self, Asked};
use super::catalog::{self, Carrier, Kind};
use super::helix::Caller;
use super::refusal::Refusal;
use super::stage::{Stage, State, now, rfc3339};
use super::webhooks::{Hook, Owner};

/// Enabled subscriptions of one socket at most.
const PER_SOCKET_MAX: usize = 300;
/// Sockets with enabled subscriptions of one client and user at most.
const SOCKETS_MAX: usize = 3;
/// Enabled subscriptions with equal type and condition at most.
const EQUAL_MAX: usize = 3;
/// `max_total_cost` of a user's sockets, and of webhooks and conduits together.
const SOCKET_COST_MAX: u32 = 10;
const APP_COST_MAX: u32 = 10_000;
/// Subscriptions on a page of the list.
const PAGE_MAX: usize = 100;
/// A disabled subscription of a socket stays listed for so many of Twitch's seconds.
const LISTED_AFTER_END_S: u64 = 60;

pub(super) const ENABLED: &str = "enabled";
pub(super) const PENDING: &str = "webhook_callback_verification_pending";

/// One subscription.
pub(super) struct Subscription {
    pub(super) id: Arc<str>,
    pub(super) status: String,
    pub(super) kind: &'static Kind,
    pub(super) version: String,
    pub(super) condition: BTreeMap<String, String>,
    pub(super) transport: Transport,
    pub(super) created_at: String,
    pub(super) cost: u32,
    pub(super) client_id: String,
    /// Whose token created it, for sockets.
    pub(super) owner: Option<String>,
    pub(super) disabled_at: Option<Instant>,
    /// The subscription object of its notifications, ready to send.
    pub(super) wire: String,
}

/// Where notifications go.
#[derive(Clone)]
pub(super) enum Transport {
    Websocket { session: Arc<str>, connected_at: String, disconnected_at: Option<String> },
    Webhook(Hook),
    Conduit(String),
}

impl Subscription {
    pub(super) fn is_enabled(&self) -> bool {
        self.status == ENABLED
    }

    /// The object Helix shows.
    pub(super) fn shown(&self) -> Value {
        let transport = match &self.transport {
            Transport::Websocket { session, connected_at, disconnected_at } => {
                let mut shown = json!({"method": "websocket", "session_id": **session, "connected_at": connected_at});
                if let Some(at) = disconnected_at {
                    shown["disconnected_at"] = at.as_str().into();
                }
                shown
            }
            Transport::Webhook(hook) => {
                json!({"method": "webhook", "callback": *hook.callback})
            }
            Transport::Conduit(id) => json!({"method": "conduit", "conduit_id": id}),
        };
        json!({
            "id": *self.id, "status": self.status, "type": self.kind.name, "version": self.version,
            "condition": self.condition, "transport": transport, "created_at": self.created_at, "cost": self.cost,
        })
    }

    /// Writes the object of the notifications anew; call it after a change.
    pub(super) fn rewrite(&mut self) {
        let mut shown = self.shown();
        if let Some(transport) = shown["transport"].as_object_mut() {
            transport.remove("connected_at");
            transport.remove("disconnected_at");
        }
        self.wire = shown.to_string();
    }

    pub(super) fn is_on(&self, id: &str) -> bool {
        matches!(&self.transport, Transport::Websocket { session, .. } if **session == *id)
    }

    /// Ends it: it stays listed for a while.
    pub(super) fn disable(&mut self, status: &str) {
        status.clone_into(&mut self.status);
        self.disabled_at = Some(Instant::now());
        if let Transport::Websocket { disconnected_at, .. } = &mut self.transport {
            *disconnected_at = Some(rfc3339(now()));
        }
        self.rewrite();
    }
}

/// `POST eventsub/subscriptions`.
pub(super) async fn create(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let wish = Wish::read(&body)?;
    let mut state = stage.state();
    let id: Arc<str> = Uuid::new_v4().to_string().into();
    let (transport, owner) = wish.transport(&id, &state, &caller)?;
    wish.authorise(&state, &caller)?;
    state.refuse_excess(&wish, &transport, &caller)?;
    let is_known = |user: &String| state.tokens.has_granted(&caller.client_id, user);
    let cost = u32::from(!wish.condition.values().any(is_known));
    let pool_max = max_total_cost(&caller);
    if state.total_cost(&caller) + cost > pool_max {
        return Err(Refusal::too_many("cost exceeds the max_total_cost"));
    }
    let status = if matches!(transport, Transport::Webhook(_)) { PENDING } else { ENABLED };
    let mut subscription = Subscription {
        id,
        status: status.to_owned(),
        kind: wish.kind,
        version: wish.version,
        condition: wish.condition,
        transport: transport.clone(),
        created_at: rfc3339(now()),
        cost,
        client_id: caller.client_id.clone(),
        owner: owner.clone(),
        disabled_at: None,
        wire: String::new(),
    };
    subscription.rewrite();
    let shown = subscription.shown();
    match &transport {
        Transport::Websocket { session, .. } => {
            if let Some(session) = state.sessions.get_mut(session) {
                session.is_used = true;
                session.owner = owner.map(|user| (caller.client_id.clone(), user));
            }
        }
        Transport::Webhook(hook) => {
            state.challenge(hook, subscription.kind.name, &json!({"subscription": shown}));
        }
        Transport::Conduit(_) => {}
    }
    state.subscriptions.push(subscription);
    let answer = json!({
        "data": [shown],
        "total": state.subscriptions.iter().filter(|known| caller.owns(known)).count(),
        "total_cost": state.total_cost(&caller),
        "max_total_cost": pool_max,
    });
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

/// `GET eventsub/subscriptions`.
pub(super) async fn list(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    const FILTERS: [&str; 5] = ["status", "type", "user_id", "subscription_id", "conduit_id"];
    let filters: Vec<(&str, &str)> =
        FILTERS.iter().filter_map(|name| Some((*name, asked.one(name)?))).collect();
    if filters.len() > 1 {
        return Err(Refusal::bad("use one filter at most"));
    }
    let mut state = stage.state();
    let listed_for = stage.seconds(LISTED_AFTER_END_S);
    state.subscriptions.retain(|known| {
        let is_over = known.disabled_at.is_some_and(|at| at.elapsed() > listed_for);
        !(is_over && matches!(known.transport, Transport::Websocket { .. }))
    });
    let fits = |known: &&Subscription| {
        filters.iter().all(|(name, wanted)| match *name {
            "status" => known.status == *wanted,
            "type" => known.kind.name == *wanted,
            "user_id" => known.condition.values().any(|value| value == wanted),
            "subscription_id" => *known.id == **wanted,
            _ => matches!(&known.transport, Transport::Conduit(id) if id == wanted),
        })
    };
    let own: Vec<&Subscription> =
        state.subscriptions.iter().filter(|known| caller.owns(known)).collect();
    let shown: Vec<Value> = own.iter().copied().filter(fits).map(Subscription::shown).collect();
    let (page, pagination) = asked::page(shown, PAGE_MAX, asked.one("after"))?;
    Ok(Json(json!({
        "data": page,
        "total": own.len(),
        "total_cost": state.total_cost(&caller),
        "max_total_cost": max_total_cost(&caller),
        "pagination": pagination,
    })))
}

/// `DELETE eventsub/subscriptions?id=`.
pub(super) async fn delete(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<StatusCode, Refusal> {
    let id = asked.need("id")?;
    let mut state = stage.state();
    let place = state.subscriptions.iter().position(|known| caller.owns(known) && *known.id == *id);
    let place = place.ok_or_else(|| Refusal::missing("the subscription was not found"))?;
    state.subscriptions.remove(place);
    Ok(StatusCode::NO_CONTENT)
}

/// What a client wants to hear.
struct Wish {
    kind: &'static Kind,
    version: String,
    condition: BTreeMap<String, String>,
    transport: Map<String, Value>,
}

impl Wish {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| Refusal::bad(format!("the body is not JSON: {error}")))?;
        let text = |name: &str| {
            body[name].as_str().ok_or_else(|| Refusal::bad(format!("{name} is required")))
        };
        let (name, version) = (text("type")?, text("version")?);
        let kind = Kind::named(name).filter(|kind| kind.versions.contains(&version));
        let kind = kind.ok_or_else(|| Refusal::bad("invalid subscription type and version"))?;
        let fields = body["condition"].as_object();
        let fields = fields.ok_or_else(|| Refusal::bad("condition is required"))?;
        let mut condition = BTreeMap::new();
        for (field, value) in fields {
            let value = value.as_str();
            let value =
                value.ok_or_else(|| Refusal::bad(format!("condition.{field} is no text")))?;
            condition.insert(field.clone(), value.to_owned());
        }
        if let Some(wrong) = kind.refuse(&condition) {
            return Err(Refusal::bad(wrong));
        }
        let transport = body["transport"].as_object().cloned();
        let transport = transport.ok_or_else(|| Refusal::bad("transport is required"))?;
        Ok(Self { kind, version: version.to_owned(), condition, transport })
    }

    fn text(&self, name: &str) -> Result<&str, Refusal> {
        let text = self.transport.get(name).and_then(Value::as_str);
        text.ok_or_else(|| Refusal::bad(format!("transport.{name} is required")))
    }

    /// The transport, and the user that owns it if it is a socket.
    fn transport(
        &self,
        id: &Arc<str>,
        state: &State,
        caller: &Caller,
    ) -> Result<(Transport, Option<String>), Refusal> {
        let wrong_token = || Refusal::unauthorized("invalid transport and auth combination");
        match self.text("method")? {
            "websocket" => {
                let user = caller.user.clone().ok_or_else(wrong_token)?;
                if self.kind.carrier == Carrier::AppOnly {
                    return Err(Refusal::bad("this subscription type has no websocket transport"));
                }
                let session = state.sessions.get(self.text("session_id")?);
                let session = session.filter(|session| !session.is_replaced).ok_or_else(|| {
                    Refusal::bad(
                        "websocket transport session does not exist or has already disconnected",
                    )
                })?;
                let same = (caller.client_id.clone(), user.clone());
                if session.owner.as_ref().is_some_and(|owner| *owner != same) {
                    return Err(Refusal::bad(
                        "websocket transport cannot have subscriptions created by different users",
                    ));
                }
                let transport = Transport::Websocket {
                    session: Arc::clone(&session.id),
                    connected_at: session.connected_at.clone(),
                    disconnected_at: None,
                };
                Ok((transport, Some(user)))
            }
            "webhook" if caller.user.is_none() => {
                let owner = Owner::Subscription(Arc::clone(id));
                let hook = Hook::accept(self.text("callback")?, self.text("secret")?, owner)?;
                Ok((Transport::Webhook(hook), None))
            }
            "conduit" if caller.user.is_none() => {
                let id = self.text("conduit_id")?;
                let known = state
                    .conduits
                    .iter()
                    .any(|conduit| conduit.id == id && conduit.client_id == caller.client_id);
                if !known {
                    return Err(Refusal::bad("the conduit does not exist"));
                }
                Ok((Transport::Conduit(id.to_owned()), None))
            }
            "webhook" | "conduit" => Err(wrong_token()),
            other => Err(Refusal::bad(format!("transport.method `{other}` is unknown"))),
        }
    }

    /// Whether the condition's users granted what the type needs.
    fn authorise(&self, state: &State, caller: &Caller) -> Result<(), Refusal> {
        let missing = || Refusal::forbidden("subscription missing proper authorization");
        let actor = catalog::actor(&self.condition);
        let Some(user) = &caller.user else {
            if self.condition.get("client_id").is_some_and(|client| *client != caller.client_id) {
                return Err(missing());
            }
            let (Some(actor), false) = (actor, self.kind.scopes.is_empty()) else { return Ok(()) };
            let granted =
                |user: &str, any: &[&str]| state.tokens.has_scope(&caller.client_id, user, any);
            let mut is_granted = self.kind.scopes.iter().all(|any| granted(actor, any));
            if self.kind.reads_chat() {
                let broadcaster = self.condition.get("broadcaster_user_id");
                let broadcaster = broadcaster.map_or(actor, String::as_str);
                is_granted &= granted(actor, &["user:bot"])
                    && (actor == broadcaster || granted(broadcaster, &["channel:bot"]));
            }
            return if is_granted { Ok(()) } else { Err(missing()) };
        };
        let has = |any: &&[&str]| any.iter().any(|scope| caller.scopes.contains(*scope));
        if !self.kind.scopes.iter().all(has) {
            return Err(missing());
        }
        let is_bound = !self.kind.scopes.is_empty() || self.kind.name == "user.update";
        match actor {
            Some(actor) if is_bound && actor != user => Err(missing()),
            _ => Ok(()),
        }
    }
}

fn max_total_cost(caller: &Caller) -> u32 {
    if caller.user.is_some() { SOCKET_COST_MAX } else { APP_COST_MAX }
}

impl State {
    fn total_cost(&self, caller: &Caller) -> u32 {
        let counted = self.subscriptions.iter().filter(|known| caller.owns(known));
        counted.filter(|known| known.is_enabled()).map(|known| known.cost).sum()
    }

    fn refuse_excess(
        &mut self,
        wish: &Wish,
        transport: &Transport,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        let live: Vec<&Subscription> = self
            .subscriptions
            .iter()
            .filter(|known| caller.owns(known) && (known.is_enabled() || known.status == PENDING))
            .collect();
        let equal: Vec<&Subscription> = live
            .iter()
            .copied()
            .filter(|known| {
                known.kind.name == wish.kind.name
                    && known.version == wish.version
                    && known.condition == wish.condition
            })
            .collect();
        for known in &equal {
            let (is_same, is_orphan) = match (&known.transport, transport) {
                (
                    Transport::Websocket { session: held, .. },
                    Transport::Websocket { session, .. },
                ) => (held == session, !self.sessions.contains_key(held)),
                (Transport::Webhook(held), Transport::Webhook(hook)) => {
                    (held.callback == hook.callback, false)
                }
                (Transport::Conduit(held), Transport::Conduit(id)) => (held == id, false),
                _ => (false, false),
            };
            if is_same || is_orphan {
                let id = Arc::clone(&known.id);
                if is_orphan {
                    self.counters.one("orphan_conflict");
                }
                return Err(Refusal::exists("subscription already exists", &id));
            }
        }
        if equal.len() >= EQUAL_MAX {
            return Err(Refusal::too_many(
                "maximum subscriptions with type and condition exceeded",
            ));
        }
        if let Transport::Websocket { session, .. } = transport {
            if live.iter().filter(|known| known.is_on(session)).count() >= PER_SOCKET_MAX {
                return Err(Refusal::too_many(
                    "number of websocket transports subscriptions exceeded",
                ));
            }
            let mut sockets: Vec<&str> = live
                .iter()
                .filter_map(|known| match &known.transport {
                    Transport::Websocket { session, .. } => Some(&**session),
                    _ => None,
                })
                .filter(|held| **held != **session)
                .collect();
            sockets.sort_unstable();
            sockets.dedup();
            if sockets.len() >= SOCKETS_MAX {
                return Err(Refusal::too_many("number of websocket transports limit exceeded"));
            }
        }
        Ok(())
    }
}
