//! A camera's picture, live and back to the first minute there is; a clip of it in two keystrokes.

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Europe::Paris;
use serde::Deserialize;

use crate::domain::clips::{ClipError, ClipTitle};
use crate::domain::ids::{CameraId, RecordingId};
use crate::use_cases::clips::ClipsError;
use crate::use_cases::clips::footage::PartSpan;
use crate::web::pages::Said;
use crate::web::pages::french::{When, count, today};
use crate::web::pages::keeping::{self, KeptRow};
use crate::web::pages::shell::{Place, Shell};
use crate::web::{App, Problem, User, page};

/// The player takes what scripts hand it, and nothing from elsewhere.
const PLAYER_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'",
);
/// What was recorded stays as it is.
const FOR_A_DAY: HeaderValue = HeaderValue::from_static("private, max-age=86400, immutable");
const FOR_A_MINUTE: HeaderValue = HeaderValue::from_static("private, max-age=60");
/// The length that is offered for a clip.
const CLIP_OFFERED: TimeDelta = TimeDelta::seconds(30);

#[derive(Template)]
#[template(path = "pages/footage.html")]
struct FootagePage {
    shell: Shell,
    camera: CameraId,
    name: String,
    /// UTC milliseconds of the first part; nothing was recorded without it.
    first_ms: Option<i64>,
    /// Beside which camera it was measured last: its name, within how many milliseconds, and when.
    aligned: Option<(String, String, When)>,
    form: SpanForm,
    wrong: Option<String>,
    kept: Vec<KeptRow>,
}

/// A clip by its times of day in the villa, as they are typed.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SpanForm {
    jour: String,
    debut: String,
    fin: String,
    pub(super) titre: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct AskedSpan {
    /// UTC milliseconds.
    depuis: i64,
    jusqua: Option<i64>,
    #[serde(rename = "_HLS_msn")]
    segment: Option<usize>,
    #[serde(rename = "_HLS_part")]
    part: Option<usize>,
}

#[derive(Debug, Deserialize)]
pub(super) struct AskedPart {
    /// UTC nanoseconds of the first.
    t: Option<i64>,
}

/// `GET /regie/cameras/{id}/image`
pub(super) async fn show(
    State(app): State<App>,
    user: User,
    Path(camera): Path<CameraId>,
    Query(said): Query<Said>,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let at = |at: DateTime<Utc>| at.with_timezone(&Paris).format("%H:%M:%S").to_string();
    let form = SpanForm {
        jour: today(now).to_string(),
        debut: at(now - CLIP_OFFERED),
        fin: at(now),
        titre: String::new(),
    };
    let mut shown = footage_page(&app, &user, camera, form, None).await?;
    shown.shell = Shell::saying(&user, Place::Studio, said.dit.as_deref());
    Ok(with_player(page(&shown)?))
}

async fn footage_page(
    app: &App,
    user: &User,
    camera: CameraId,
    form: SpanForm,
    wrong: Option<String>,
) -> Result<FootagePage, Problem> {
    let card = app.cameras.find(camera).await?;
    let first = app.footage.first(camera).await?;
    let aligned = match card.aligned.last() {
        Some(known) => {
            let lead = app.cameras.find(known.alignment.reference).await.ok();
            let within = count(known.alignment.line.residual_ms.ceil().max(1.0) as u64);
            let when = When::ago(known.at, app.clock.now());
            lead.map(|lead| (lead.name.as_str().to_owned(), within, when))
        }
        None => None,
    };
    Ok(FootagePage {
        aligned,
        shell: Shell::new(user, Place::Studio),
        camera,
        kept: keeping::rows(&card),
        name: card.name.as_str().to_owned(),
        first_ms: first.map(|at| at.timestamp_millis()),
        form,
        wrong,
    })
}

fn with_player(html: Html<String>) -> Response {
    ([(CONTENT_SECURITY_POLICY, PLAYER_POLICY)], html).into_response()
}

/// `GET /regie/cameras/{id}/vignette`: what a camera shows now, as a JPEG. The address changes with the time it is of.
pub(super) async fn still(
    State(app): State<App>,
    Path(camera): Path<CameraId>,
) -> Result<Response, Problem> {
    let seen = app.glances.look(camera).await?.filter(|seen| !seen.picture.is_empty());
    let seen = seen.ok_or_else(Problem::not_found)?;
    let kind = HeaderValue::from_static("image/jpeg");
    Ok(([(CONTENT_TYPE, kind), (CACHE_CONTROL, FOR_A_MINUTE)], seen.picture).into_response())
}

