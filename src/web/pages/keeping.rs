//! What stays of a camera: for how many days, which spans whatever happens; and whether a week fits on the disk.

use axum::Form;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Duration, NaiveDate, Utc};
use chrono_tz::Europe::Paris;
use serde::Deserialize;

use crate::domain::ids::CameraId;
use crate::domain::live::camera::CameraError;
use crate::domain::live::keeping::{DAYS_KEPT_MAX, DISK_SHARE_MAX, KeptSpan, week_bytes};
use crate::domain::villa::WEEK_DAYS;
use crate::ports::footage_index::Held;
use crate::ports::recorder::RecorderState;
use crate::read_models::{CameraCard, WeekCard};
use crate::use_cases::live::cameras::CamerasError;
use crate::web::pages::french::{bytes, length, today};
use crate::web::pages::{footage, studio};
use crate::web::{App, Problem, User, page};

/// What a camera is taken to send when none sends, in kbit/s: 1080p at 6 Mbit/s and its sound.
pub(super) const USUAL_KBITS: u32 = 6_200;
/// A week is reckoned with from so many days before it begins.
const AHEAD_DAYS: i64 = 14;

/// A span that is kept.
pub(super) struct KeptRow {
    pub(super) title: String,
    pub(super) words: String,
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
}

/// The spans that are kept of a camera, the latest first.
pub(super) fn rows(card: &CameraCard) -> Vec<KeptRow> {
    let row = |span: &KeptSpan| KeptRow {
        title: span.title.clone(),
        words: format!(
            "{}, {}",
            span.from.with_timezone(&Paris).format("%d/%m, %H:%M:%S"),
            length((span.to - span.from).num_milliseconds())
        ),
        from_ms: span.from.timestamp_millis(),
        to_ms: span.to.timestamp_millis(),
    };
    let mut spans: Vec<&KeptSpan> = card.kept.iter().collect();
    spans.sort_by_key(|span| std::cmp::Reverse(span.from));
    spans.into_iter().map(row).collect()
}

/// « 12,3 Go, 4 h 10 depuis le 18/11 »; none when nothing lies there.
pub(super) fn held(all: &[Held], camera: CameraId) -> Option<String> {
    let held = all.iter().find(|held| held.camera == camera)?;
    let since = DateTime::<Utc>::from_timestamp_nanos(held.from_utc_ns).with_timezone(&Paris);
    Some(format!(
        "{} enregistrées depuis le {} : {}",
        length(held.lasts_ns / 1_000_000),
        since.format("%d/%m"),
        bytes(held.bytes)
    ))
}

/// A week that does not fit on the disk.
pub(super) struct Cramped {
    pub(super) name: String,
    pub(super) needs: u64,
    pub(super) room: u64,
    pub(super) hours_a_day: u8,
}

/// The next week, or the present one, when the cameras send more in it than the disk holds.
fn cramped(
    weeks: &[WeekCard],
    cameras: &[CameraCard],
    held: &[Held],
    state: &RecorderState,
    (hours_a_day, kbits): (u8, u32),
    now: DateTime<Utc>,
) -> Option<Cramped> {
    let day = today(now);
    let ends = |week: &WeekCard| week.starts_on + Duration::days(WEEK_DAYS);
    let is_near =
        |week: &&WeekCard| ends(week) > day && week.starts_on <= day + Duration::days(AHEAD_DAYS);
    let week = weeks.iter().filter(is_near).min_by_key(|week| week.starts_on)?;
    let days = days_left(week.starts_on, ends(week), day);
    let kept: Vec<Option<u16>> =
        cameras.iter().map(|card| Some(card.days.unwrap_or(days).min(days))).collect();
    let needs = week_bytes(&kept, f64::from(hours_a_day), kbits);
    // What lies there already makes room for what comes.
    let held: u64 = held.iter().map(|held| held.bytes).sum();
    let used = state.total_bytes.saturating_sub(state.free_bytes).saturating_sub(held);
    let room = ((state.total_bytes as f64 * DISK_SHARE_MAX) as u64).saturating_sub(used);
    (needs > room).then(|| Cramped { name: week.name.clone(), needs, room, hours_a_day })
}

