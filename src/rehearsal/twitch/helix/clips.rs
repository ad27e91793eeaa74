//! Clips: of the running stream, out of a video, and their downloads.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::rehearsal::twitch::asked::{self, Asked};
use crate::rehearsal::twitch::people::{Channel, Person};
use crate::rehearsal::twitch::refusal::Refusal;
use crate::rehearsal::twitch::stage::{Stage, now, rfc3339_seconds};

use super::Caller;

/// Bounds of a clip's length, in seconds, and the usual one.
const SECONDS: std::ops::RangeInclusive<f64> = 5.0..=60.0;
const SECONDS_USUAL: f64 = 30.0;
/// What a clip of the running stream reaches behind the call, in seconds.
const AFTER_CALL_S: i64 = 5;
/// Twitch's seconds until Get Clips shows a new clip.
const READY_AFTER_S: u64 = 4;
const IDS_MAX: usize = 100;
const DOWNLOADS_MAX: usize = 10;

fn seconds(asked: &Asked) -> Result<f64, Refusal> {
    let Some(text) = asked.one("duration") else { return Ok(SECONDS_USUAL) };
    let seconds = text.parse().ok().filter(|seconds| SECONDS.contains(seconds));
    seconds.ok_or_else(|| Refusal::bad("The duration must be 5 to 60 seconds."))
}

/// `POST clips?broadcaster_id=[&title=&duration=]`.
pub(super) async fn create(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let creator = caller.need_user()?;
    if !caller.scopes.contains("clips:edit") {
        return Err(Refusal::unauthorized("Missing scope: clips:edit"));
    }
    let id = asked.need("broadcaster_id")?;
    let (duration, title) = (seconds(&asked)?, asked.one("title"));
    let mut state = stage.state();
    let creator = state.person(creator);
    let not_live = || Refusal::missing("Clipping is not possible for an offline channel.");
    let channel = state.channel(id).ok_or_else(not_live)?;
    let on_air = channel.on_air.clone().ok_or_else(not_live)?;
    let end = (now() - on_air.started_at).num_seconds() + AFTER_CALL_S;
    let offset = (end as f64 - duration).max(0.0) as i64;
    let title = title.unwrap_or(&channel.title).to_owned();
    let clip = clip(channel, &creator, &on_air.video_id, &title, offset, duration);
    Ok(enter(&stage, channel, clip))
}

/// `POST videos/clips`: `vod_offset` is the END of the clip.
pub(super) async fn create_from_video(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let id = asked.need("broadcaster_id")?;
    let editor = asked.need("editor_id")?;
    let video_id = asked.need("vod_id")?;
    let title = asked.need("title")?;
    let mut state = stage.state();
    allow_clips(&state.tokens, &caller, id, editor)?;
    let duration = seconds(&asked)?;
    let end: i64 = asked
        .need("vod_offset")?
        .parse()
        .map_err(|_| Refusal::bad("The parameter \"vod_offset\" must be whole seconds."))?;
    if (end as f64) < duration {
        return Err(Refusal::bad(
            "vod_offset is the end of the clip: it must be duration at least.",
        ));
    }
    let editor = state.person(editor);
    let missing = || Refusal::missing("The video was not found.");
    let channel = state.channel(id).ok_or_else(missing)?;
    if !channel.videos.iter().any(|video| video["id"] == video_id) {
        return Err(missing());
    }
    let clip = clip(channel, &editor, video_id, title, end - duration as i64, duration);
    Ok(enter(&stage, channel, clip))
}

/// Editors' calls take a user token with the scope, or an app token once the editor granted it.
fn allow_clips(
    tokens: &crate::rehearsal::twitch::tokens::Tokens,
    caller: &Caller,
    broadcaster: &str,
    editor: &str,
) -> Result<(), Refusal> {
    const ANY: [&str; 2] = ["editor:manage:clips", "channel:manage:clips"];
    let allowed = match &caller.user {
        Some(user) => user == editor && ANY.iter().any(|scope| caller.scopes.contains(*scope)),
        None => tokens.has_scope(&caller.client_id, editor, &ANY),
    };
    if !allowed {
        return Err(Refusal::unauthorized(
            "Missing scope: editor:manage:clips or channel:manage:clips",
        ));
    }
    if editor != broadcaster {
        return Err(Refusal::forbidden("The user is not an editor of the broadcaster."));
    }
    Ok(())
}

