//! Streams, their markers and videos, and raids.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State as Shared};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::rehearsal::twitch::asked::{self, Asked};
use crate::rehearsal::twitch::happenings::duration_text;
use crate::rehearsal::twitch::people::Channel;
use crate::rehearsal::twitch::refusal::Refusal;
use crate::rehearsal::twitch::stage::{Stage, now, rfc3339_seconds};

use super::Caller;

/// Users or videos of one request at most, and objects on a page.
const MANY_MAX: usize = 100;
/// Characters of a marker's description at most.
const DESCRIPTION_MAX: usize = 140;
/// Seconds from asking for a raid to its start.
const RAID_AFTER_S: u64 = 90;

/// `GET streams`.
pub(super) async fn streams(
    Shared(stage): Shared<Arc<Stage>>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let names: Vec<&str> = asked.all("user_id").chain(asked.all("user_login")).collect();
    if names.len() > MANY_MAX {
        return Err(Refusal::bad("The number of user_id and user_login must be 100 at most."));
    }
    let state = stage.state();
    let wanted = |channel: &&Channel| {
        names.is_empty()
            || names.iter().any(|name| *name == channel.who.id || *name == channel.who.login)
    };
    let shown = state.channels.iter().filter(wanted).filter_map(stream).collect();
    let (page, pagination) = asked::page(shown, asked.first(20, MANY_MAX)?, asked.one("after"))?;
    Ok(Json(json!({"data": page, "pagination": pagination})))
}

fn stream(channel: &Channel) -> Option<Value> {
    let on_air = channel.on_air.as_ref()?;
    Some(json!({
        "id": on_air.stream_id, "user_id": channel.who.id, "user_login": channel.who.login,
        "user_name": channel.who.name, "game_id": channel.category.0, "game_name": channel.category.1,
        "type": "live", "title": channel.title, "tags": channel.tags, "viewer_count": on_air.viewers,
        "started_at": rfc3339_seconds(on_air.started_at), "language": "fr", "thumbnail_url": "",
        "tag_ids": [], "is_mature": false,
    }))
}

/// A marker to make.
#[derive(Deserialize)]
pub(super) struct MarkerWish {
    user_id: String,
    #[serde(default)]
    description: String,
}

/// `POST streams/markers`.
pub(super) async fn mark(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    Json(wish): Json<MarkerWish>,
) -> Result<Json<Value>, Refusal> {
    caller.need_scope_of(&wish.user_id, &["channel:manage:broadcast"])?;
    if wish.description.chars().count() > DESCRIPTION_MAX {
        return Err(Refusal::bad("The description must be 140 characters at most."));
    }
    let mut state = stage.state();
    let not_live = || Refusal::missing("The user is not streaming live.");
    let channel = state.channel(&wish.user_id).ok_or_else(not_live)?;
    let on_air = channel.on_air.clone().ok_or_else(not_live)?;
    let position = (now() - on_air.started_at).num_seconds();
    let marker = json!({
        "id": Uuid::new_v4().simple().to_string(), "created_at": rfc3339_seconds(now()),
        "position_seconds": position, "description": wish.description,
    });
    let mut kept = marker.clone();
    kept["video_id"] = on_air.video_id.into();
    channel.markers.insert(0, kept);
    Ok(Json(json!({"data": [marker]})))
}

/// `GET streams/markers`, of the latest or a named video.
pub(super) async fn markers(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let own = caller.need_user()?.to_owned();
    caller.need_scope_of(&own, &["user:read:broadcast", "channel:manage:broadcast"])?;
    let mut state = stage.state();
    let channel = state.channel(&own).ok_or_else(|| Refusal::missing("The user was not found."))?;
    let latest = channel.videos.first().and_then(|video| video["id"].as_str());
    let Some(video_id) = asked.one("video_id").or(latest) else {
        return Ok(Json(json!({"data": [], "pagination": {}})));
    };
    let of_video = channel.markers.iter().filter(|marker| marker["video_id"] == video_id);
    let shown = of_video.cloned().collect();
    let (page, pagination) = asked::page(shown, asked.first(20, MANY_MAX)?, asked.one("after"))?;
    let who = &channel.who;
    Ok(Json(json!({"data": [{
        "user_id": who.id, "user_login": who.login, "user_name": who.name,
        "videos": [{"video_id": video_id, "markers": page}],
    }], "pagination": pagination})))
}

