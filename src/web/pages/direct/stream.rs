//! The stream of changes, as server-sent events.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;

use crate::domain::accounts::Permission;
use crate::domain::audience::channel::ChannelId;
use crate::domain::resources::trigger::Action;
use crate::web::{App, Problem, User, shed};

/// Milliseconds after which a page that lost its stream comes back: each after its own time, so that not all come at once;
/// those of the streamers' console sooner.
const RETRY_MS_MIN: u32 = 1_000;
const RETRY_MS_CONSOLE: u32 = 2_000;
const RETRY_MS_MAX: u32 = 10_000;

/// What the page has shown already.
#[derive(Debug, Deserialize)]
pub(in crate::web::pages) struct Since {
    depuis: Option<i64>,
}

/// `GET /direct/{channel}/flux`: what changes. A reader that comes back with `Last-Event-ID` goes on from there; one that was
/// away too long gets everything anew. Ends when the house closes.
pub(in crate::web::pages) async fn stream(
    State(app): State<App>,
    user: User,
    Path(id): Path<ChannelId>,
    Query(asked): Query<Since>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let is_console = user.may(Permission::MarkMoment);
    if !is_console {
        shed::gives_way(&app, Action::RefuseStreams)?;
    }
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let reader = app.feeds().join(&app, &id, seen.or(asked.depuis));
    let frames = futures::stream::unfold(reader, |reader| async {
        let mut reader = reader?;
        let frame = reader.next().await?;
        Some((Ok::<_, Infallible>(frame), Some(reader)))
    });
    let most = if is_console { RETRY_MS_CONSOLE } else { RETRY_MS_MAX };
    let drawn = app.clock.new_secret();
    let spread = u32::from(u16::from_le_bytes([drawn[0], drawn[1]])) % (most - RETRY_MS_MIN);
    // A line of the first event.
    let retry = Bytes::from(format!("retry: {}\n", RETRY_MS_MIN + spread));
    let frames = futures::stream::iter([Ok(retry)]).chain(frames);
    // Figures come every two seconds at least: no proxy takes this for a connection nobody uses.
    Ok(([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(frames)).into_response())
}
