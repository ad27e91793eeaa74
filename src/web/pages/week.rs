//! One week: its lives, what is being imported, the form to import another.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{Html, Redirect};
use futures::future::try_join_all;
use serde::Deserialize;

use crate::domain::clips::ClipState;
use crate::domain::ids::{LiveId, WeekId};
use crate::domain::job::{Job, JobState};
use crate::ports::PortError;
use crate::read_models::{LiveCard, WeekCard};
use crate::use_cases::live::pulse_step_ms;
use crate::web::pages::french::{When, count, counted, day, length};
use crate::web::pages::jobs::{self, JobRow};
use crate::web::pages::moments::pulse::Pulse;
use crate::web::pages::shell::{Paging, Place, Shell, escaped, matches};
use crate::web::{App, Problem, User, page};

/// Lives shown on one page.
const LIVES_PER_PAGE: usize = 20;
/// From this many lives on, a search is offered.
const SEARCH_FROM: usize = 12;

/// What stands in the address.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    q: Option<String>,
    page: Option<usize>,
    dit: Option<String>,
    /// The live that an import found to be here already.
    deja: Option<LiveId>,
}

/// A live in words and a small curve.
pub(super) struct LiveRow {
    pub(super) id: LiveId,
    pub(super) title: String,
    pub(super) started: When,
    pub(super) length: String,
    pub(super) messages: String,
    pub(super) moments: Option<String>,
    pub(super) to_judge: usize,
    pub(super) clips: String,
    pub(super) pulse: Pulse,
    /// It was here before an import of the same files.
    pub(super) is_pointed_at: bool,
}

#[derive(Template)]
#[template(path = "pages/week.html")]
pub(super) struct WeekPage {
    pub(super) shell: Shell,
    pub(super) week: WeekCard,
    pub(super) starts: String,
    pub(super) rows: Vec<LiveRow>,
    pub(super) paging: Paging,
    pub(super) total: usize,
    pub(super) search: String,
    /// Imports of this week that are not done.
    pub(super) imports: Vec<JobRow>,
    pub(super) already_here: Option<String>,
}

impl WeekPage {
    fn offers_search(&self) -> bool {
        self.total >= SEARCH_FROM || !self.search.is_empty()
    }

    fn is_under_way(&self) -> bool {
        self.imports.iter().any(|job| job.may_cancel)
            || self.rows.iter().any(|live| live.moments.is_none())
    }
}

/// `GET /semaines/{id}`
pub(super) async fn show(
    State(app): State<App>,
    user: User,
    Path(week): Path<WeekId>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Problem> {
    let week = app.weeks.find(week).await?.ok_or_else(Problem::not_found)?;
    let search = asked.q.unwrap_or_default().trim().to_owned();
    let mut lives = app.lives.of_week(week.id).await?;
    let total = lives.len();
    let already_here = asked
        .deja
        .and_then(|live| lives.iter().find(|card| card.id == live))
        .map(|card| card.title.clone());
    lives.retain(|live| matches(&live.title, &search));
    let path = if search.is_empty() {
        format!("/semaines/{}", week.id)
    } else {
        format!("/semaines/{}?q={}", week.id, escaped(&search))
    };
    let paging = Paging::new(lives.len(), LIVES_PER_PAGE, asked.page, &path);
    let lives = paging.cut(lives, LIVES_PER_PAGE);
    let rows = try_join_all(lives.iter().map(|live| row(&app, live, asked.deja))).await?;
    let imports: Vec<_> = app
        .jobs
        .list()
        .await?
        .into_iter()
        .filter(|view| !matches!(view.state, JobState::Done | JobState::Cancelled))
        .filter(|view| matches!(&view.job, Job::ImportStream(order) if order.week == week.id))
        .collect();
    let shown = WeekPage {
        shell: Shell::saying(&user, Place::Weeks, asked.dit.as_deref()),
        starts: day(week.starts_on),
        week,
        rows,
        paging,
        total,
        search,
        imports: jobs::rows(&app, &imports).await?,
        already_here,
    };
    page(&shown)
}

/// `GET /directs/{id}`
pub(super) async fn live(Path(live): Path<LiveId>) -> Redirect {
    Redirect::to(&format!("/directs/{live}/moments"))
}

async fn row(app: &App, live: &LiveCard, pointed_at: Option<LiveId>) -> Result<LiveRow, PortError> {
    let counts = app.lives.pulse(live).await?;
    let clips = app.clips.of_live(live.id).await?;
    let step_ms = pulse_step_ms(live.recording.duration_ms);
    let pulse = Pulse::of_steps(&counts, step_ms, live.recording.duration_ms);
    let to_judge =
        clips.iter().filter(|card| matches!(card.clip.state, ClipState::Cut { .. })).count();
    Ok(LiveRow {
        id: live.id,
        title: live.title.clone(),
        started: When::at(live.started_at),
        length: length(live.recording.duration_ms),
        messages: count(live.messages),
        moments: live
            .analysis
            .as_ref()
            .map(|analysis| counted(u64::from(analysis.moments), "moment", "moments")),
        to_judge,
        clips: counted(clips.len() as u64, "clip", "clips"),
        pulse,
        is_pointed_at: pointed_at == Some(live.id),
    })
}
