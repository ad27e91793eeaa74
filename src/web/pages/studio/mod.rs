//! « Régie »: the cameras, what each sends, whether it is safe; and how to set an encoder up.

mod alarms;

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::domain::ids::CameraId;
use crate::domain::live::camera::CAMERA_NAME_CHARS_MAX;
use crate::domain::live::keeping::DISK_SHARE_MAX;
use crate::domain::live::track::{Codec, Form as Shape};
use crate::ports::ingest::Leave;
use crate::ports::media_engine::Level;
use crate::ports::recorder::{CameraState, Door, FeedState, RecorderState, SrtTerms};
use crate::read_models::CameraCard;
use crate::use_cases::clips::glance::GLANCE_LASTS;
use crate::use_cases::live::cameras::{CamerasError, StreamKey};
use crate::web::pages::french::{When, counted, length, number};
use crate::web::pages::keeping;
use crate::web::pages::relays::{self, RelayForm, RelayRow};
use crate::web::pages::shell::{Place, Shell};
use crate::web::pages::{Said, house_address};
use crate::web::{App, Problem, User, page};

use self::alarms::{Alarm, alarms};

/// Below this many dBFS at its highest, a microphone is off.
const SILENT_DB: f32 = -60.0;
/// What came longer ago than this is not safe yet: the disk lags behind.
const BEHIND_MAX: TimeDelta = TimeDelta::seconds(5);
/// Below this many hours of room, the disk is trouble.
const HOURS_LEFT_MIN: f64 = 2.0;
/// What a camera is taken to send when none sends, in kbit/s.
const USUAL_KBITS: u32 = 6_200;

/// How a camera stands, in a word with its sign.
struct Standing {
    class: &'static str,
    icon: &'static str,
    words: String,
}

struct CameraRow {
    id: CameraId,
    name: String,
    standing: Standing,
    /// What it sends, in figures; none when it sends nothing.
    figures: Option<Figures>,
    /// Who sends, or why nobody does; and since when.
    about: String,
    left: Option<When>,
    relays: Vec<RelayRow>,
    /// Part of the still's address; none while nothing is recorded.
    still: Option<i64>,
    level: Option<Loud>,
}

/// How loud a camera is, from 0 to 60 for the eye and in words.
struct Loud {
    bar: u32,
    words: String,
}

struct Figures {
    mbits: String,
    fps: String,
    picture: String,
    recorded: String,
}

#[derive(Template)]
#[template(path = "pages/studio.html")]
struct StudioPage {
    shell: Shell,
    verdict: String,
    alarms: Vec<Alarm>,
    cameras: Vec<CameraRow>,
    /// « 31 h » of room, and what that is reckoned for.
    room: Option<(String, String)>,
    typed: String,
    wrong: Option<String>,
}

impl StudioPage {
    const NAME_CHARS_MAX: usize = CAMERA_NAME_CHARS_MAX;

    fn records(&self) -> bool {
        self.cameras.iter().any(|row| row.figures.is_some())
    }
}

