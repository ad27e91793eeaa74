//! Linking Twitch channels, and what each of them allows.

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use uuid::Uuid;

use crate::domain::audience::channel::{Channel, ChannelId, Feature, Scopes, Trouble};
use crate::use_cases::audience::channels::{Browser, ChannelsError, DeviceLink, DeviceState};
use crate::web::pages::french::{When, counted};
use crate::web::pages::shell::{Place, Shell};
use crate::web::pages::{Said, house_address};
use crate::web::{App, Problem, User, page};

#[derive(Template)]
#[template(path = "pages/channels.html")]
struct ChannelsPage {
    shell: Shell,
    channels: Vec<ChannelRow>,
    /// Whether an application is set to link channels with.
    is_configured: bool,
    return_url: String,
    problem: Option<String>,
}

struct ChannelRow {
    id: ChannelId,
    name: String,
    login: String,
    trouble: Option<&'static str>,
    validated: When,
    /// What stands still for lack of permission, counted; empty when nothing does.
    missing: String,
}

impl ChannelRow {
    fn of(channel: &Channel, app: &App) -> Self {
        let missing = channel.missing().iter().filter(|feature| feature.is_necessary()).count();
        Self {
            id: channel.id.clone(),
            name: channel.name.clone(),
            login: channel.login.clone(),
            trouble: channel.trouble.map(trouble_in_words),
            validated: When::ago(channel.validated_at, app.clock.now()),
            missing: match missing {
                0 => String::new(),
                n => counted(n as u64, "fonction à l'arrêt", "fonctions à l'arrêt"),
            },
        }
    }
}

#[derive(Template)]
#[template(path = "pages/channel.html")]
struct ChannelPage {
    shell: Shell,
    channel: ChannelRow,
    linked: When,
    /// Necessary features whose permission is missing.
    lacking: Vec<Feature>,
    /// Optional features nobody allowed.
    optional: Vec<Feature>,
    allowed: Vec<Feature>,
    is_configured: bool,
}

#[derive(Template)]
#[template(path = "pages/channel_leaving.html")]
struct LeavingPage<'a> {
    url: &'a str,
}

#[derive(Template)]
#[template(path = "pages/channel_code.html")]
struct CodePage {
    code: String,
    url: String,
    expires: When,
    state: DeviceState,
}

/// What the platform sends a browser back with.
#[derive(Deserialize)]
pub(super) struct Return {
    state: Option<String>,
    code: Option<String>,
}

/// Fields of a form, those of a name given as often as boxes were ticked.
type Fields = Form<Vec<(String, String)>>;

/// `GET /chaines`
pub(super) async fn list(
    State(app): State<App>,
    user: User,
    headers: HeaderMap,
    Query(asked): Query<Said>,
) -> Result<Response, Problem> {
    let shell = Shell::saying(&user, Place::Channels, asked.dit.as_deref());
    show(&app, shell, &headers, None).await
}

/// `GET /chaines/{id}`: what it allows, and what is missing for what.
pub(super) async fn channel(
    State(app): State<App>,
    user: User,
    Path(id): Path<ChannelId>,
    Query(asked): Query<Said>,
) -> Result<Html<String>, Problem> {
    let channel = app.channels.find(&id).await?.ok_or_else(Problem::not_found)?;
    let (necessary, optional) = channel.missing().into_iter().partition(|f| f.is_necessary());
    page(&ChannelPage {
        shell: Shell::saying(&user, Place::Channels, asked.dit.as_deref()),
        linked: When::ago(channel.linked_at, app.clock.now()),
        lacking: necessary,
        optional,
        allowed: Feature::ALL.into_iter().filter(|feature| channel.allows(*feature)).collect(),
        channel: ChannelRow::of(&channel, &app),
        is_configured: app.channels.is_configured(),
    })
}

/// `POST /chaines/relier`: leads to Twitch. By a page, not a redirect: our policy lets no form lead elsewhere.
pub(super) async fn begin(
    State(app): State<App>,
    user: User,
    headers: HeaderMap,
    Form(fields): Fields,
) -> Result<Response, Problem> {
    let mut standing = Scopes::new();
    if let Some((_, id)) = fields.iter().find(|(name, _)| name == "chaine")
        && let Ok(id) = ChannelId::try_new(id.as_str())
        && let Some(channel) = app.channels.find(&id).await?
    {
        standing = channel.scopes;
    }
    let (browser, back) = (browser(&user), return_url(&app, &headers));
    match app.channels.begin_linking(browser, &back, &wanted(&fields), &standing).await {
        Ok(url) => Ok(page(&LeavingPage { url: &url })?.into_response()),
        Err(error) => again(&app, &user, &headers, error).await,
    }
}