/// `GET videos`.
pub(super) async fn videos(
    Shared(stage): Shared<Arc<Stage>>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let ids: Vec<&str> = asked.all("id").collect();
    let user = asked.one("user_id");
    if ids.is_empty() == user.is_none() {
        return Err(Refusal::bad("Name either id or user_id."));
    }
    let kind = asked.one("type").filter(|kind| *kind != "all");
    let state = stage.state();
    let mut shown = Vec::new();
    for channel in
        state.channels.iter().filter(|channel| user.is_none_or(|user| user == channel.who.id))
    {
        for video in &channel.videos {
            let is_wanted = ids.is_empty() || ids.iter().any(|id| video["id"] == *id);
            if !is_wanted || kind.is_some_and(|kind| video["type"] != kind) {
                continue;
            }
            let mut video = video.clone();
            if let Some(on_air) =
                channel.on_air.as_ref().filter(|on_air| video["id"] == on_air.video_id.as_str())
            {
                video["duration"] = duration_text((now() - on_air.started_at).num_seconds()).into();
            }
            shown.push(video);
        }
    }
    if !ids.is_empty() && shown.is_empty() {
        return Err(Refusal::missing("The video was not found."));
    }
    let (page, pagination) = asked::page(shown, asked.first(20, MANY_MAX)?, asked.one("after"))?;
    Ok(Json(json!({"data": page, "pagination": pagination})))
}

/// `POST raids?from_broadcaster_id=&to_broadcaster_id=`: the raid starts after 90 s.
pub(super) async fn raid(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let from = asked.need("from_broadcaster_id")?.to_owned();
    let to = asked.need("to_broadcaster_id")?.to_owned();
    caller.need_scope_of(&from, &["channel:manage:raids"])?;
    if from == to {
        return Err(Refusal::bad("The broadcaster may not raid themselves."));
    }
    let mut state = stage.state();
    let target = state.person(&to);
    let missing = || Refusal::missing("The broadcaster was not found.");
    let channel = state.channel(&from).ok_or_else(missing)?;
    let on_air = channel.on_air.as_ref();
    let viewers = on_air.ok_or_else(|| Refusal::bad("The broadcaster is not live."))?.viewers;
    if channel.raid.is_some() {
        return Err(Refusal::new(StatusCode::CONFLICT, "The broadcaster is already raiding."));
    }
    channel.raid = Some(to);
    let raider = channel.who.clone();
    drop(state);
    let waiting = Arc::clone(&stage);
    tokio::spawn(async move {
        let wait = tokio::time::sleep(waiting.seconds(RAID_AFTER_S));
        if waiting.stop.run_until_cancelled(wait).await.is_none() {
            return;
        }
        let mut state = waiting.state();
        let still = state.channel(&raider.id).and_then(|channel| channel.raid.take());
        if still.is_some() {
            state.raid(&target, &raider, viewers);
        }
    });
    Ok(Json(json!({"data": [{"created_at": rfc3339_seconds(now()), "is_mature": false}]})))
}

/// `DELETE raids?broadcaster_id=`.
pub(super) async fn cancel_raid(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<StatusCode, Refusal> {
    let id = asked.need("broadcaster_id")?;
    caller.need_scope_of(id, &["channel:manage:raids"])?;
    let mut state = stage.state();
    let pending = state.channel(id).and_then(|channel| channel.raid.take());
    pending.ok_or_else(|| Refusal::missing("The broadcaster does not have a pending raid."))?;
    Ok(StatusCode::NO_CONTENT)
}
