//! Signing in and out, welcome links, one's own sessions, the team.

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::header::{HeaderName, REFERRER_POLICY, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{AppendHeaders, Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::domain::accounts::{
    AccountError, EmailAddress, NAME_CHARS_MAX, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, Role,
};
use crate::domain::ids::PersonId;
use crate::use_cases::accounts::{AccountsError, Opened};
use crate::web::guard::{cookie_for, cookie_gone, reference, return_path};
use crate::web::pages::french::When;
use crate::web::pages::shell::{Place, Shell};
use crate::web::pages::{Said, house_address};
use crate::web::{App, Client, MaybeUser, Problem, User, page};

/// A page behind a secret address: no other site learns it, no search engine keeps it. Not `no-referrer`: under it
/// browsers send `Origin: null` with our own forms.
const SECRET_PAGE: [(HeaderName, HeaderValue); 2] = [
    (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex")),
];

#[derive(Template)]
#[template(path = "pages/login.html")]
struct LoginPage<'a> {
    back: &'a str,
    email: &'a str,
    problem: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Return {
    retour: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct LoginForm {
    email: String,
    password: String,
    retour: Option<String>,
}

/// `GET /connexion?retour=/chemin`
pub(super) async fn login_page(
    user: MaybeUser,
    Query(asked): Query<Return>,
) -> Result<Response, Problem> {
    let back = return_path(asked.retour.as_deref());
    if user.0.is_some() {
        return Ok(Redirect::to(&back).into_response());
    }
    Ok(page(&LoginPage { back: &back, email: "", problem: None })?.into_response())
}

/// `POST /connexion`: a wrong word keeps the address that was typed.
pub(super) async fn login(
    State(app): State<App>,
    client: Client,
    headers: HeaderMap,
    Form(form): Form<LoginForm>,
) -> Result<Response, Problem> {
    let back = return_path(form.retour.as_deref());
    app.throttle().take(client.address, &form.email, app.clock.now()).map_err(Problem::too_many)?;
    let before = reference(&headers);
    let login =
        app.accounts.login(&form.email, form.password, before.as_deref(), &client.device).await;
    match login {
        Ok(opened) => Ok(let_in(&opened, &back)),
        Err(AccountsError::Account(error)) => {
            let again =
                LoginPage { back: &back, email: &form.email, problem: Some(error.to_string()) };
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&again)?).into_response())
        }
        Err(AccountsError::Port(error)) => Err(error.into()),
    }
}

/// `POST /deconnexion`
pub(super) async fn logout(State(app): State<App>, user: User) -> Result<Response, Problem> {
    app.accounts.logout(&user.session).await?;
    let gone = AppendHeaders([(SET_COOKIE, cookie_gone())]);
    Ok((gone, Redirect::to("/connexion")).into_response())
}

fn let_in(opened: &Opened, back: &str) -> Response {
    (AppendHeaders([(SET_COOKIE, cookie_for(opened))]), Redirect::to(back)).into_response()
}

#[derive(Template)]
#[template(path = "pages/welcome.html")]
struct WelcomePage<'a> {
    /// The address the account has already; none on first coming without one.
    known_email: Option<&'a str>,
    name: &'a str,
    email: &'a str,
    problem: Option<String>,
}

impl WelcomePage<'_> {
    const NAME_CHARS_MAX: usize = NAME_CHARS_MAX;
    const PASSWORD_CHARS_MIN: usize = PASSWORD_CHARS_MIN;
    const PASSWORD_CHARS_MAX: usize = PASSWORD_CHARS_MAX;
}

#[derive(Deserialize)]
pub(super) struct WelcomeForm {
    name: String,
    #[serde(default)]
    email: String,
    password: String,
}

/// `GET /bienvenue/{token}` shows what is asked; the link is spent by the POST only.
pub(super) async fn welcome_page(
    State(app): State<App>,
    Path(token): Path<String>,
) -> Result<Response, Problem> {
    let person = app.accounts.find_link(&token).await?.ok_or(AccountError::Link)?;
    let shown = WelcomePage {
        known_email: person.email.as_ref().map(EmailAddress::as_str),
        name: &person.name,
        email: "",
        problem: None,
    };
    Ok((AppendHeaders(SECRET_PAGE), page(&shown)?).into_response())
}

