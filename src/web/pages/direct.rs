//! « Direct »: one channel while it is on air, readable from two metres, and its stream of changes.

use std::convert::Infallible;
use std::fmt::Write;
use std::time::Duration;

use askama::Template;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use futures::Stream;
use serde::{Deserialize, Serialize};

use crate::domain::audience::channel::{Channel, ChannelId};
use crate::ports::audience_source::{Health, State as Listens};
use crate::read_models::{Deed, Line, LiveBoard};
use crate::web::pages::french::{clock, counted, length, number, timecode};
use crate::web::pages::moments::words::{kind, reasons_in_line};
use crate::web::pages::shell::{Place, Shell};
use crate::web::pages::{Said, house_address};
use crate::web::{App, MaybeUser, Problem, User, Wants, page};

/// Frames of a page at most ten times a second: everything between two is merged.
const FRAME_EVERY: Duration = Duration::from_millis(100);
/// Figures move on although nothing is said.
const FRAME_AT_LEAST: Duration = Duration::from_secs(2);
/// Chat lines in one frame at most; the rest is told as a number.
const LINES_PER_FRAME: usize = 20;
/// Chat lines of a page at its start.
const LINES_AT_FIRST: usize = 60;
/// Things that happened on a page.
const DEEDS_SHOWN: usize = 8;
/// Steps of the pulse drawn: half an hour.
const PULSE_SHOWN: usize = 180;
/// A comment this often keeps proxies from closing a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Everything that moves.
#[derive(Debug, Serialize)]
struct Frame {
    seq: i64,
    /// Replaces what stands, instead of adding to it.
    whole: bool,
    figures: Figures,
    lines: Vec<Line>,
    /// Lines that were left out.
    more: usize,
    deeds: Vec<Deed>,
    /// Ids of lines that have to go.
    gone: Vec<String>,
}

/// The figures, in words.
#[derive(Debug, Serialize)]
struct Figures {
    is_on_air: bool,
    since: String,
    viewers: String,
    per_minute: String,
    messages: String,
    title: String,
    /// Curves, as paths in a box of 1000 × 100.
    pulse: String,
    watched: String,
    listening: String,
    listening_class: &'static str,
    gaps: String,
    /// The latest moment: where and what, why; and who asks for a clip.
    moment: String,
    moment_why: String,
    votes: String,
}

impl Frame {
    /// What a reader who has seen everything up to `seen` lacks.
    fn after(
        board: &LiveBoard,
        seen: Option<i64>,
        health: Option<&Health>,
        now: DateTime<Utc>,
    ) -> Self {
        let known = seen.filter(|seen| board.reaches_back_to(*seen));
        let from = known.unwrap_or(-1);
        let room = if known.is_some() { LINES_PER_FRAME } else { LINES_AT_FIRST };
        let fresh = board.lines.iter().filter(|line| line.seq > from);
        let count = fresh.clone().count();
        let more = if known.is_some() { count.saturating_sub(room) } else { 0 };
        let lines = fresh.skip(count.saturating_sub(room)).cloned().collect();
        let deeds: Vec<Deed> = board.deeds.iter().filter(|deed| deed.seq > from).cloned().collect();
        let late = deeds.len().saturating_sub(DEEDS_SHOWN);
        Self {
            seq: board.seq,
            whole: known.is_none(),
            figures: Figures::of(board, health, now),
            lines,
            more,
            deeds: deeds.into_iter().skip(late).collect(),
            gone: known
                .map(|seen| board.gone_after(seen).map(str::to_owned).collect())
                .unwrap_or_default(),
        }
    }
}

impl Figures {
    fn of(board: &LiveBoard, health: Option<&Health>, now: DateTime<Utc>) -> Self {
        let is_on_air = board.started_at.is_some() && board.ended_at.is_none();
        let since = board.started_at.map(|at| board.ended_at.unwrap_or(now) - at);
        let viewers: Vec<Option<f64>> =
            board.viewers.iter().map(|(_, count)| count.map(f64::from)).collect();
        let pulse = board.pulse(now, PULSE_SHOWN);
        let pulse: Vec<Option<f64>> = pulse.into_iter().map(|n| Some(f64::from(n))).collect();
        let (listening, listening_class) = listening(health, now);
        Self {
            is_on_air,
            since: since.map_or_else(|| "—".to_owned(), |it| length(it.num_milliseconds().max(0))),
            viewers: board.watching().map_or_else(|| "—".to_owned(), |n| number(f64::from(n), 0)),
            per_minute: number(f64::from(board.per_minute(now)), 0),
            messages: number(board.messages as f64, 0),
            title: board.title.clone(),
            pulse: curve(&pulse),
            watched: curve(&viewers),
            listening,
            listening_class,
            gaps: gaps(board),
            moment: board.moment.as_ref().map_or_else(
                || "Aucun encore".to_owned(),
                |found| format!("{} à {}", kind(found), timecode((found.event_s * 1e3) as i64)),
            ),
            moment_why: board.moment.as_ref().map_or_else(
                || {
                    "Le premier se montre quand le chat s'emballe, après une minute d'écoute."
                        .into()
                },
                reasons_in_line,
            ),
            votes: votes(board.voters(now)),
        }
    }
}