fn clip(
    channel: &Channel,
    creator: &Person,
    video_id: &str,
    title: &str,
    offset: i64,
    duration: f64,
) -> Value {
    let id = format!("Pretend{}", Uuid::new_v4().simple());
    json!({
        "id": id, "url": "", "embed_url": "", "broadcaster_id": channel.who.id,
        "broadcaster_name": channel.who.name, "creator_id": creator.id, "creator_name": creator.name,
        "video_id": video_id, "game_id": channel.category.0, "language": "fr", "title": title,
        "view_count": 0, "created_at": rfc3339_seconds(now()), "thumbnail_url": "", "duration": duration,
        "vod_offset": offset, "is_featured": false,
    })
}

/// Answers at once; the clip itself is there a little later.
fn enter(stage: &Arc<Stage>, channel: &Channel, clip: Value) -> Response {
    let answer = json!({"data": [{
        "id": clip["id"],
        "edit_url": format!("http://{}/clips/{}/edit", stage.address, clip["id"].as_str().unwrap_or_default()),
    }]});
    let (stage, broadcaster) = (Arc::clone(stage), channel.who.id.clone());
    tokio::spawn(async move {
        let wait = tokio::time::sleep(stage.seconds(READY_AFTER_S));
        if stage.stop.run_until_cancelled(wait).await.is_some()
            && let Some(channel) = stage.state().channel(&broadcaster)
        {
            channel.clips.insert(0, clip);
        }
    });
    (StatusCode::ACCEPTED, Json(answer)).into_response()
}

/// `GET clips` by broadcaster, game or ids.
pub(super) async fn list(
    Shared(stage): Shared<Arc<Stage>>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let ids: Vec<&str> = asked.all("id").collect();
    let (broadcaster, game) = (asked.one("broadcaster_id"), asked.one("game_id"));
    let named = usize::from(!ids.is_empty())
        + usize::from(broadcaster.is_some())
        + usize::from(game.is_some());
    if named != 1 || ids.len() > IDS_MAX {
        return Err(Refusal::bad("Name one of broadcaster_id, game_id, or up to 100 id."));
    }
    let from = asked.one("started_at").unwrap_or_default();
    let week_later = chrono::DateTime::parse_from_rfc3339(from)
        .map(|from| rfc3339_seconds(from.to_utc() + TimeDelta::weeks(1)));
    let until = asked.one("ended_at").map(str::to_owned).or_else(|| week_later.ok());
    let state = stage.state();
    let clips = state.channels.iter().flat_map(|channel| &channel.clips);
    let fits = |clip: &&Value| {
        let created = clip["created_at"].as_str().unwrap_or_default();
        (ids.is_empty() || ids.iter().any(|id| clip["id"] == *id))
            && broadcaster.is_none_or(|id| clip["broadcaster_id"] == id)
            && game.is_none_or(|id| clip["game_id"] == id)
            && created >= from
            && until.as_deref().is_none_or(|until| from.is_empty() || created <= until)
    };
    let shown = clips.filter(fits).cloned().collect();
    let (page, pagination) = asked::page(shown, asked.first(20, 100)?, asked.one("after"))?;
    Ok(Json(json!({"data": page, "pagination": pagination})))
}

/// `GET clips/downloads`.
pub(super) async fn downloads(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let id = asked.need("broadcaster_id")?;
    let editor = asked.need("editor_id")?;
    asked.need("clip_id")?;
    let ids: Vec<&str> = asked.all("clip_id").collect();
    if ids.len() > DOWNLOADS_MAX {
        return Err(Refusal::bad("10 clip_id at most."));
    }
    let mut state = stage.state();
    allow_clips(&state.tokens, &caller, id, editor)?;
    let channel =
        state.channel(id).ok_or_else(|| Refusal::missing("The broadcaster was not found."))?;
    let known = |clip_id: &&&str| channel.clips.iter().any(|clip| clip["id"] == **clip_id);
    let shown: Vec<Value> = ids
        .iter()
        .filter(known)
        .map(|clip_id| {
            json!({
                "clip_id": clip_id, "portrait_download_url": null,
                "landscape_download_url": format!("http://{}/files/{clip_id}.mp4", stage.address),
            })
        })
        .collect();
    Ok(Json(json!({"data": shown})))
}

/// `GET /files/{name}`: the film that stands for every clip, if the rehearsal was given one.
pub(in crate::rehearsal::twitch) async fn film(
    Shared(stage): Shared<Arc<Stage>>,
    Path(_name): Path<String>,
) -> Result<Response, Refusal> {
    let file = stage.settings.clip_film.as_ref();
    let file =
        file.ok_or_else(|| Refusal::missing("this rehearsal was given no film for its clips"))?;
    let bytes = tokio::fs::read(file)
        .await
        .map_err(|error| Refusal::missing(format!("cannot read the clips' film: {error}")))?;
    Ok(([(header::CONTENT_TYPE, "video/mp4")], bytes).into_response())
}
