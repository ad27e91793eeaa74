//! The page itself, whole without a script.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{Html, IntoResponse, Redirect, Response};

use crate::domain::audience::channel::{Channel, ChannelId};
use crate::web::pages::direct::frame::{Frame, look};
use crate::web::pages::shell::{Place, Shell};
use crate::web::pages::{Said, house_address};
use crate::web::{App, Problem, User, page};

/// A channel to choose.
struct Choice {
    id: ChannelId,
    name: String,
    is_here: bool,
    is_on_air: bool,
}

#[derive(Template)]
#[template(path = "pages/direct.html")]
struct DirectPage {
    shell: Shell,
    choices: Vec<Choice>,
    channel: Channel,
    frame: Frame,
    /// Address and key of a mark without a session.
    mark_address: String,
    mark_key: String,
}

#[derive(Template)]
#[template(path = "pages/direct_empty.html")]
struct EmptyPage {
    shell: Shell,
}

/// `GET /direct`: the channel on air, or the first.
pub(in crate::web::pages) async fn front(
    State(app): State<App>,
    user: User,
) -> Result<Response, Problem> {
    let channels = app.channels.list().await?;
    let on_air = channels.iter().find(|channel| is_on_air(&app, &channel.id));
    if let Some(channel) = on_air.or(channels.first()) {
        return Ok(Redirect::to(&format!("/direct/{}", channel.id)).into_response());
    }
    let shell = Shell::new(&user, Place::Live);
    Ok(page(&EmptyPage { shell })?.into_response())
}

fn is_on_air(app: &App, channel: &ChannelId) -> bool {
    app.boards.look(channel, |board| board.started_at.is_some() && board.ended_at.is_none())
}

/// `GET /direct/{channel}`
pub(in crate::web::pages) async fn show(
    State(app): State<App>,
    user: User,
    Path(id): Path<ChannelId>,
    Query(asked): Query<Said>,
    headers: HeaderMap,
) -> Result<Html<String>, Problem> {
    let channels = app.channels.list().await?;
    let channel = channels.iter().find(|channel| channel.id == id).cloned();
    let channel = channel.ok_or_else(Problem::not_found)?;
    let choices = channels
        .iter()
        .map(|channel| Choice {
            id: channel.id.clone(),
            name: channel.name.clone(),
            is_here: channel.id == id,
            is_on_air: is_on_air(&app, &channel.id),
        })
        .collect();
    let frame = look(&app, &id, |view| view.after(None, view.board.seq));
    let shell = Shell::saying(&user, Place::Live, asked.dit.as_deref());
    let mark_address = format!("{}/direct/{id}/marque", house_address(&app, &headers));
    let mark_key = app.mark_key(&id);
    page(&DirectPage { shell, choices, channel, frame, mark_address, mark_key })
}
