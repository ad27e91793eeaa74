//! Channel information and the ad schedule.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State as Shared};
use axum::http::StatusCode;
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::rehearsal::twitch::asked::Asked;
use crate::rehearsal::twitch::people::Channel;
use crate::rehearsal::twitch::refusal::Refusal;
use crate::rehearsal::twitch::stage::{Stage, now, rfc3339_seconds};

use super::Caller;

/// Between two ads.
const AD_EVERY: TimeDelta = TimeDelta::minutes(8);
/// What one snooze gains.
const SNOOZE: TimeDelta = TimeDelta::minutes(5);
const TITLE_MAX: usize = 140;
const TAGS_MAX: usize = 10;

/// `GET channels?broadcaster_id=`, up to 100.
pub(super) async fn show(
    Shared(stage): Shared<Arc<Stage>>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    asked.need("broadcaster_id")?;
    let state = stage.state();
    let wanted = |channel: &&Channel| asked.all("broadcaster_id").any(|id| id == channel.who.id);
    let shown: Vec<Value> = state.channels.iter().filter(wanted).map(information).collect();
    Ok(Json(json!({"data": shown})))
}

fn information(channel: &Channel) -> Value {
    json!({
        "broadcaster_id": channel.who.id, "broadcaster_login": channel.who.login,
        "broadcaster_name": channel.who.name, "broadcaster_language": "fr",
        "game_id": channel.category.0, "game_name": channel.category.1, "title": channel.title,
        "delay": 0, "tags": channel.tags, "content_classification_labels": [],
        "is_branded_content": channel.is_branded,
    })
}

/// What shall change.
#[derive(Deserialize)]
pub(super) struct Change {
    title: Option<String>,
    game_id: Option<String>,
    tags: Option<Vec<String>>,
    is_branded_content: Option<bool>,
}

/// `PATCH channels?broadcaster_id=`.
pub(super) async fn change(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
    Json(change): Json<Change>,
) -> Result<StatusCode, Refusal> {
    let id = asked.need("broadcaster_id")?;
    caller.need_scope_of(id, &["channel:manage:broadcast"])?;
    let mut state = stage.state();
    let missing = || Refusal::missing("The broadcaster was not found.");
    let channel = state.channel(id).ok_or_else(missing)?;
    if let Some(title) = change.title {
        if title.is_empty() || title.chars().count() > TITLE_MAX {
            return Err(Refusal::bad("The title must have 1 to 140 characters."));
        }
        channel.title = title;
    }
    if let Some(tags) = change.tags {
        if tags.len() > TAGS_MAX {
            return Err(Refusal::bad("10 tags at most."));
        }
        channel.tags = tags;
    }
    if let Some(game) = change.game_id {
        let name =
            if game == "509658" { "Just Chatting".to_owned() } else { format!("Game {game}") };
        channel.category = (game, name);
    }
    channel.is_branded = change.is_branded_content.unwrap_or(channel.is_branded);
    let who = channel.who.clone();
    state.tell_update(&who);
    Ok(StatusCode::NO_CONTENT)
}

/// `GET channels/ads?broadcaster_id=`.
pub(super) async fn ads(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let id = asked.need("broadcaster_id")?;
    caller.need_scope_of(id, &["channel:read:ads"])?;
    let mut state = stage.state();
    let missing = || Refusal::missing("The broadcaster was not found.");
    let channel = state.channel(id).ok_or_else(missing)?;
    let next = channel
        .on_air
        .as_ref()
        .map(|on_air| channel.ad.last_at.unwrap_or(on_air.started_at) + AD_EVERY);
    let seconds =
        |time: Option<chrono::DateTime<chrono::Utc>>| time.map_or(0, |time| time.timestamp());
    Ok(Json(json!({"data": [{
        "next_ad_at": seconds(next), "last_ad_at": seconds(channel.ad.last_at), "duration": 60,
        "preroll_free_time": 0, "snooze_count": channel.ad.snoozes, "snooze_refresh_at": 0,
    }]})))
}

/// `POST channels/ads/schedule/snooze?broadcaster_id=`.
pub(super) async fn snooze(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let id = asked.need("broadcaster_id")?;
    caller.need_scope_of(id, &["channel:manage:ads"])?;
    let mut state = stage.state();
    let missing = || Refusal::missing("The broadcaster was not found.");
    let channel = state.channel(id).ok_or_else(missing)?;
    let not_live = || Refusal::bad("The broadcaster is not live.");
    let started_at = channel.on_air.as_ref().ok_or_else(not_live)?.started_at;
    if channel.ad.snoozes == 0 {
        return Err(Refusal::too_many("The broadcaster has no snoozes left."));
    }
    channel.ad.snoozes -= 1;
    let last = channel.ad.last_at.unwrap_or(started_at) + SNOOZE;
    channel.ad.last_at = Some(last);
    Ok(Json(json!({"data": [{
        "snooze_count": channel.ad.snoozes, "snooze_refresh_at": rfc3339_seconds(now() + TimeDelta::hours(1)),
        "next_ad_at": (last + AD_EVERY).timestamp(),
    }]})))
}

/// A commercial to run.
#[derive(Deserialize)]
pub(super) struct CommercialWish {
    broadcaster_id: String,
    length: u32,
}

/// `POST channels/commercial`.
pub(super) async fn commercial(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    Json(wish): Json<CommercialWish>,
) -> Result<Json<Value>, Refusal> {
    caller.need_scope_of(&wish.broadcaster_id, &["channel:edit:commercial"])?;
    let mut state = stage.state();
    let missing = || Refusal::missing("The broadcaster was not found.");
    let channel = state.channel(&wish.broadcaster_id).ok_or_else(missing)?;
    if channel.on_air.is_none() {
        return Err(Refusal::bad("The broadcaster is not live."));
    }
    let last = channel.ad.last_at;
    if last.is_some_and(|last| now() - last < AD_EVERY) {
        return Err(Refusal::too_many("8 minutes must pass between two commercials."));
    }
    let (who, length) = (channel.who.clone(), wish.length.clamp(1, 180));
    state.ad_break(&who, length);
    Ok(Json(
        json!({"data": [{"length": length, "message": "", "retry_after": AD_EVERY.num_seconds()}]}),
    ))
}
