//! `/control/…`: the same handle for another process, as JSON over loopback.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::State as Shared;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::act::Act;
use super::asked::Asked;
use super::catalog;
use super::faults::Faults;
use super::refusal::Refusal;
use super::stage::Stage;

/// Ledger entries of one answer at most.
const ENTRIES_MAX: usize = 10_000;

/// The paths below `/control`.
pub(super) fn routes() -> Router<Arc<Stage>> {
    Router::new()
        .route("/act", post(act))
        .route("/faults", get(faults).put(set_faults))
        .route("/counters", get(counters))
        .route("/ledger", get(ledger))
        .route("/sockets", get(sockets))
        .route("/channels", get(channels))
        .route("/tokens", post(tokens))
}

/// One act, now or later.
#[derive(Deserialize)]
struct Order {
    #[serde(default)]
    after_ms: u64,
    #[serde(flatten)]
    act: Value,
}

async fn act(
    Shared(stage): Shared<Arc<Stage>>,
    Json(order): Json<Order>,
) -> Result<Json<Value>, Refusal> {
    let act: Act = serde_json::from_value(order.act)
        .map_err(|error| Refusal::bad(format!("this is no act of a rehearsal: {error}")))?;
    if order.after_ms > 0 {
        stage.act_after(Duration::from_millis(order.after_ms), act);
        return Ok(Json(json!({"ids": []})));
    }
    let ids = stage.act(act).map_err(|error| Refusal::bad(error.to_string()))?;
    Ok(Json(json!({"ids": ids})))
}

async fn faults(Shared(stage): Shared<Arc<Stage>>) -> Json<Faults> {
    Json(stage.state().faults.clone())
}

async fn set_faults(Shared(stage): Shared<Arc<Stage>>, Json(faults): Json<Faults>) -> Json<Faults> {
    stage.state().faults = faults.clone();
    Json(faults)
}

async fn counters(Shared(stage): Shared<Arc<Stage>>) -> Json<Value> {
    Json(json!(stage.state().counters.all()))
}

/// `GET ledger[?from=N]`: entries from number N on, and where to go on.
async fn ledger(Shared(stage): Shared<Arc<Stage>>, asked: Asked) -> Result<Json<Value>, Refusal> {
    let from: usize = match asked.one("from") {
        None => 0,
        Some(text) => text.parse().map_err(|_| Refusal::bad("from is the number of an entry"))?,
    };
    let state = stage.state();
    let entries = state.ledger.entries();
    let page = entries.get(from..entries.len().min(from + ENTRIES_MAX)).unwrap_or_default();
    Ok(Json(json!({"entries": page, "next": from + page.len(), "total": entries.len()})))
}

async fn sockets(Shared(stage): Shared<Arc<Stage>>) -> Json<Value> {
    let state = stage.state();
    let shown: Vec<Value> = state
        .sessions
        .values()
        .map(|session| {
            let carried = state.subscriptions.iter().filter(|known| known.is_on(&session.id));
            json!({
                "session_id": *session.id, "user_id": session.owner.as_ref().map(|(_, user)| user),
                "connected_at": session.connected_at, "is_replaced": session.is_replaced,
                "subscriptions": carried.filter(|known| known.is_enabled()).count(),
            })
        })
        .collect();
    Json(json!({"sockets": shown}))
}

async fn channels(Shared(stage): Shared<Arc<Stage>>) -> Json<Value> {
    let state = stage.state();
    let shown: Vec<Value> = state
        .channels
        .iter()
        .map(|channel| {
            json!({
                "id": channel.who.id, "login": channel.who.login, "name": channel.who.name,
                "is_live": channel.on_air.is_some(),
            })
        })
        .collect();
    Json(json!({"channels": shown}))
}

/// A token without a browser.
#[derive(Deserialize)]
struct TokenWish {
    user: String,
    /// Every scope when left out.
    #[serde(default)]
    scopes: Option<Vec<String>>,
}

async fn tokens(
    Shared(stage): Shared<Arc<Stage>>,
    Json(wish): Json<TokenWish>,
) -> Result<Json<Value>, Refusal> {
    let scopes = wish.scopes.unwrap_or_else(catalog::every_scope).into_iter().collect();
    let mut state = stage.state();
    let missing = || Refusal::missing("nobody of that name has a channel in this rehearsal");
    let user = state.channel(&wish.user).ok_or_else(missing)?.who.id.clone();
    let pair = state.grant(&stage.settings.client_id, &user, &scopes, false);
    Ok(Json(json!({
        "access_token": pair.access, "refresh_token": pair.refresh, "scope": pair.scopes,
        "expires_in": pair.expires_in_s, "user_id": user, "client_id": stage.settings.client_id,
        "client_secret": stage.settings.client_secret,
    })))
}
