//! Where the platform posts its events: another server, not a browser. Whoever cannot sign learns nothing.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::ports::audience_source::Received;
use crate::web::{App, Problem};

/// The path of the callback.
pub const PATH: &str = "/twitch/eventsub";

/// `POST /twitch/eventsub`
pub(super) async fn receive(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let mailbox = app.mailbox.as_ref().ok_or_else(Problem::not_found)?;
    let texts = headers.iter().filter_map(|(name, value)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    });
    let headers: BTreeMap<String, String> = texts.collect();
    Ok(match mailbox.receive(&headers, &body).await {
        Received::Taken => StatusCode::NO_CONTENT.into_response(),
        // A status of its own, so that the measures count it apart.
        Received::Old => StatusCode::ACCEPTED.into_response(),
        Received::Answer(words) => ([(CONTENT_TYPE, "text/plain")], words).into_response(),
        Received::Refused => StatusCode::FORBIDDEN.into_response(),
        Received::Malformed => StatusCode::BAD_REQUEST.into_response(),
        Received::Busy => {
            return Err(Problem::unavailable("neither the database nor the spool took it in time"));
        }
    })
}
