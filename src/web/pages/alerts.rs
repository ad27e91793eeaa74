//! « Alertes »: what is wrong now and who takes care of it, what was, and which ways alerts take to people.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Form, Json};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::alerts::{Incident, Turn, Weight, time_to_recovery};
use crate::domain::ids::{IncidentId, PersonId};
use crate::ports::people::Person;
use crate::use_cases::alerts::{DeviceError, Way, words};
use crate::web::pages::Said;
use crate::web::pages::french::{When, clock, counted};
use crate::web::pages::shell::{Place, Shell};
use crate::web::{App, Problem, User, assets, page};

/// The script that browsers run when they are woken; its place decides which pages it may open.
const WORKER: &str = "wake.js";
const WORKER_SCOPE: HeaderName = HeaderName::from_static("service-worker-allowed");

/// What lasts now.
struct OpenRow {
    id: IncidentId,
    class: &'static str,
    icon: &'static str,
    title: String,
    words: String,
    since: When,
    taken: Option<String>,
}

/// What is over.
struct PastRow {
    title: String,
    at: When,
    words: String,
    taken: Option<String>,
}

/// A way to people.
struct WayRow {
    name: &'static str,
    class: &'static str,
    icon: &'static str,
    word: &'static str,
    words: String,
}

#[derive(Template)]
#[template(path = "pages/alerts.html")]
pub(super) struct AlertsPage {
    shell: Shell,
    verdict: String,
    open: Vec<OpenRow>,
    past: Vec<PastRow>,
    recovery: Option<String>,
    ways: Vec<WayRow>,
    quiet: String,
    push_key: Option<String>,
}

/// `GET /alertes`
pub(super) async fn show(
    State(app): State<App>,
    user: User,
    Query(said): Query<Said>,
) -> Result<Html<String>, Problem> {
    let (now, open, past) = (app.clock.now(), app.alerts.open(), app.alerts.past().await?);
    let people = app.accounts.list().await?;
    let names: HashMap<PersonId, String> =
        people.into_iter().map(|Person { id, name, .. }| (id, name)).collect();
    let name = |incident: &Incident| {
        let taken = incident.taken?;
        let name = names.get(&taken.by).filter(|name| !name.is_empty());
        let name = name.map_or("Quelqu'un qui est parti", String::as_str);
        Some((name.to_owned(), clock(taken.at)))
    };
    let recovery = time_to_recovery(&past).map(|mean| {
        let count = past.len() as u64;
        format!(
            "{}. Retour à la normale en {}, en moyenne.",
            counted(count, "incident", "incidents"),
            words::length(mean)
        )
    });
    page(&AlertsPage {
        shell: Shell::saying(&user, Place::Health, said.dit.as_deref()).without_alert(),
        verdict: verdict(&open),
        open: open.iter().map(|it| open_row(it, name(it), now)).collect(),
        past: past.iter().map(|it| past_row(it, name(it), now)).collect(),
        recovery,
        ways: way_rows(&app.alerts.ways()),
        quiet: quiet(&app),
        push_key: app.alerts.push_key().map(str::to_owned),
    })
}

fn verdict(open: &[Incident]) -> String {
    let waiting = open.iter().filter(|it| it.is_waiting()).count() as u64;
    match (open.len(), waiting) {
        (0, _) => "Rien ne va mal.".to_owned(),
        (_, 0) => "Quelqu'un s'occupe de tout ce qui ne va pas.".to_owned(),
        _ => format!("{} quelqu'un.", counted(waiting, "alerte attend", "alertes attendent")),
    }
}

/// Whoever took it, and when.
type Taker = Option<(String, String)>;

fn open_row(incident: &Incident, taker: Taker, now: DateTime<Utc>) -> OpenRow {
    let is_urgent = incident.topic.weight() == Weight::Urgent;
    OpenRow {
        id: incident.id,
        class: if is_urgent { "bad" } else { "warn" },
        icon: if is_urgent { "circle-x" } else { "triangle-alert" },
        title: words::title(incident.topic),
        words: words::now(incident),
        since: When::ago(incident.opened_at, now),
        taken: taker.map(|(name, at)| format!("{name} s'en occupe depuis {at}")),
    }
}

fn past_row(incident: &Incident, taker: Taker, now: DateTime<Utc>) -> PastRow {
    PastRow {
        title: words::title(incident.topic),
        at: When::ago(incident.opened_at, now),
        words: words::after(incident),
        taken: taker.map(|(name, _)| format!("{name} s'en est occupé")),
    }
}

