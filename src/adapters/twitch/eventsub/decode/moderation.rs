//! Who is kept out, by whom we are let in. What is told twice (a ban, by two kinds) changes nothing the second time.

use crate::adapters::twitch::eventsub::fields::Fields;
use crate::domain::audience::happening::What;

use super::{Event, Reading, viewer};

pub(super) fn banned(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let viewer = event.viewer("user")?;
    let until = event.fields.time("ends_at");
    event.tells(What::Banned { viewer, until })?.at(event.fields.time("banned_at")).done()
}

pub(super) fn unbanned(event: &Event<'_>) -> Result<Option<Reading>, String> {
    event.tells(What::Unbanned { viewer: event.viewer("user")? })?.done()
}

/// What a moderator did, if it touches what viewers see; what they did on a channel sharing its chat does not.
pub(super) fn moderated(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let action = event.text("action")?;
    let about = || event.fields.need(&action, Fields::object);
    let what = match action.as_str() {
        "ban" | "timeout" => {
            let about = about()?;
            What::Banned { viewer: viewer(&about, "user")?, until: about.time("expires_at") }
        }
        "unban" | "untimeout" => What::Unbanned { viewer: viewer(&about()?, "user")? },
        "delete" => {
            let about = about()?;
            let message_id = about.need("message_id", Fields::text)?;
            What::MessageDeleted { message_id, viewer_id: about.text("user_id") }
        }
        "clear" => What::ChatCleared,
        _ => return Ok(None),
    };
    event.tells(what)?.done()
}

pub(super) fn shield_mode(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let on = event.verb() == "begin";
    let at = event.fields.time(if on { "started_at" } else { "ended_at" });
    event.tells(What::ShieldMode { on })?.at(at).done()
}

pub(super) fn authorization_granted(event: &Event<'_>) -> Result<Option<Reading>, String> {
    authorization(event, What::AuthorizationGranted)
}

pub(super) fn authorization_revoked(event: &Event<'_>) -> Result<Option<Reading>, String> {
    authorization(event, What::AuthorizationRevoked)
}

/// The channel is the user's own: creators authorise us, and nobody else does.
fn authorization(event: &Event<'_>, what: What) -> Result<Option<Reading>, String> {
    Reading { what, channel: event.text("user_id")?, at: None, business_id: None }.done()
}