/// `POST /bienvenue/{token}`: the person is in, with a session.
pub(super) async fn join(
    State(app): State<App>,
    client: Client,
    Path(token): Path<String>,
    Form(form): Form<WelcomeForm>,
) -> Result<Response, Problem> {
    let person = app.accounts.find_link(&token).await?.ok_or(AccountError::Link)?;
    let joined =
        app.accounts.join(&token, &form.name, &form.email, form.password, &client.device).await;
    match joined {
        Ok(opened) => Ok(let_in(&opened, "/")),
        Err(AccountsError::Account(error)) if error != AccountError::Link => {
            let again = WelcomePage {
                known_email: person.email.as_ref().map(EmailAddress::as_str),
                name: &form.name,
                email: &form.email,
                problem: Some(error.to_string()),
            };
            let again = page(&again)?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, AppendHeaders(SECRET_PAGE), again)
                .into_response())
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Template)]
#[template(path = "pages/account.html")]
struct AccountPage {
    shell: Shell,
    role: &'static str,
    sessions: Vec<SessionRow>,
}

struct SessionRow {
    device: String,
    seen: When,
    is_this: bool,
}

/// `GET /compte`: who I am here, and where I am signed in.
pub(super) async fn account_page(
    State(app): State<App>,
    user: User,
    Query(asked): Query<Said>,
) -> Result<Html<String>, Problem> {
    let now = app.clock.now();
    let sessions = app.accounts.sessions(&user.person).await?;
    let sessions = sessions
        .into_iter()
        .map(|session| SessionRow {
            is_this: session.reference_hash == user.session.reference_hash,
            device: device_in_words(&session.device),
            seen: When::ago(session.seen_at, now),
        })
        .collect();
    let shell = Shell::saying(&user, Place::Me, asked.dit.as_deref());
    page(&AccountPage { shell, role: role_name(user.role()), sessions })
}

/// `POST /compte/sessions`: ends all sessions but this one.
pub(super) async fn end_other_sessions(
    State(app): State<App>,
    user: User,
) -> Result<Redirect, Problem> {
    app.accounts.end_other_sessions(&user.session).await?;
    Ok(Redirect::to("/compte?dit=sessions-fermees"))
}

#[derive(Template)]
#[template(path = "pages/team.html")]
struct TeamPage {
    shell: Shell,
    people: Vec<PersonRow>,
    /// The word in forms, and what it is called.
    roles: [(&'static str, &'static str); 6],
    /// Shown once, to be passed on.
    link: Option<String>,
    problem: Option<String>,
    typed_email: String,
    typed_role: &'static str,
}

struct PersonRow {
    id: PersonId,
    name: String,
    email: String,
    role: &'static str,
    has_joined: bool,
}

impl PersonRow {
    /// What a screen reader calls the row.
    fn called(&self) -> &str {
        match (self.name.as_str(), self.email.as_str()) {
            ("", "") => "l'invitation en attente",
            ("", email) => email,
            (name, _) => name,
        }
    }
}

/// What the page is shown with besides the people.
#[derive(Default)]
struct TeamSays {
    dit: Option<String>,
    link: Option<String>,
    problem: Option<String>,
    typed: Option<InviteForm>,
}

#[derive(Deserialize)]
pub(super) struct InviteForm {
    #[serde(default)]
    email: String,
    role: Role,
}

#[derive(Deserialize)]
pub(super) struct RoleForm {
    role: Role,
}

/// `GET /equipe`
pub(super) async fn team_page(
    State(app): State<App>,
    user: User,
    Query(asked): Query<Said>,
) -> Result<Response, Problem> {
    show_team(&app, &user, TeamSays { dit: asked.dit, ..TeamSays::default() }).await
}

/// `POST /equipe`: invites somebody; the answer shows the link to pass on.
pub(super) async fn invite(
    State(app): State<App>,
    user: User,
    headers: HeaderMap,
    Form(form): Form<InviteForm>,
) -> Result<Response, Problem> {
    let invited = match form.email.trim() {
        "" => Ok(None),
        raw => EmailAddress::try_new(raw).map(Some),
    };
    let invited = match invited {
        Ok(email) => app.accounts.invite(user.person.id, email, form.role).await,
        Err(error) => Err(error.into()),
    };
    let says = match invited {
        Ok((_, token)) => TeamSays {
            link: Some(welcome_address(&app, &headers, token.as_str())),
            ..TeamSays::default()
        },
        Err(AccountsError::Account(error)) => {
            TeamSays { problem: Some(error.to_string()), typed: Some(form), ..TeamSays::default() }
        }
        Err(AccountsError::Port(error)) => return Err(error.into()),
    };
    show_team(&app, &user, says).await
}