/// A curve in a box of 1000 × 100, zero at the bottom; a gap where a value is missing.
fn curve(values: &[Option<f64>]) -> String {
    let highest = values.iter().flatten().copied().fold(1.0_f64, f64::max);
    let step = 1_000.0 / (values.len().max(2) - 1) as f64;
    let mut path = String::new();
    let mut is_drawing = false;
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value else {
            is_drawing = false;
            continue;
        };
        let letter = if is_drawing { 'L' } else { 'M' };
        let (x, y) = (index as f64 * step, 100.0 - value / highest * 96.0);
        let _ = write!(path, "{letter}{x:.0} {y:.1}");
        is_drawing = true;
    }
    path
}

/// Listening, in words, with the class of its state.
fn listening(health: Option<&Health>, now: DateTime<Utc>) -> (String, &'static str) {
    let Some(health) = health else {
        return ("Cette chaîne n'est pas écoutée : reliez-la sous « Chaînes ».".to_owned(), "warn");
    };
    let last = health.last_event_at.map_or_else(String::new, |at| {
        format!(" · dernier événement il y a {}", length((now - at).num_milliseconds().max(0)))
    });
    let count = format!("{} abonnements sur {}", health.confirmed, health.wanted);
    match health.state {
        Listens::Listening if health.confirmed > 0 && health.confirmed == health.wanted => {
            (format!("Twitch nous parle · {count}{last}"), "good")
        }
        Listens::Listening if health.confirmed > 0 => {
            (format!("Twitch nous parle, pas de tout · {count}{last}"), "warn")
        }
        Listens::Listening | Listens::Connecting => ("Connexion à Twitch…".to_owned(), "warn"),
        Listens::Waiting => {
            ("Twitch ne répond plus : nouvelle tentative dans un instant.".to_owned(), "bad")
        }
        Listens::Revoked => {
            ("La chaîne a retiré son autorisation : reliez-la de nouveau.".to_owned(), "bad")
        }
    }
}

/// Who asks for a clip, in words; empty when nobody does.
fn votes(people: usize) -> String {
    match people {
        0 => String::new(),
        1 => "1 personne demande un clip".to_owned(),
        _ => format!("{} demandent un clip", counted(people as u64, "personne", "personnes")),
    }
}

/// What was not heard, in words; empty when nothing is missing.
fn gaps(board: &LiveBoard) -> String {
    let Some((from, to)) = board.gaps.back() else { return String::new() };
    let count = counted(board.gaps.len() as u64, "trou dans l'écoute", "trous dans l'écoute");
    format!("{count}, le dernier de {} à {}", clock(*from), clock(*to))
}

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
pub(super) async fn front(State(app): State<App>, user: User) -> Result<Response, Problem> {
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
pub(super) async fn show(
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
    let health = app.boards.health(&id);
    let now = app.clock.now();
    let frame = app.boards.look(&id, |board| Frame::after(board, None, health.as_ref(), now));
    let shell = Shell::saying(&user, Place::Live, asked.dit.as_deref());
    let mark_address = format!("{}/direct/{id}/marque", house_address(&app, &headers));
    let mark_key = app.mark_key(&id);
    page(&DirectPage { shell, choices, channel, frame, mark_address, mark_key })
}

/// What the page has shown already.
#[derive(Debug, Deserialize)]
pub(super) struct Since {
    depuis: Option<i64>,
}

/// `GET /direct/{channel}/flux`: what changes, as server-sent events. A reader that comes back with `Last-Event-ID` goes on
/// from there; one that was away too long gets everything anew.
pub(super) async fn stream(
    State(app): State<App>,
    _user: User,
    Path(id): Path<ChannelId>,
    Query(asked): Query<Since>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<SseEvent, Infallible>>> {
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let seen = seen.or(asked.depuis);
    let changes = app.boards.changes();
    let frames = futures::stream::unfold(
        (app, id, seen, changes),
        |(app, id, seen, mut changes)| async move {
            if seen.is_some() {
                // Either something changed or the figures are due; and never sooner than a frame after the last.
                tokio::time::sleep(FRAME_EVERY).await;
                if let Ok(Err(_closed)) =
                    tokio::time::timeout(FRAME_AT_LEAST, changes.changed()).await
                {
                    return None;
                }
            }
            changes.borrow_and_update();
            let health = app.boards.health(&id);
            let now = app.clock.now();
            let frame =
                app.boards.look(&id, |board| Frame::after(board, seen, health.as_ref(), now));
            let event = SseEvent::default().id(frame.seq.to_string()).json_data(&frame);
            let event = event.unwrap_or_else(|_| SseEvent::default().comment("unreadable"));
            Some((Ok(event), (app, id, Some(frame.seq), changes)))
        },
    );
    Sse::new(frames).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

/// The answer to a mark.
#[derive(Debug, Serialize)]
struct Marked {
    /// Milliseconds from the live's start.
    offset_ms: i64,
    at: String,
}

/// `POST /direct/{channel}/marque`: this was good. Twitch gets a marker too, in its own time.
pub(super) async fn mark(
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
