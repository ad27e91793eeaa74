//! « Semaines »: the villa weeks, and opening one.

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use chrono::NaiveDate;
use futures::future::try_join_all;
use serde::Deserialize;

use crate::domain::ids::WeekId;
use crate::domain::villa::{WEEK_NAME_CHARS_MAX, WeekName, WeekNameError};
use crate::read_models::{LiveCard, WeekCard};
use crate::web::pages::french::{count, counted, day, length, today};
use crate::web::pages::shell::{Paging, Place, Shell, escaped, matches};
use crate::web::{App, MaybeUser, Problem, User, page};

/// Weeks shown on one page.
const WEEKS_PER_PAGE: usize = 20;
/// From this many weeks on, a search is offered.
const SEARCH_FROM: usize = 8;

/// What stands in the address.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    q: Option<String>,
    page: Option<usize>,
    dit: Option<String>,
}

/// A week as it is typed.
#[derive(Debug, Default, Deserialize)]
pub(super) struct WeekForm {
    nom: String,
    #[serde(default)]
    debut: String,
}

pub(super) struct WeekRow {
    id: WeekId,
    name: String,
    starts: String,
    lives: String,
    length: String,
    messages: String,
}

#[derive(Template)]
#[template(path = "pages/weeks.html")]
pub(super) struct WeeksPage {
    pub(super) shell: Shell,
    pub(super) rows: Vec<WeekRow>,
    pub(super) paging: Paging,
    /// Weeks there are, whatever is looked for.
    pub(super) total: usize,
    pub(super) search: String,
    pub(super) typed: WeekForm,
    pub(super) wrong: Option<String>,
}

impl WeeksPage {
    const NAME_CHARS_MAX: usize = WEEK_NAME_CHARS_MAX;

    fn offers_search(&self) -> bool {
        self.total >= SEARCH_FROM || !self.search.is_empty()
    }
}

impl WeekRow {
    pub(super) fn new(week: &WeekCard, lives: &[LiveCard]) -> Self {
        let ms = lives.iter().map(|live| live.recording.duration_ms).sum();
        let messages = lives.iter().map(|live| live.messages).sum();
        Self {
            id: week.id,
            name: week.name.clone(),
            starts: day(week.starts_on),
            lives: count(lives.len() as u64),
            length: if lives.is_empty() { "0".to_owned() } else { length(ms) },
            messages: count(messages),
        }
    }
}

/// `GET /`: whoever is signed in goes to work, everybody else to the door.
pub(super) async fn front(user: MaybeUser) -> Redirect {
    Redirect::to(if user.0.is_some() { "/semaines" } else { "/connexion" })
}

/// `GET /semaines`
pub(super) async fn list(
    State(app): State<App>,
    user: User,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Problem> {
    let typed = WeekForm { debut: today(app.clock.now()).to_string(), ..WeekForm::default() };
    page(&weeks_page(&app, &user, asked, typed, None).await?)
}

/// `POST /semaines`: opens a week; the name that exists leads to that week.
pub(super) async fn open(
    State(app): State<App>,
    user: User,
    Form(form): Form<WeekForm>,
) -> Result<Response, Problem> {
    let name = WeekName::try_new(&form.nom).map_err(|error| wrong_name(&error));
    let starts_on = form.debut.trim().parse::<NaiveDate>().map_err(|_| {
        "Le premier jour s'écrit comme « 2026-11-09 » : choisissez-le dans le calendrier."
            .to_owned()
    });
    match (name, starts_on) {
        (Ok(name), Ok(starts_on)) => {
            let week = app.weeks.open(name, starts_on, Some(user.person.id)).await?;
            Ok(Redirect::to(&format!("/semaines/{week}?dit=semaine-ouverte")).into_response())
        }
        (Err(wrong), _) | (_, Err(wrong)) => {
            let again = weeks_page(&app, &user, Asked::default(), form, Some(wrong)).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&again)?).into_response())
        }
    }
}

async fn weeks_page(
    app: &App,
    user: &User,
    asked: Asked,
    typed: WeekForm,
    wrong: Option<String>,
) -> Result<WeeksPage, Problem> {
    let search = asked.q.unwrap_or_default().trim().to_owned();
    let mut weeks = app.weeks.list().await?;
    let total = weeks.len();
    weeks.retain(|week| matches(&format!("{} {}", week.name, day(week.starts_on)), &search));
    let path = if search.is_empty() {
        "/semaines".to_owned()
    } else {
        format!("/semaines?q={}", escaped(&search))
    };
    let paging = Paging::new(weeks.len(), WEEKS_PER_PAGE, asked.page, &path);
    let weeks = paging.cut(weeks, WEEKS_PER_PAGE);
    let lives = try_join_all(weeks.iter().map(|week| app.lives.of_week(week.id))).await?;
    let rows = weeks.iter().zip(&lives).map(|(week, lives)| WeekRow::new(week, lives)).collect();
    let shell = Shell::saying(user, Place::Weeks, asked.dit.as_deref());
    Ok(WeeksPage { shell, rows, paging, total, search, typed, wrong })
}

fn wrong_name(error: &WeekNameError) -> String {
    match error {
        WeekNameError::Empty => {
            "Donnez un nom à la semaine, comme « Villa Novembre 2026 ».".to_owned()
        }
        WeekNameError::TooLong { chars } => format!(
            "Le nom compte {WEEK_NAME_CHARS_MAX} caractères au plus ; celui-ci en a {}.",
            count(*chars as u64)
        ),
        WeekNameError::Control => "Le nom tient sur une seule ligne.".to_owned(),
    }
}

/// « 3 semaines ».
pub(super) fn weeks_counted(total: usize) -> String {
    counted(total as u64, "semaine", "semaines")
}
