//! The chat: messages, what moderators take out of it, and the lines the platform writes into it.

use crate::adapters::twitch::eventsub::fields::Fields;
use crate::domain::audience::happening::{Chat, What};

use super::{Event, Reading};

/// Badges of those whose word counts as the channel's own.
const TRUSTED_BADGES: [&str; 3] = ["broadcaster", "moderator", "lead_moderator"];

/// Fragments, emotes and replies are not looked at: `message.text` holds the whole text.
pub(super) fn message(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let channel = event.channel()?;
    let viewer = event.viewer("chatter_user")?;
    let message_id = event.text("message_id")?;
    let message = event.fields.need("message", Fields::object)?;
    let cheer = event.fields.object("cheer");
    // A copy carries the badges of this channel in `badges`, those of the original's in `source_badges`.
    let trusted = viewer.id == channel
        || event.fields.objects("badges").iter().any(|badge| {
            badge.text("set_id").is_some_and(|set| TRUSTED_BADGES.contains(&set.as_str()))
        });
    let what = What::Chat(Chat {
        viewer,
        text: message.need("text", Fields::text)?,
        trusted,
        bits: cheer.and_then(|cheer| cheer.number("bits")).unwrap_or(0),
        copied_from: copied_from(event, &channel),
        message_id: message_id.clone(),
    });
    event.tells(what)?.once(written(event, message_id)).done()
}

pub(super) fn message_deleted(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let message_id = event.text("message_id")?;
    let viewer_id = event.fields.text("target_user_id");
    event.tells(What::MessageDeleted { message_id, viewer_id })?.done()
}

pub(super) fn viewer_silenced(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let viewer_id = event.text("target_user_id")?;
    event.tells(What::ViewerSilenced { viewer_id })?.done()
}

pub(super) fn cleared(event: &Event<'_>) -> Result<Option<Reading>, String> {
    event.tells(What::ChatCleared)?.done()
}

/// Only what every notice has is read: each year brings new kinds, and none is counted.
pub(super) fn notice(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let message_id = event.text("message_id")?;
    let message = event.fields.object("message");
    let anonymous = event.fields.flag("chatter_is_anonymous").unwrap_or(false);
    let viewer = event.viewer("chatter_user").ok().filter(|_| !anonymous);
    let what = What::Notice {
        kind: event.text("notice_type")?,
        viewer,
        message_id: message_id.clone(),
        text: message.and_then(|message| message.text("text")).unwrap_or_default(),
        copied_from: copied_from(event, &event.channel()?),
    };
    event.tells(what)?.once(written(event, message_id)).done()
}

/// The channel it was written on, if it is another.
fn copied_from(event: &Event<'_>, channel: &str) -> Option<String> {
    event.fields.text("source_broadcaster_user_id").filter(|source| source != channel)
}

/// A copy on another channel has an id of its own; the original's is the same on all of them.
fn written(event: &Event<'_>, message_id: String) -> String {
    let source = event.fields.text("source_message_id").filter(|id| !id.is_empty());
    format!("{}:{}", event.of.kind, source.unwrap_or(message_id))
}