/// `GET /chaines/retour`: Twitch sends the browser back here.
pub(super) async fn finish(
    State(app): State<App>,
    user: User,
    headers: HeaderMap,
    Query(asked): Query<Return>,
) -> Result<Response, Problem> {
    let state = asked.state.unwrap_or_default();
    let Some(code) = asked.code else {
        app.channels.drop_linking(browser(&user), &state).await?;
        return Ok(Redirect::to("/chaines?dit=chaine-refusee").into_response());
    };
    match app.channels.finish_linking(browser(&user), &state, &code).await {
        Ok(channel) => {
            let to = format!("/chaines/{}?dit=chaine-reliee", channel.id);
            Ok(Redirect::to(&to).into_response())
        }
        Err(error @ ChannelsError::Platform(_)) => again(&app, &user, &headers, error).await,
        Err(error) => Err(error.into()),
    }
}

/// `POST /chaines/code`: links by a code typed elsewhere.
pub(super) async fn begin_code(
    State(app): State<App>,
    user: User,
    headers: HeaderMap,
    Form(fields): Fields,
) -> Result<Response, Problem> {
    match app.channels.begin_code(&wanted(&fields)).await {
        Ok(link) => Ok(Redirect::to(&format!("/chaines/code/{}", link.id)).into_response()),
        Err(error) => again(&app, &user, &headers, error).await,
    }
}

/// `GET /chaines/code/{id}`: the code, and how it stands.
pub(super) async fn code(
    State(app): State<App>,
    Path(id): Path<Uuid>,
) -> Result<Response, Problem> {
    let DeviceLink { user_code, url, expires_at, state, .. } =
        app.channels.find_code(id).ok_or_else(Problem::not_found)?;
    if let DeviceState::Linked(channel) = &state {
        let to = format!("/chaines/{channel}?dit=chaine-reliee");
        return Ok(Redirect::to(&to).into_response());
    }
    let expires = When::at(expires_at);
    Ok(page(&CodePage { code: user_code, url, expires, state })?.into_response())
}

/// `POST /chaines/{id}/delier`
pub(super) async fn unlink(
    State(app): State<App>,
    Path(id): Path<ChannelId>,
) -> Result<Redirect, Problem> {
    app.channels.unlink(&id).await?;
    Ok(Redirect::to("/chaines?dit=chaine-deliee"))
}

/// The list again, with what went wrong at Twitch's.
async fn again(
    app: &App,
    user: &User,
    headers: &HeaderMap,
    error: ChannelsError,
) -> Result<Response, Problem> {
    let (ChannelsError::Platform(_) | ChannelsError::TooManyCodes) = &error else {
        return Err(error.into());
    };
    tracing::warn!(%error, "could not link a channel");
    let problem = Problem::from(error).detail;
    show(app, Shell::new(user, Place::Channels), headers, Some(problem)).await
}

async fn show(
    app: &App,
    shell: Shell,
    headers: &HeaderMap,
    problem: Option<String>,
) -> Result<Response, Problem> {
    let channels = app.channels.list().await?;
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let shown = page(&ChannelsPage {
        shell,
        channels: channels.iter().map(|channel| ChannelRow::of(channel, app)).collect(),
        is_configured: app.channels.is_configured(),
        return_url: return_url(app, headers),
        problem,
    })?;
    Ok((status, shown).into_response())
}

fn browser(user: &User) -> Browser {
    Browser { session_hash: user.session.reference_hash, session_secret: user.session.csrf }
}

fn return_url(app: &App, headers: &HeaderMap) -> String {
    format!("{}/chaines/retour", house_address(app, headers))
}

fn wanted(fields: &[(String, String)]) -> Vec<Feature> {
    let ticked = fields.iter().filter(|(name, _)| name == "avec");
    ticked.filter_map(|(_, word)| Feature::parse(word)).collect()
}

const fn trouble_in_words(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::RefreshRefused => {
            "Twitch ne reconnaît plus l'autorisation : elle a expiré ou a été retirée."
        }
        Trouble::Revoked => "La chaîne a retiré son autorisation sur Twitch.",
    }
}

/// Optional features, for the form of a new link.
fn optional_features() -> Vec<Feature> {
    Feature::ALL.into_iter().filter(|feature| !feature.is_necessary()).collect()
}
