//! The stream of changes, as server-sent events.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::domain::audience::channel::ChannelId;
use crate::web::{App, User};

/// What the page has shown already.
#[derive(Debug, Deserialize)]
pub(in crate::web::pages) struct Since {
    depuis: Option<i64>,
}

/// `GET /direct/{channel}/flux`: what changes. A reader that comes back with `Last-Event-ID` goes on from there; one that was
/// away too long gets everything anew. Ends when the house closes.
pub(in crate::web::pages) async fn stream(
    State(app): State<App>,
    _user: User,
    Path(id): Path<ChannelId>,
    Query(asked): Query<Since>,
    headers: HeaderMap,
) -> Response {
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let reader = app.feeds().join(&app, &id, seen.or(asked.depuis));
    let frames = futures::stream::unfold(reader, |reader| async {
        let mut reader = reader?;
        let frame = reader.next().await?;
        Some((Ok::<_, Infallible>(frame), Some(reader)))
    });
    // Figures come every two seconds at least: no proxy takes this for a connection nobody uses.
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(frames)).into_response()
}
