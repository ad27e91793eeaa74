//! A camera's own page: how to set its encoder up, where it is relayed to, what stays of it.

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::domain::ids::CameraId;
use crate::ports::recorder::{Door, SrtTerms};
use crate::read_models::CameraCard;
use crate::use_cases::live::cameras::{CamerasError, StreamKey};
use crate::web::pages::french::When;
use crate::web::pages::keeping;
use crate::web::pages::relays::{self, RelayForm, RelayRow};
use crate::web::pages::shell::{Place, Shell};
use crate::web::pages::studio::line::LineRow;
use crate::web::pages::studio::of_camera;
use crate::web::pages::{Said, house_address};
use crate::web::{App, Problem, User, page};

#[derive(Template)]
#[template(path = "pages/camera.html")]
pub(super) struct CameraPage {
    shell: Shell,
    id: CameraId,
    name: String,
    drawn: When,
    /// `rtmp://host:1935/live`; none while the recorder is away.
    server: Option<String>,
    /// Only programs on this very machine reach it.
    is_local: bool,
    srt: Option<SrtLine>,
    /// How its line is, while it sends over SRT.
    line: Option<LineRow>,
    /// In clear, this once.
    key: Option<String>,
    wrong: Option<String>,
    relays: Vec<RelayRow>,
    typed: RelayForm,
    wrong_relay: Option<String>,
    /// What lies there of it.
    held: Option<String>,
    days: String,
    wrong_days: Option<String>,
}

impl CameraPage {
    const DAYS_MAX: u16 = keeping::days_max();
}

/// How to send over SRT.
struct SrtLine {
    /// `srt://…` with the key in it, this once.
    server: Option<String>,
    needs_passphrase: bool,
    is_local: bool,
    port: u16,
}

#[derive(Deserialize)]
pub(in crate::web::pages) struct NameForm {
    pub(super) nom: String,
}

/// `GET /regie/cameras/{id}`: how to set its encoder up.
pub(in crate::web::pages) async fn camera(
    State(app): State<App>,
    user: User,
    headers: HeaderMap,
    Path(id): Path<CameraId>,
    Query(asked): Query<Said>,
) -> Result<Html<String>, Problem> {
    let card = app.cameras.find(id).await?;
    let mut shown = camera_page(&app, &user, &headers, card, None, None).await?;
    shown.shell = Shell::saying(&user, Place::Studio, asked.dit.as_deref());
    page(&shown)
}

/// `POST /regie/cameras/{id}/cle`: draws another key, and shows it.
pub(in crate::web::pages) async fn draw_key(
    State(app): State<App>,
    user: User,
    headers: HeaderMap,
    Path(id): Path<CameraId>,
) -> Result<Html<String>, Problem> {
    let key = app.cameras.draw_key(id, Some(user.person.id)).await?;
    let card = app.cameras.find(id).await?;
    page(&camera_page(&app, &user, &headers, card, Some(key), None).await?)
}

