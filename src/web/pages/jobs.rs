//! « Travaux »: slow work under way and done, with progress, errors, another try, a stop.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{Html, Redirect};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::domain::ids::JobId;
use crate::domain::job::{JOB_ATTEMPTS_MAX, Job, JobState, JobView};
use crate::ports::PortError;
use crate::web::pages::french::{When, length, percent};
use crate::web::pages::shell::{Paging, Place, Shell};
use crate::web::{App, Problem, User, page};

/// Finished jobs shown on one page.
const OVER_PER_PAGE: usize = 30;
/// Below this share a rate says nothing about the time left.
const SHARE_TO_TELL_MIN: f32 = 0.04;

/// What stands in the address.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    page: Option<usize>,
    dit: Option<String>,
}

/// A job in words.
pub(super) struct JobRow {
    pub(super) id: JobId,
    pub(super) title: String,
    pub(super) icon: &'static str,
    pub(super) state: &'static str,
    pub(super) state_icon: &'static str,
    pub(super) state_class: &'static str,
    pub(super) is_running: bool,
    /// 0 to 100.
    pub(super) progress: u32,
    pub(super) share: String,
    pub(super) note: String,
    pub(super) left: Option<String>,
    pub(super) tries: Option<String>,
    pub(super) error: Option<String>,
    pub(super) when: When,
    pub(super) may_cancel: bool,
    pub(super) may_retry: bool,
}

impl JobRow {
    /// What a job on `subject` says of itself at `now`.
    pub(super) fn new(view: &JobView, subject: &str, now: DateTime<Utc>) -> Self {
        let (what, icon) = match &view.job {
            Job::ImportStream(_) => ("Import de", "upload"),
            Job::DetectMoments { .. } => ("Recherche des moments de", "zap"),
            Job::CutCamera { .. } => ("Extrait de", "scissors"),
            Job::ClipMark { .. } => ("Extraits du repère pour", "flag"),
            Job::AlignCameras => ("Calage, par le son, de", "radio"),
            Job::CutClip { .. } => ("Découpe de", "scissors"),
            Job::RenderReel { .. } => ("Reel de", "smartphone"),
            Job::FillGap { .. } => ("Rattrapage d'un trou dans l'écoute de", "radio"),
        };
        let waits_again = view.state == JobState::Waiting && view.error.is_some();
        let (state, state_icon, state_class) = match view.state {
            _ if view.cancel_asked && !view.state.is_over() => ("s'arrête", "ban", "warn"),
            JobState::Waiting if waits_again => ("va réessayer", "rotate-ccw", "warn"),
            JobState::Waiting => ("en attente", "clock", ""),
            JobState::Running => ("en cours", "loader-circle", "live"),
            JobState::Done => ("terminé", "circle-check", "good"),
            JobState::Failed => ("échoué", "circle-x", "bad"),
            JobState::Cancelled => ("annulé", "ban", ""),
        };
        let is_running = view.state == JobState::Running;
        let tries = (view.attempt > 1 && !matches!(view.state, JobState::Done))
            .then(|| format!("essai {} sur {JOB_ATTEMPTS_MAX}", view.attempt));
        let share = f64::from(view.progress.clamp(0.0, 1.0));
        Self {
            id: view.id,
            title: format!("{what} « {subject} »"),
            icon,
            state,
            state_icon,
            state_class,
            is_running,
            progress: (share * 100.0) as u32,
            share: percent(share),
            note: view.note.clone(),
            left: is_running.then(|| time_left(view, now)).flatten(),
            tries,
            error: view.error.clone().filter(|_| !matches!(view.state, JobState::Done)),
            when: When::ago(view.finished_at.or(view.started_at).unwrap_or(view.created_at), now),
            may_cancel: !view.state.is_over() && !view.cancel_asked,
            may_retry: matches!(view.state, JobState::Failed | JobState::Cancelled),
        }
    }
}

/// At the rate so far.
fn time_left(view: &JobView, now: DateTime<Utc>) -> Option<String> {
    let started = view.started_at?;
    if view.progress < SHARE_TO_TELL_MIN {
        return None;
    }
    let spent = (now - started).num_milliseconds() as f64;
    let left = spent * f64::from((1.0 - view.progress) / view.progress);
    (left > 0.0).then(|| format!("encore {} environ", length(left as i64)))
}

