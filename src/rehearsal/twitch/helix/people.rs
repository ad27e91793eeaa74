//! Users, followers, subscribers, and what they granted.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State as Shared};
use serde_json::{Value, json};

use crate::rehearsal::twitch::asked::{self, Asked};
use crate::rehearsal::twitch::refusal::Refusal;
use crate::rehearsal::twitch::stage::Stage;

use super::Caller;

const MANY_MAX: usize = 100;
/// Users of one look at grants.
const GRANTS_MAX: usize = 10;
/// Points of one Tier 1 subscription.
const POINTS_EACH: usize = 1;

/// `GET users[?id=&login=]`; without either, the token's own.
pub(super) async fn users(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let state = stage.state();
    let mut names: Vec<String> =
        asked.all("id").chain(asked.all("login")).map(str::to_owned).collect();
    if names.is_empty() {
        let own = caller.user.clone();
        names.push(own.ok_or_else(|| Refusal::bad("Name id or login, or use a user token."))?);
    }
    if names.len() > MANY_MAX {
        return Err(Refusal::bad("100 users at most."));
    }
    let known = |name: &String| {
        state.channels.iter().find(|channel| channel.who.id == *name || channel.who.login == *name)
    };
    let shown: Vec<Value> = names
        .iter()
        .filter_map(known)
        .map(|channel| {
            json!({
                "id": channel.who.id, "login": channel.who.login, "display_name": channel.who.name,
                "type": "", "broadcaster_type": "partner", "description": "", "profile_image_url": "",
                "offline_image_url": "", "view_count": 0, "created_at": "2019-03-01T12:00:00Z",
            })
        })
        .collect();
    Ok(Json(json!({"data": shown})))
}

/// `GET channels/followers?broadcaster_id=`: without the scope only the total.
pub(super) async fn followers(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let id = asked.need("broadcaster_id")?;
    let mut state = stage.state();
    let missing = || Refusal::missing("The broadcaster was not found.");
    let channel = state.channel(id).ok_or_else(missing)?;
    let may_see = caller.scopes.contains("moderator:read:followers")
        && caller.user.as_deref() == Some(channel.who.id.as_str());
    let wanted = asked.one("user_id");
    let fits = |row: &&Value| may_see && wanted.is_none_or(|id| row["user_id"] == id);
    let shown = channel.followers.iter().filter(fits).cloned().collect();
    let total = channel.followers.len();
    let (page, pagination) = asked::page(shown, asked.first(20, MANY_MAX)?, asked.one("after"))?;
    Ok(Json(json!({"total": total, "data": page, "pagination": pagination})))
}

/// `GET subscriptions?broadcaster_id=`.
pub(super) async fn subscriptions(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let id = asked.need("broadcaster_id")?;
    caller.need_scope_of(id, &["channel:read:subscriptions"])?;
    let mut state = stage.state();
    let missing = || Refusal::missing("The broadcaster was not found.");
    let channel = state.channel(id).ok_or_else(missing)?;
    let wanted: Vec<&str> = asked.all("user_id").collect();
    let fits = |row: &&Value| wanted.is_empty() || wanted.iter().any(|id| row["user_id"] == *id);
    let shown = channel.subscribers.iter().filter(fits).cloned().collect();
    let total = channel.subscribers.len();
    let (page, pagination) = asked::page(shown, asked.first(20, MANY_MAX)?, asked.one("after"))?;
    let points = total * POINTS_EACH;
    Ok(Json(json!({"data": page, "pagination": pagination, "total": total, "points": points})))
}

/// `GET authorization/users?user_id=`, up to 10: who granted what.
pub(super) async fn authorizations(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    caller.need_app()?;
    asked.need("user_id")?;
    let ids: Vec<&str> = asked.all("user_id").collect();
    if ids.len() > GRANTS_MAX {
        return Err(Refusal::bad("10 users at most."));
    }
    let state = stage.state();
    let shown: Vec<Value> = ids
        .iter()
        .map(|id| {
            let who = state.person(id);
            let scopes = state.tokens.granted(&caller.client_id, &who.id);
            json!({
                "user_id": who.id, "user_login": who.login, "user_name": who.name,
                "has_authorized": scopes.is_some(),
                "scopes": scopes.cloned().unwrap_or_default(),
            })
        })
        .collect();
    Ok(Json(json!({"data": shown})))
}
