//! « Régie »: the cameras, what each sends, whether it is safe; and how to set an encoder up.

mod alarms;
mod camera;
mod line;

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::ids::CameraId;
use crate::domain::live::camera::CAMERA_NAME_CHARS_MAX;
use crate::domain::live::keeping::DISK_SHARE_MAX;
use crate::domain::live::track::{Codec, Form as Shape};
use crate::ports::ingest::Leave;
use crate::ports::media_engine::Level;
use crate::ports::recorder::{CameraState, FeedState, RecorderState};
use crate::read_models::CameraCard;
use crate::use_cases::clips::glance::GLANCE_LASTS;
use crate::use_cases::live::cameras::CamerasError;
use crate::web::pages::Said;
use crate::web::pages::french::{When, counted, length, number};
use crate::web::pages::keeping;
use crate::web::pages::relays::{self, RelayRow};
use crate::web::pages::shell::{Place, Shell};
use crate::web::{App, Problem, User, page};

use self::alarms::{Alarm, alarms};
use self::camera::{NameForm, camera_page};
pub(super) use self::camera::{
    camera, camera_with_days, camera_with_relay, draw_key, rename, retire,
};

/// Below this many dBFS at its highest, a microphone is off.
const SILENT_DB: f32 = -60.0;
/// What came longer ago than this is not safe yet: the disk lags behind.
const BEHIND_MAX: TimeDelta = TimeDelta::seconds(5);
/// Below this many hours of room, the disk is trouble.
const HOURS_LEFT_MIN: f64 = 2.0;

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
        Some(state) => keeping::cramped_now(app, &cameras, state, now).await?,
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
    let usual = keeping::USUAL_KBITS * state.cameras.len().max(1) as u32;
    let kbits = if sent > 0 { sent } else { usual };
    let used = state.total_bytes.saturating_sub(state.free_bytes) as f64;
    let room = (state.total_bytes as f64 * DISK_SHARE_MAX - used).max(0.0);
    (room * 8.0 / 1_000.0 / f64::from(kbits) / 3_600.0, kbits)
}
