//! Polls by call.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State as Shared};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::rehearsal::twitch::asked::{self, Asked};
use crate::rehearsal::twitch::polls::run_poll;
use crate::rehearsal::twitch::refusal::Refusal;
use crate::rehearsal::twitch::stage::Stage;

use super::Caller;

const MANAGE: &str = "channel:manage:polls";

/// `GET polls?broadcaster_id=[&id=]`.
pub(super) async fn list(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let id = asked.need("broadcaster_id")?;
    caller.need_scope_of(id, &["channel:read:polls", MANAGE])?;
    let mut state = stage.state();
    let missing = || Refusal::missing("The broadcaster was not found.");
    let channel = state.channel(id).ok_or_else(missing)?;
    let ids: Vec<&str> = asked.all("id").collect();
    let fits = |poll: &&Value| ids.is_empty() || ids.iter().any(|id| poll["id"] == *id);
    let shown: Vec<Value> = channel.polls.iter().filter(fits).cloned().collect();
    if !ids.is_empty() && shown.is_empty() {
        return Err(Refusal::missing("The poll was not found."));
    }
    let (page, pagination) = asked::page(shown, asked.first(20, 20)?, asked.one("after"))?;
    Ok(Json(json!({"data": page, "pagination": pagination})))
}

/// A poll to begin.
#[derive(Deserialize)]
pub(super) struct PollWish {
    broadcaster_id: String,
    title: String,
    choices: Vec<ChoiceWish>,
    duration: u32,
}

#[derive(Deserialize)]
struct ChoiceWish {
    title: String,
}

/// `POST polls`.
pub(super) async fn create(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    Json(wish): Json<PollWish>,
) -> Result<Json<Value>, Refusal> {
    caller.need_scope_of(&wish.broadcaster_id, &[MANAGE])?;
    let fits = (1..=60).contains(&wish.title.chars().count())
        && (2..=5).contains(&wish.choices.len())
        && wish.choices.iter().all(|choice| (1..=25).contains(&choice.title.chars().count()))
        && (15..=1800).contains(&wish.duration);
    if !fits {
        return Err(Refusal::bad(
            "A poll has a title of 1 to 60 characters, 2 to 5 choices of 1 to 25, and lasts 15 to 1800 seconds.",
        ));
    }
    let mut state = stage.state();
    let missing = || Refusal::missing("The broadcaster was not found.");
    let channel = state.channel(&wish.broadcaster_id).ok_or_else(missing)?;
    if channel.polls.iter().any(|poll| poll["status"] == "ACTIVE") {
        return Err(Refusal::bad("The broadcaster already has an active poll."));
    }
    let who = channel.who.clone();
    let titles: Vec<String> = wish.choices.into_iter().map(|choice| choice.title).collect();
    let poll = state.begin_poll(&who, &wish.title, &titles, wish.duration);
    run_poll(&stage, who, &poll);
    Ok(Json(json!({"data": [poll]})))
}

/// A poll to end.
#[derive(Deserialize)]
pub(super) struct EndWish {
    broadcaster_id: String,
    id: String,
    status: String,
}

/// `PATCH polls`.
pub(super) async fn end(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    Json(wish): Json<EndWish>,
) -> Result<Json<Value>, Refusal> {
    caller.need_scope_of(&wish.broadcaster_id, &[MANAGE])?;
    if !["TERMINATED", "ARCHIVED"].contains(&wish.status.as_str()) {
        return Err(Refusal::bad("The status must be TERMINATED or ARCHIVED."));
    }
    let mut state = stage.state();
    let who = state.person(&wish.broadcaster_id);
    let ended = state.end_poll(&who, &wish.id, &wish.status);
    let poll = ended.ok_or_else(|| Refusal::bad("The poll is not active."))?;
    Ok(Json(json!({"data": [poll]})))
}