/// `POST /regie/cameras/{id}/nom`
pub(in crate::web::pages) async fn rename(
    State(app): State<App>,
    user: User,
    headers: HeaderMap,
    Path(id): Path<CameraId>,
    Form(form): Form<NameForm>,
) -> Result<Response, Problem> {
    match app.cameras.rename(id, &form.nom, Some(user.person.id)).await {
        Ok(()) => {
            let to = format!("/regie/cameras/{id}?dit=camera-renommee");
            Ok(Redirect::to(&to).into_response())
        }
        Err(CamerasError::Refused(error)) => {
            let card = app.cameras.find(id).await?;
            let wrong = Some(error.to_string());
            let mut again = camera_page(&app, &user, &headers, card, None, wrong).await?;
            again.name = form.nom;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&again)?).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /regie/cameras/{id}/retirer`
pub(in crate::web::pages) async fn retire(
    State(app): State<App>,
    user: User,
    Path(id): Path<CameraId>,
) -> Result<Redirect, Problem> {
    app.cameras.retire(id, Some(user.person.id)).await?;
    Ok(Redirect::to("/regie?dit=camera-retiree"))
}

pub(super) async fn camera_page(
    app: &App,
    user: &User,
    headers: &HeaderMap,
    card: CameraCard,
    key: Option<StreamKey>,
    wrong: Option<String>,
) -> Result<CameraPage, Problem> {
    let state = app.cameras.state().await.ok();
    let doors = state.as_ref().map(|state| state.doors.as_slice()).unwrap_or_default();
    let door = doors.iter().find(|door| door.protocol == "rtmp");
    let house = house_address(app, headers);
    let key = key.map(|key| key.as_str().to_owned());
    let srt = doors.iter().find_map(|door| {
        let terms = door.srt?;
        Some(SrtLine {
            server: key.as_ref().map(|key| srt_server(door, terms, &house, key)),
            needs_passphrase: terms.needs_passphrase,
            is_local: door.address.ip().is_loopback(),
            port: door.address.port(),
        })
    });
    let feed = of_camera(state.as_ref(), card.id).and_then(|camera| camera.feed.as_ref());
    let latency_ms = doors.iter().find_map(|door| door.srt).map_or(0, |terms| terms.latency_ms);
    let line = feed.and_then(|feed| feed.line.as_ref());
    Ok(CameraPage {
        shell: Shell::new(user, Place::Studio),
        id: card.id,
        drawn: When::ago(card.key_drawn_at, app.clock.now()),
        name: card.name.as_str().to_owned(),
        server: door.map(|door| server(door, &house)),
        is_local: door.is_some_and(|door| door.address.ip().is_loopback()),
        srt,
        line: line.map(|line| LineRow::of(line, latency_ms)),
        key,
        wrong,
        relays: relays::rows(state.as_ref(), card.id, app.clock.now()),
        typed: RelayForm::default(),
        wrong_relay: None,
        held: keeping::held(&app.cameras.indexer.index.held().await?, card.id),
        days: card.days.map(|days| days.to_string()).unwrap_or_default(),
        wrong_days: None,
    })
}

/// A camera's page with what was typed for a relay and refused.
pub(in crate::web::pages) async fn camera_with_relay(
    app: &App,
    user: &User,
    headers: &HeaderMap,
    camera: CameraId,
    typed: RelayForm,
    wrong: String,
) -> Result<impl Template, Problem> {
    let card = app.cameras.find(camera).await?;
    let shown = camera_page(app, user, headers, card, None, None).await?;
    Ok(CameraPage { typed, wrong_relay: Some(wrong), ..shown })
}

/// A camera's page with a number of days that was typed and refused.
pub(in crate::web::pages) async fn camera_with_days(
    app: &App,
    user: &User,
    headers: &HeaderMap,
    camera: CameraId,
    typed: String,
    wrong: String,
) -> Result<impl Template, Problem> {
    let card = app.cameras.find(camera).await?;
    let shown = camera_page(app, user, headers, card, None, None).await?;
    Ok(CameraPage { days: typed, wrong_days: Some(wrong), ..shown })
}

/// Where an encoder sends to: the host people find us under, with the door's own port.
fn server(door: &Door, house: &str) -> String {
    format!("rtmp://{}:{}/live", host_of(house), door.address.port())
}

/// The same over SRT, all in one line; OBS and FFmpeg take the latency in microseconds.
fn srt_server(door: &Door, terms: SrtTerms, house: &str, key: &str) -> String {
    let (host, port) = (host_of(house), door.address.port());
    let latency_us = u64::from(terms.latency_ms) * 1_000;
    format!("srt://{host}:{port}?streamid={key}&latency={latency_us}")
}

fn host_of(house: &str) -> &str {
    let rest = house.split_once("://").map_or(house, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_sends_to_the_house_on_the_doors_port() {
        let door = Door::rtmp(([0, 0, 0, 0], 1935).into());
        for (house, host) in [
            ("https://spark.example", "spark.example"),
            ("https://spark.example:8443/villa", "spark.example"),
            ("http://127.0.0.1:8080", "127.0.0.1"),
            ("http://[::1]:8080", "[::1]"),
        ] {
            assert_eq!(server(&door, house), format!("rtmp://{host}:1935/live"));
            let terms = SrtTerms { latency_ms: 200, needs_passphrase: false };
            let door = Door::srt(([0, 0, 0, 0], 9000).into(), terms);
            let expected = format!("srt://{host}:9000?streamid=cle&latency=200000");
            assert_eq!(srt_server(&door, terms, house, "cle"), expected);
        }
    }
}