#[derive(Template)]
#[template(path = "pages/camera.html")]
struct CameraPage {
    shell: Shell,
    id: CameraId,
    name: String,
    drawn: When,
    /// `rtmp://host:1935/live`; none while the recorder is away.
    server: Option<String>,
    /// Only programs on this very machine reach it.
    is_local: bool,
    srt: Option<SrtLine>,
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
pub(super) struct NameForm {
    nom: String,
}

/// `GET /regie`
pub(super) async fn show(
    State(app): State<App>,
    user: User,
    Query(asked): Query<Said>,
) -> Result<Html<String>, Problem> {
    let shell = Shell::saying(&user, Place::Studio, asked.dit.as_deref());
    page(&studio(&app, shell, String::new(), None).await?)
}

/// `POST /regie/cameras`: adds one, and shows its key.
pub(super) async fn add(
    State(app): State<App>,
    user: User,
    headers: HeaderMap,
    Form(form): Form<NameForm>,
) -> Result<Response, Problem> {
    match app.cameras.add(&form.nom, Some(user.person.id)).await {
        Ok((camera, key)) => {
            let card = app.cameras.find(camera).await?;
            let shown = camera_page(&app, &user, &headers, card, Some(key), None).await?;
            Ok((StatusCode::CREATED, page(&shown)?).into_response())
        }
        Err(CamerasError::Refused(error)) => {
            let shell = Shell::new(&user, Place::Studio);
            let again = studio(&app, shell, form.nom, Some(error.to_string())).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&again)?).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// `GET /regie/cameras/{id}`: how to set its encoder up.
pub(super) async fn camera(
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
pub(super) async fn draw_key(
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
pub(super) async fn rename(
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
pub(super) async fn retire(
    State(app): State<App>,
    user: User,
    Path(id): Path<CameraId>,
) -> Result<Redirect, Problem> {
    app.cameras.retire(id, Some(user.person.id)).await?;
    Ok(Redirect::to("/regie?dit=camera-retiree"))
}

/// `POST /regie/repere`: marks this instant: every camera that records gives its clip.
pub(super) async fn mark(State(app): State<App>, user: User) -> Result<Redirect, Problem> {
    let count = app.clips.mark_cameras(app.clock.now(), Some(user.person.id)).await?;
    Ok(Redirect::to(if count > 0 { "/regie?dit=repere-pose" } else { "/regie?dit=repere-vide" }))
}

async fn studio(
    app: &App,
    shell: Shell,
    typed: String,
    wrong: Option<String>,
) -> Result<StudioPage, Problem> {
    let cameras = app.cameras.list().await?;
    let now = app.clock.now();
    let state = match app.cameras.state().await {
        Ok(state) => Some(state),
        Err(error) => {
            tracing::warn!(error = %error.chain(), "the recorder does not answer");
            None
        }
    };
    let of_card = |card: &CameraCard| {
        let relays = relays::rows(state.as_ref(), card.id, now);
        let shown = row(card, of_camera(state.as_ref(), card.id), relays, now);
        let level = app.glances.last(card.id).and_then(|seen| seen.level);
        CameraRow { level: level.filter(|_| shown.still.is_some()).map(loud), ..shown }
    };
    let rows: Vec<CameraRow> = cameras.iter().map(of_card).collect();
    let recording = rows.iter().filter(|row| row.standing.class == "live").count();
    let verdict = match (state.is_some(), rows.len(), recording) {
        (false, ..) => "L'enregistreur ne répond pas.".to_owned(),
        (_, 0, _) => "Les caméras de la villa arrivent ici.".to_owned(),
        (_, _, 0) => "Rien n'est envoyé pour l'instant.".to_owned(),
        (_, _, n) => {
            format!("{}.", counted(n as u64, "caméra enregistrée", "caméras enregistrées"))
        }
    };
    let room = state.as_ref().map(room_left);
    let cramped = match &state {
        Some(state) => {
            let (weeks, held) = (app.weeks.list().await?, app.cameras.indexer.index.held().await?);
            let plan = (app.settings.hours_a_day, USUAL_KBITS);
            keeping::cramped(&weeks, &cameras, &held, state, plan, now)
        }
        None => None,
    };
    let silent = |card: &&CameraCard| {
        let level = app.glances.last(card.id).and_then(|seen| seen.level);
        level.is_some_and(|level| level.peak_db < SILENT_DB)
    };
    let silent: Vec<&CameraCard> = cameras.iter().filter(silent).collect();
    let hours_left = room.as_ref().map(|(hours, _)| *hours);
    Ok(StudioPage {
        shell,
        verdict,
        alarms: alarms(&cameras, state.as_ref(), hours_left, cramped.as_ref(), &silent, now),
        cameras: rows,
        room: room.map(|(hours, kbits)| {
            (length((hours * 3_600_000.0) as i64), format!("à {} Mbit/s", megabits(kbits)))
        }),
        typed,
        wrong,
    })
}

fn of_camera(state: Option<&RecorderState>, camera: CameraId) -> Option<&CameraState> {
    state?.cameras.iter().find(|state| state.camera == camera)
}

fn row(
    card: &CameraCard,
    state: Option<&CameraState>,
    relays: Vec<RelayRow>,
    now: DateTime<Utc>,
) -> CameraRow {
    let feed = state.and_then(|state| state.feed.as_ref());
    let left = state.and_then(|state| state.left.as_ref());
    let about = match (feed, left) {
        (Some(feed), _) => {
            let who = feed.software.as_deref().unwrap_or("Encodeur");
            format!("{who} · {}", feed.protocol.to_uppercase())
        }
        (None, Some(left)) => why_gone(&left.why),
        (None, None) => "Rien reçu depuis le démarrage de l'enregistreur".to_owned(),
    };
    let left = left.filter(|_| feed.is_none()).map(|left| When::ago(left.at, now));
    CameraRow {
        id: card.id,
        name: card.name.as_str().to_owned(),
        standing: standing(feed, now),
        figures: feed.map(|feed| figures(feed, now)),
        about,
        left,
        relays,
        still: feed
            .filter(|feed| feed.recorded_until.is_some())
            .map(|_| now.timestamp() / GLANCE_LASTS.num_seconds()),
        level: None,
    }
}

/// 60 dB are shown: below that nobody hears anything in a villa.
fn loud(level: Level) -> Loud {
    let bar = (level.mean_db + 60.0).clamp(0.0, 60.0) as u32;
    let words = if level.peak_db < SILENT_DB {
        "silence".to_owned()
    } else {
        format!(
            "{} dB, crêtes {} dB",
            number(level.mean_db.into(), 0),
            number(level.peak_db.into(), 0)
        )
    };
    Loud { bar, words }
}

/// Why an encoder left, for who set it up.
fn why_gone(why: &Leave) -> String {
    match why {
        Leave::Ended => "L'encodeur a terminé".to_owned(),
        Leave::Gone => "Connexion coupée sans au revoir".to_owned(),
        Leave::Silent { seconds } => format!("Plus rien pendant {seconds} s"),
        Leave::Malformed { .. } => "L'encodeur ne parle pas le protocole attendu".to_owned(),
        Leave::TooMuch { .. } => "L'encodeur dépasse ce qui est admis".to_owned(),
        Leave::Unfit { .. } => {
            "Format impossible à enregistrer : choisissez H.264 et AAC".to_owned()
        }
        Leave::Replaced => "Remplacé par un autre encodeur avec la même clé".to_owned(),
        Leave::KeyDrawn => "Sa clé n'ouvre plus rien".to_owned(),
        Leave::Stopping => "L'enregistreur s'est arrêté".to_owned(),
    }
}

fn standing(feed: Option<&FeedState>, now: DateTime<Utc>) -> Standing {
    let (class, icon, words) = match feed {
        None => ("", "circle-dashed", "N'envoie rien".to_owned()),
        Some(feed) if feed.halted.is_some() => {
            ("bad", "circle-x", "N'est pas enregistrée".to_owned())
        }
        Some(feed) if is_behind(feed, now) => {
            ("warn", "triangle-alert", "Le disque prend du retard".to_owned())
        }
        Some(feed) if feed.recorded_until.is_none() => {
            ("warn", "loader-circle", "Attend une image clé".to_owned())
        }
        Some(_) => ("live", "radio", "Enregistre".to_owned()),
    };
    Standing { class, icon, words }
}

fn is_behind(feed: &FeedState, now: DateTime<Utc>) -> bool {
    feed.recorded_until.is_some_and(|until| now - until > BEHIND_MAX)
}

fn figures(feed: &FeedState, now: DateTime<Utc>) -> Figures {
    let picture = feed.tracks.iter().find_map(|(codec, form)| match form {
        Shape::Picture { width, height } => Some(format!("{width}×{height} {}", name_of(*codec))),
        Shape::Sound { .. } => None,
    });
    Figures {
        mbits: megabits(feed.reading.kbits),
        fps: number(feed.reading.fps, 0),
        picture: picture.unwrap_or_else(|| "son seul".to_owned()),
        recorded: since(feed.since, now),
    }
}

const fn name_of(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "H.264",
        Codec::Hevc => "HEVC",
        Codec::Av1 => "AV1",
        Codec::Aac => "AAC",
        Codec::Opus => "Opus",
    }
}

fn megabits(kbits: u32) -> String {
    number(f64::from(kbits) / 1_000.0, 1)
}

fn since(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    length((now - at).num_milliseconds().max(0))
}

/// Hours until the disk passes its line, and the kbit/s that is reckoned with: what is sent, or what is usual of as many cameras.
fn room_left(state: &RecorderState) -> (f64, u32) {
    let feeds = state.cameras.iter().filter_map(|camera| camera.feed.as_ref());
    let sent: u32 = feeds.map(|feed| feed.reading.kbits).sum();
    let usual = USUAL_KBITS * state.cameras.len().max(1) as u32;
    let kbits = if sent > 0 { sent } else { usual };
    let used = state.total_bytes.saturating_sub(state.free_bytes) as f64;
    let room = (state.total_bytes as f64 * DISK_SHARE_MAX - used).max(0.0);
    (room * 8.0 / 1_000.0 / f64::from(kbits) / 3_600.0, kbits)
}

async fn camera_page(
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
    Ok(CameraPage {
        shell: Shell::new(user, Place::Studio),
        id: card.id,
        drawn: When::ago(card.key_drawn_at, app.clock.now()),
        name: card.name.as_str().to_owned(),
        server: door.map(|door| server(door, &house)),
        is_local: door.is_some_and(|door| door.address.ip().is_loopback()),
        srt,
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
pub(super) async fn camera_with_relay(
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
pub(super) async fn camera_with_days(
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