/// `GET /regie/cameras/{id}/flux.m3u8?depuis=<UTC ms>`: from an instant on; until `jusqua`, if that is given. Players that ask for
/// what is to come wait for it.
pub(super) async fn playlist(
    State(app): State<App>,
    Path(camera): Path<CameraId>,
    Query(asked): Query<AskedSpan>,
) -> Result<Response, Problem> {
    let at = |ms: i64| DateTime::from_timestamp_millis(ms).ok_or_else(Problem::not_found);
    let from = at(asked.depuis)?;
    let to = asked.jusqua.map(at).transpose()?;
    let playlist = match asked.segment {
        Some(segment) => app.footage.playlist_with(camera, from, to, segment, asked.part).await?,
        None => app.footage.playlist(camera, from, to).await?,
    };
    let playlist = playlist.ok_or_else(Problem::not_found)?;
    let kind = HeaderValue::from_static("application/vnd.apple.mpegurl");
    Ok(([(CONTENT_TYPE, kind)], playlist.text()).into_response())
}

/// `GET /regie/cameras/{id}/flux/{recording}/{file}`: `init.mp4`, or `<first>-<last>.m4s`.
pub(super) async fn part(
    State(app): State<App>,
    Path((camera, recording, file)): Path<(CameraId, RecordingId, String)>,
    Query(asked): Query<AskedPart>,
) -> Result<Response, Problem> {
    let bytes = if file == "init.mp4" {
        let at = asked.t.ok_or_else(Problem::not_found)?;
        app.footage.init(camera, recording, at).await?
    } else {
        let numbers = file.strip_suffix(".m4s").and_then(|it| it.split_once('-'));
        let span = numbers.and_then(|(first, last)| {
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            Some(PartSpan { recording, first, last, utc_ns: asked.t })
        });
        app.footage.read(camera, span.ok_or_else(Problem::not_found)?).await?
    };
    let bytes = bytes.ok_or_else(Problem::not_found)?;
    let kind = HeaderValue::from_static("video/mp4");
    Ok(([(CONTENT_TYPE, kind), (CACHE_CONTROL, FOR_A_DAY)], bytes).into_response())
}

/// `POST /regie/cameras/{id}/extrait`: a clip by its times of day.
pub(super) async fn extract(
    State(app): State<App>,
    user: User,
    Path(camera): Path<CameraId>,
    Form(form): Form<SpanForm>,
) -> Result<Response, Problem> {
    let wrong = match read(&form) {
        Ok((from, to, title)) => {
            let card = app.cameras.find(camera).await?;
            match app.clips.request_of_camera(&card, from, to, title, Some(user.person.id)).await {
                Ok((week, clip)) => {
                    let there = format!("/semaines/{week}/clips?clip={clip}&dit=clip-demande");
                    return Ok(Redirect::to(&there).into_response());
                }
                Err(ClipsError::Clip(error @ (ClipError::Span(_) | ClipError::Title { .. }))) => {
                    error.to_string()
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(wrong) => wrong,
    };
    again(&app, &user, camera, form, wrong).await
}

/// The page with what was typed, and what is wrong with it.
pub(super) async fn again(
    app: &App,
    user: &User,
    camera: CameraId,
    form: SpanForm,
    wrong: String,
) -> Result<Response, Problem> {
    let again = footage_page(app, user, camera, form, Some(wrong)).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, with_player(page(&again)?)).into_response())
}

fn read(form: &SpanForm) -> Result<(DateTime<Utc>, DateTime<Utc>, ClipTitle), String> {
    let (from, to) = instants(form)?;
    let title = ClipTitle::try_new(&form.titre).map_err(|error| error.to_string())?;
    Ok((from, to, title))
}

/// The instants that were typed, as times of the villa.
pub(super) fn instants(form: &SpanForm) -> Result<(DateTime<Utc>, DateTime<Utc>), String> {
    let day: NaiveDate =
        form.jour.parse().map_err(|_| "Le jour s'écrit comme « 2026-11-18 ».".to_owned())?;
    let instant = |raw: &str, what: &str| {
        let time = ["%H:%M:%S%.f", "%H:%M"]
            .iter()
            .find_map(|form| NaiveTime::parse_from_str(raw.trim(), form).ok())
            .ok_or_else(|| format!("{what} est une heure de la villa, comme « 21:04:30 »."))?;
        let local = Paris.from_local_datetime(&day.and_time(time)).earliest();
        let local = local.ok_or_else(|| format!("{what} n'existe pas ce jour-là."))?;
        Ok::<_, String>(local.with_timezone(&Utc))
    };
    let from = instant(&form.debut, "Le début")?;
    let mut to = instant(&form.fin, "La fin")?;
    if to < from {
        // Past midnight.
        to += TimeDelta::days(1);
    }
    Ok((from, to))
}