/// `POST /equipe/{id}/lien`: a new link for somebody who lost theirs, or their password.
pub(super) async fn relink(
    State(app): State<App>,
    user: User,
    headers: HeaderMap,
    Path(person): Path<PersonId>,
) -> Result<Response, Problem> {
    let token = app.accounts.relink(person).await?;
    let link = welcome_address(&app, &headers, token.as_str());
    show_team(&app, &user, TeamSays { link: Some(link), ..TeamSays::default() }).await
}

/// `POST /equipe/{id}/role`
pub(super) async fn change_role(
    State(app): State<App>,
    user: User,
    Path(person): Path<PersonId>,
    Form(form): Form<RoleForm>,
) -> Result<Response, Problem> {
    let changed = app.accounts.change_role(user.person.id, person, form.role).await;
    back_to_team(&app, &user, changed, "role-change").await
}

/// `POST /equipe/{id}/fermeture`
pub(super) async fn close(
    State(app): State<App>,
    user: User,
    Path(person): Path<PersonId>,
) -> Result<Response, Problem> {
    let closed = app.accounts.close(user.person.id, person).await;
    back_to_team(&app, &user, closed, "compte-ferme").await
}

async fn back_to_team(
    app: &App,
    user: &User,
    done: Result<(), AccountsError>,
    code: &str,
) -> Result<Response, Problem> {
    match done {
        Ok(()) => Ok(Redirect::to(&format!("/equipe?dit={code}")).into_response()),
        Err(AccountsError::Account(error @ AccountError::LastAdministrator)) => {
            let says = TeamSays { problem: Some(error.to_string()), ..TeamSays::default() };
            show_team(app, user, says).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn show_team(app: &App, user: &User, says: TeamSays) -> Result<Response, Problem> {
    let TeamSays { dit, link, problem, typed } = says;
    let people = app.accounts.list().await?;
    let people = people
        .into_iter()
        .map(|person| PersonRow {
            id: person.id,
            has_joined: person.has_joined(),
            email: person.email.as_ref().map_or("", EmailAddress::as_str).to_owned(),
            name: person.name,
            role: person.role.as_str(),
        })
        .collect();
    let roles = Role::ALL.map(|role| (role.as_str(), role_name(role)));
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let (typed_email, typed_role) =
        typed.map_or((String::new(), Role::Editor), |form| (form.email, form.role));
    let shown = page(&TeamPage {
        shell: Shell::saying(user, Place::People, dit.as_deref()),
        people,
        roles,
        link,
        problem,
        typed_email,
        typed_role: typed_role.as_str(),
    })?;
    Ok((status, AppendHeaders(SECRET_PAGE), shown).into_response())
}

/// What the person who gets the link opens.
fn welcome_address(app: &App, headers: &HeaderMap, token: &str) -> String {
    format!("{}/bienvenue/{token}", house_address(app, headers))
}

/// A browser by its name and system; what it says of itself where neither is known.
fn device_in_words(said: &str) -> String {
    const BROWSERS: [(&str, &str); 5] = [
        ("Edg/", "Edge"),
        ("Firefox/", "Firefox"),
        ("OPR/", "Opera"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    const SYSTEMS: [(&str, &str); 6] = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS", "Mac"),
        ("Linux", "Linux"),
    ];
    let named = |names: &[(&str, &'static str)]| {
        names.iter().find(|(mark, _)| said.contains(mark)).map(|(_, name)| *name)
    };
    match (named(&BROWSERS), named(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} sur {system}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => said.to_owned(),
    }
}

/// What a role is called on a page.
const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Admin => "Administration",
        Role::Coordinator => "Coordination",
        Role::Streamer => "Streaming",
        Role::Editor => "Montage",
        Role::Sponsor => "Sponsor",
        Role::Artist => "Artiste",
    }
}