fn way_rows(ways: &[Way]) -> Vec<WayRow> {
    let row = |word: &'static str, name, without: &str| match ways
        .iter()
        .find(|way| way.name == word)
        .map(|way| way.fault.clone())
    {
        None => WayRow {
            name,
            class: "quiet",
            icon: "circle-dashed",
            word: "pas réglé",
            words: without.to_owned(),
        },
        Some(None) => {
            WayRow {
                name, class: "good", icon: "circle-check", word: "prêt", words: String::new()
            }
        }
        Some(Some(fault)) => {
            WayRow { name, class: "bad", icon: "circle-x", word: "ne part pas", words: fault }
        }
    };
    vec![
        row("mail", "Courriel", "Réglez smtp, mail_from et mail_to sous [alerts]."),
        row("webhook", "Discord", "Réglez webhook sous [alerts]."),
        row("push", "Navigateurs", "Réglez push = \"on\" sous [alerts]."),
    ]
}

fn quiet(app: &App) -> String {
    app.alerts.quiet().map_or_else(
        || "Toutes les alertes partent à toute heure.".to_owned(),
        |hours| {
            format!(
                "De {} à {}, seules les alertes urgentes partent ; les autres attendent.",
                hours.from.format("%-H\u{a0}h\u{a0}%M"),
                hours.to.format("%-H\u{a0}h\u{a0}%M")
            )
        },
    )
}

/// What is wrong, in one line for every page.
#[derive(Template)]
#[template(path = "parts/alert.html")]
struct Banner {
    shell: Shell,
}

/// `GET /alertes/bandeau`: the line that a page open for long asks for.
pub(super) async fn banner(user: User) -> Result<Html<String>, Problem> {
    page(&Banner { shell: Shell::new(&user, Place::Health) })
}

/// What a browser that was woken shows.
#[derive(Serialize)]
pub(super) struct Latest {
    /// The same for both ends of an incident: the second takes the place of the first.
    about: Option<IncidentId>,
    title: String,
    text: String,
}

/// `GET /alertes/derniere.json`
pub(super) async fn latest(State(app): State<App>) -> Result<Json<Latest>, Problem> {
    let open = app.alerts.open();
    let (past, newest) = (app.alerts.past().await?, open.iter().max_by_key(|it| it.opened_at));
    let ended = past.first();
    // Whichever happened last: a beginning or an end.
    let is_over = ended.is_some_and(|ended| {
        newest.is_none_or(|newest| ended.closed_at.is_some_and(|at| at > newest.opened_at))
    });
    let (incident, turn) = if is_over { (ended, Turn::Ending) } else { (newest, Turn::Opening) };
    Ok(Json(incident.map_or_else(
        || Latest {
            about: None,
            title: "Tout va bien".to_owned(),
            text: "Aucune alerte en cours.".to_owned(),
        },
        |incident| {
            let (title, text) = words::notice(incident, turn);
            Latest { about: Some(incident.id), title, text }
        },
    )))
}

/// `POST /alertes/{id}/prendre`
pub(super) async fn take(
    State(app): State<App>,
    user: User,
    Path(id): Path<IncidentId>,
) -> Redirect {
    let is_taken = app.alerts.take(id, user.person.id).await;
    Redirect::to(if is_taken { "/alertes?dit=alerte-prise" } else { "/alertes?dit=alerte-finie" })
}

/// `POST /alertes/essai`
pub(super) async fn rehearse(State(app): State<App>) -> Redirect {
    let ways = app.alerts.rehearse().await;
    Redirect::to(if ways.iter().all(|way| way.fault.is_none()) {
        "/alertes?dit=essai-parti"
    } else {
        "/alertes?dit=essai-refuse"
    })
}

/// A browser's push service.
#[derive(Debug, Deserialize)]
pub(super) struct Endpoint {
    endpoint: String,
}

/// `POST /alertes/appareils`
pub(super) async fn add_device(
    State(app): State<App>,
    user: User,
    Form(Endpoint { endpoint }): Form<Endpoint>,
) -> Result<StatusCode, Problem> {
    match app.alerts.add_device(user.person.id, &endpoint).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(DeviceError::Endpoint) => Err(Problem::invalid(
            "Cette adresse n'est pas celle d'un navigateur. Autorisez les notifications, puis recommencez.",
        )),
        Err(DeviceError::Port(error)) => Err(error.into()),
    }
}

/// `POST /alertes/appareils/oublier`
pub(super) async fn remove_device(
    State(app): State<App>,
    Form(Endpoint { endpoint }): Form<Endpoint>,
) -> Result<StatusCode, Problem> {
    app.alerts.remove_device(&endpoint).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /reveil.js`: the script that browsers run when they are woken, for all of the house's pages.
pub(super) async fn worker() -> Result<Response, Problem> {
    let script = assets::text(WORKER).ok_or_else(Problem::not_found)?;
    let mut response = script.into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/javascript; charset=utf-8");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(WORKER_SCOPE, HeaderValue::from_static("/"));
    Ok(response)
}