#[derive(Template)]
#[template(path = "pages/jobs.html")]
pub(super) struct JobsPage {
    pub(super) shell: Shell,
    pub(super) under_way: Vec<JobRow>,
    pub(super) failed: Vec<JobRow>,
    pub(super) over: Vec<JobRow>,
    pub(super) paging: Paging,
}

/// `GET /travaux`
pub(super) async fn list(
    State(app): State<App>,
    user: User,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Problem> {
    let mut jobs = app.jobs.list().await?;
    // A mark without a camera asks for nothing, and cameras are measured again and again: they are worth no line once done.
    let is_quiet = |job: &Job| matches!(job, Job::ClipMark { .. } | Job::AlignCameras);
    jobs.retain(|view| !(is_quiet(&view.job) && view.state == JobState::Done));
    let (failed, rest): (Vec<_>, Vec<_>) =
        jobs.into_iter().partition(|view| view.state == JobState::Failed);
    let (mut over, under_way): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|view| view.state.is_over());
    over.sort_by_key(|view| std::cmp::Reverse(view.finished_at.unwrap_or(view.created_at)));
    let paging = Paging::new(over.len(), OVER_PER_PAGE, asked.page, "/travaux");
    let over = paging.cut(over, OVER_PER_PAGE);
    let shown = JobsPage {
        shell: Shell::saying(&user, Place::Jobs, asked.dit.as_deref()),
        under_way: rows(&app, &under_way).await?,
        failed: rows(&app, &failed).await?,
        over: rows(&app, &over).await?,
        paging,
    };
    page(&shown)
}

/// `POST /travaux/{id}/relancer`
pub(super) async fn retry(
    State(app): State<App>,
    _user: User,
    Path(job): Path<JobId>,
) -> Result<Redirect, Problem> {
    let done = app.jobs.retry(job).await?;
    Ok(Redirect::to(if done {
        "/travaux?dit=travail-relance"
    } else {
        "/travaux?dit=travail-fini"
    }))
}

/// `POST /travaux/{id}/annuler`
pub(super) async fn cancel(
    State(app): State<App>,
    _user: User,
    Path(job): Path<JobId>,
) -> Result<Redirect, Problem> {
    let done = app.jobs.cancel(job).await?;
    Ok(Redirect::to(if done { "/travaux?dit=travail-annule" } else { "/travaux?dit=travail-fini" }))
}

/// Jobs in words; what they are about is looked up once each.
pub(super) async fn rows(app: &App, views: &[JobView]) -> Result<Vec<JobRow>, PortError> {
    let now = app.clock.now();
    let mut known: HashMap<String, String> = HashMap::new();
    let mut rows = Vec::with_capacity(views.len());
    for view in views {
        let key = match &view.job {
            Job::ImportStream(order) => {
                rows.push(JobRow::new(view, &order.title, now));
                continue;
            }
            Job::DetectMoments { live } | Job::ClipMark { live, .. } => live.to_string(),
            Job::CutClip { clip } | Job::CutCamera { clip } | Job::RenderReel { clip } => {
                clip.to_string()
            }

            Job::FillGap { gap } => gap.channel.to_string(),
            Job::AlignCameras => "cameras".to_owned(),
        };
        let subject = match known.entry(key) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(place) => place.insert(subject(app, &view.job).await?),
        };
        rows.push(JobRow::new(view, subject, now));
    }
    Ok(rows)
}

async fn subject(app: &App, job: &Job) -> Result<String, PortError> {
    let title = match job {
        Job::ImportStream(order) => Some(order.title.clone()),
        Job::DetectMoments { live } => app.lives.find(*live).await?.map(|card| card.title),
        Job::ClipMark { .. } | Job::AlignCameras => Some("toutes les caméras".to_owned()),
        Job::CutClip { clip } | Job::CutCamera { clip } | Job::RenderReel { clip } => {
            app.clips.find(*clip).await?.map(|card| card.clip.title.as_str().to_owned())
        }
        Job::FillGap { gap } => {
            let found = app.channels.find(&gap.channel).await;
            let found = found.map_err(|error| PortError::passing("find a channel", error))?;
            Some(found.map_or_else(|| gap.channel.to_string(), |channel| channel.name))
        }
    };
    Ok(title.unwrap_or_else(|| "sans titre".to_owned()))
}
