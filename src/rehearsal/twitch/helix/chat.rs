//! Messages and announcements that are sent by call.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Extension, State as Shared};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::rehearsal::twitch::asked::Asked;
use crate::rehearsal::twitch::happenings::Line;
use crate::rehearsal::twitch::refusal::Refusal;
use crate::rehearsal::twitch::stage::Stage;

use super::Caller;

const TEXT_MAX: usize = 500;
/// Messages of one sender in 30 s: ordinary, and for the broadcaster.
const SENT_MAX: (usize, usize) = (20, 100);
const SENT_WITHIN_S: u64 = 30;

/// A message to send.
#[derive(Deserialize)]
pub(super) struct MessageWish {
    broadcaster_id: String,
    sender_id: String,
    message: String,
    #[serde(default)]
    for_source_only: Option<bool>,
}

/// `POST chat/messages`.
pub(super) async fn send(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    Json(wish): Json<MessageWish>,
) -> Result<Json<Value>, Refusal> {
    let mut state = stage.state();
    if caller.user.is_some() {
        caller.need_scope_of(&wish.sender_id, &["user:write:chat"])?;
        if wish.for_source_only.is_some() {
            return Err(Refusal::bad("for_source_only needs an app access token."));
        }
    } else {
        let granted = |user: &str, scope| state.tokens.has_scope(&caller.client_id, user, &[scope]);
        let may = granted(&wish.sender_id, "user:write:chat")
            && granted(&wish.sender_id, "user:bot")
            && (wish.sender_id == wish.broadcaster_id
                || granted(&wish.broadcaster_id, "channel:bot"));
        if !may {
            return Err(Refusal::unauthorized(
                "Missing scope: user:write:chat, user:bot, channel:bot",
            ));
        }
    }
    if wish.message.is_empty() {
        return Err(Refusal::bad("The message must not be empty."));
    }
    if wish.message.chars().count() > TEXT_MAX {
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "The message is too large."));
    }
    let sender = state.person(&wish.sender_id);
    let window = stage.seconds(SENT_WITHIN_S);
    let missing = || Refusal::missing("The broadcaster was not found.");
    let channel = state.channel(&wish.broadcaster_id).ok_or_else(missing)?;
    let who = channel.who.clone();
    channel.sent.retain(|(_, at)| at.elapsed() < window);
    let sent = channel.sent.iter().filter(|(id, _)| *id == sender.id).count();
    if sent >= if sender.id == who.id { SENT_MAX.1 } else { SENT_MAX.0 } {
        return Err(Refusal::too_many("The sender wrote too much in too short a time."));
    }
    channel.sent.push((sender.id.clone(), Instant::now()));
    let message_id = state.say(&who, &Line::plain(&sender, &wish.message));
    Ok(Json(json!({"data": [{"message_id": message_id, "is_sent": true, "drop_reason": null}]})))
}

/// An announcement to make.
#[derive(Deserialize)]
pub(super) struct AnnouncementWish {
    message: String,
    #[serde(default)]
    color: Option<String>,
}

/// `POST chat/announcements?broadcaster_id=&moderator_id=`.
pub(super) async fn announce(
    Shared(stage): Shared<Arc<Stage>>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
    Json(wish): Json<AnnouncementWish>,
) -> Result<StatusCode, Refusal> {
    let moderator = asked.need("moderator_id")?;
    caller.need_scope_of(moderator, &["moderator:manage:announcements"])?;
    if wish.message.is_empty() || wish.message.chars().count() > TEXT_MAX {
        return Err(Refusal::bad("The message must have 1 to 500 characters."));
    }
    let mut state = stage.state();
    let who = state.person(moderator);
    let missing = || Refusal::missing("The broadcaster was not found.");
    let channel = state.channel(asked.need("broadcaster_id")?).ok_or_else(missing)?.who.clone();
    let color = wish.color.unwrap_or_else(|| "PRIMARY".into());
    state.announce(&channel, &who, &wish.message, &color);
    Ok(StatusCode::NO_CONTENT)
}
