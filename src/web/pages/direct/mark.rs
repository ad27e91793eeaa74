//! The big button: this was good.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Serialize;

use crate::domain::audience::channel::ChannelId;
use crate::web::pages::french::timecode;
use crate::web::{App, MaybeUser, Problem, Wants};

/// The answer to a mark.
#[derive(Debug, Serialize)]
struct Marked {
    /// Milliseconds from the live's start.
    offset_ms: i64,
    at: String,
}

/// `POST /direct/{channel}/marque`: this was good. Twitch gets a marker too, in its own time.
pub(in crate::web::pages) async fn mark(
    State(app): State<App>,
    MaybeUser(user): MaybeUser,
    Path(id): Path<ChannelId>,
    wants: Wants,
) -> Result<Response, Problem> {
    // Nobody signed in, and let in: a key of a Stream Deck.
    let wants = if user.is_some() { wants } else { Wants::Json };
    let by = user.map(|user| user.person.id);
    let mark = app.audience.mark(&id, app.clock.now(), by).await?;
    let Some(mark) = mark else {
        return Err(Problem::conflict("La chaîne n'est pas en direct : il n'y a rien à marquer."));
    };
    app.boards.marked(mark);
    let (channels, channel) = (app.channels.clone(), id.clone());
    tokio::spawn(async move {
        if let Err(error) = channels.mark(&channel, "SPARK").await {
            tracing::info!(%channel, %error, "Twitch got no marker");
        }
    });
    Ok(match wants {
        Wants::Json => {
            let at = timecode(mark.offset_ms);
            Json(Marked { offset_ms: mark.offset_ms, at }).into_response()
        }
        Wants::Page => Redirect::to(&format!("/direct/{id}?dit=moment-marque")).into_response(),
    })
}