/// The same, of this house now.
pub(super) async fn cramped_now(
    app: &App,
    cameras: &[CameraCard],
    state: &RecorderState,
    now: DateTime<Utc>,
) -> Result<Option<Cramped>, Problem> {
    let (weeks, held) = (app.weeks.list().await?, app.cameras.indexer.index.held().await?);
    let plan = (app.settings.hours_a_day, USUAL_KBITS);
    Ok(cramped(&weeks, cameras, &held, state, plan, now))
}

fn days_left(starts: NaiveDate, ends: NaiveDate, day: NaiveDate) -> u16 {
    u16::try_from((ends - day.max(starts)).num_days()).unwrap_or(0)
}

#[derive(Debug, Deserialize)]
pub(super) struct DaysForm {
    #[serde(default)]
    pub(super) jours: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct KeptForm {
    /// UTC milliseconds.
    de: i64,
    a: i64,
}

/// `POST /regie/cameras/{id}/conserver`: for how many days; empty is until room is needed.
pub(super) async fn set_days(
    State(app): State<App>,
    user: User,
    headers: HeaderMap,
    Path(camera): Path<CameraId>,
    Form(form): Form<DaysForm>,
) -> Result<Response, Problem> {
    let days = match form.jours.trim() {
        "" => Ok(None),
        typed => typed.parse::<u16>().map(Some).map_err(|_| CameraError::Days),
    };
    let set = match days {
        Ok(days) => app.cameras.set_days(camera, days, Some(user.person.id)).await,
        Err(error) => Err(error.into()),
    };
    match set {
        Ok(()) => {
            let there = format!("/regie/cameras/{camera}?dit=duree-reglee#conserver");
            Ok(Redirect::to(&there).into_response())
        }
        Err(CamerasError::Refused(error @ CameraError::Days)) => {
            let wrong = error.to_string();
            let shown =
                studio::camera_with_days(&app, &user, &headers, camera, form.jours, wrong).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&shown)?).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /regie/cameras/{id}/garder`: keeps a span, by its times of day.
pub(super) async fn keep(
    State(app): State<App>,
    user: User,
    Path(camera): Path<CameraId>,
    Form(form): Form<footage::SpanForm>,
) -> Result<Response, Problem> {
    let wrong = match footage::instants(&form) {
        Ok((from, to)) => {
            let typed = form.titre.trim().chars().take(TITLE_CHARS_MAX).collect::<String>();
            let title = if typed.is_empty() { "Sans titre".to_owned() } else { typed };
            let span = KeptSpan { from, to, title };
            match app.cameras.keep_span(camera, span, Some(user.person.id)).await {
                Ok(()) => {
                    let there = format!("/regie/cameras/{camera}/image?dit=passage-garde#gardes");
                    return Ok(Redirect::to(&there).into_response());
                }
                Err(CamerasError::Refused(
                    error @ (CameraError::Span | CameraError::TooManySpans),
                )) => error.to_string(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(wrong) => wrong,
    };
    footage::again(&app, &user, camera, form, wrong).await
}

/// Longest title of a kept span, in characters.
const TITLE_CHARS_MAX: usize = 80;

/// `POST /regie/cameras/{id}/liberer`: lets a kept span go.
pub(super) async fn let_go(
    State(app): State<App>,
    user: User,
    Path(camera): Path<CameraId>,
    Form(form): Form<KeptForm>,
) -> Result<Redirect, Problem> {
    app.cameras.let_span_go(camera, form.de, form.a, Some(user.person.id)).await?;
    Ok(Redirect::to(&format!("/regie/cameras/{camera}/image?dit=passage-libere#gardes")))
}

/// What a number of days may be at most, for the form.
pub(super) const fn days_max() -> u16 {
    DAYS_KEPT_MAX
}
