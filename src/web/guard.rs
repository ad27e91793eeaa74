//! The one guard before every declared route: where an unsafe request comes from, who is signed in, whether their role
//! may, and the form token. Deny by default.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderName, ORIGIN, USER_AGENT,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use subtle::ConstantTimeEq;

use crate::domain::accounts::{Permission, Role, may};
use crate::domain::alerts::Incident;
use crate::domain::audience::channel::ChannelId;
use crate::domain::resources::Class;
use crate::ports::people::{Person, Session};
use crate::use_cases::accounts::{Opened, SignedIn};
use crate::web::app::App;
use crate::web::routes::Access;
use crate::web::wants::Wants;
use crate::web::{Problem, media, shed};

/// The session cookie. The `__Host-` prefix makes browsers insist on Secure, Path=/ and no Domain.
const COOKIE_NAME: &str = "__Host-spark";
/// Largest form, in bytes.
pub(super) const FORM_BYTES_MAX: usize = 64 * 1024;
/// How long a form may take to arrive.
const FORM_ARRIVES_MAX: Duration = Duration::from_secs(10);
/// Longest path that a login leads back to, in bytes.
const RETURN_BYTES_MAX: usize = 512;

const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");
const CSRF_FIELD: &str = "csrf";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");

/// The other end of the connection, put there by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Where a request comes from: the address that limits count by, and what the browser says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub address: IpAddr,
    pub device: String,
}

impl FromRequestParts<App> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let peer = parts
            .extensions
            .get::<Peer>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(peer)| peer.ip());
        // Only the last entry is our own proxy's word; those before it are the client's.
        let forwarded = parts
            .headers
            .get_all(&FORWARDED_FOR)
            .iter()
            .next_back()
            .and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok())
            .filter(|_| app.settings.behind_proxy);
        let device = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self { address: forwarded.unwrap_or(peer), device: device.unwrap_or("").to_owned() })
    }
}

/// Who is signed in. Only behind a route that asks for it.
#[derive(Debug, Clone)]
pub struct User {
    pub person: Person,
    pub session: Session,
    /// The form token as text, masked anew for each response so that compression cannot betray it.
    pub csrf: String,
    /// What is wrong now and waits for a person, for those who look after the house: the first of them, and how many.
    pub alert: Option<(Incident, usize)>,
}

fn waiting(app: &App) -> Option<(Incident, usize)> {
    let mut waiting = app.alerts.open();
    waiting.retain(Incident::is_waiting);
    let count = waiting.len();
    waiting.into_iter().next().map(|first| (first, count))
}

impl User {
    fn new(app: &App, signed_in: SignedIn) -> Self {
        let SignedIn { person, session } = signed_in;
        let pad = app.clock.new_secret();
        let mut masked = pad.to_vec();
        masked.extend(session.csrf.iter().zip(pad).map(|(byte, pad)| byte ^ pad));
        let alert = may(person.role, Permission::SeeHealth).then(|| waiting(app)).flatten();
        Self { person, csrf: URL_SAFE_NO_PAD.encode(masked), session, alert }
    }

    /// What this person is in the house.
    pub const fn role(&self) -> Role {
        self.person.role
    }

    /// Whether this person may; for showing or hiding a button. The guard decides anyway.
    pub const fn may(&self, permission: Permission) -> bool {
        may(self.person.role, permission)
    }
}

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unauthenticated)
    }
}

/// Who is signed in, if anybody: for public pages.
#[derive(Debug, Clone)]
pub struct MaybeUser(pub Option<User>);

impl FromRequestParts<App> for MaybeUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        if let Some(user) = parts.extensions.get::<User>() {
            return Ok(Self(Some(user.clone())));
        }
        Ok(Self(who(app, &parts.headers).await?))
    }
}

/// A guard's post: the route's access, how dear it is, and the house to ask.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) app: App,
    pub(super) access: Access,
    pub(super) class: Class,
}

pub(super) async fn guard(
    State(gate): State<Gate>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Gate { app, access, class } = gate;
    shed::judge(&app, class)?;
    let unsafe_method = !matches!(*request.method(), Method::GET | Method::HEAD);
    if unsafe_method && access != Access::Signed {
        check_origin(request.headers(), app.settings.base_url.as_deref())?;
    }
    let needed = match access {
        Access::Public | Access::Signed => return Ok(next.run(request).await),
        Access::SignedIn => None,
        Access::Needs(permission) => Some(permission),
        Access::MeasuresOr(permission) => {
            if is_measuring(&app, &request) {
                return Ok(next.run(request).await);
            }
            Some(permission)
        }
        Access::MarkKeyOr(permission) => {
            if is_marking(&app, &request) {
                return Ok(next.run(request).await);
            }
            Some(permission)
        }
        Access::Media => {
            if media::is_linked(&app, request.uri()) {
                return Ok(next.run(request).await);
            }
            Some(media::permission(request.uri()).ok_or_else(Problem::not_found)?)
        }
    };
    let Some(user) = who(&app, request.headers()).await? else {
        return turn_to_login(&request);
    };
    if needed.is_some_and(|permission| !user.may(permission)) {
        return Err(Problem::forbidden());
    }
    let mut request = if unsafe_method { check_token(request, &user).await? } else { request };
    request.extensions_mut().insert(user);
    Ok(next.run(request).await)
}

async fn who(app: &App, headers: &HeaderMap) -> Result<Option<User>, Problem> {
    let Some(reference) = reference(headers) else { return Ok(None) };
    let signed_in = app.accounts.authenticate(&reference).await?;
    Ok(signed_in.map(|signed_in| User::new(app, signed_in)))
}

/// The session reference a browser sent.
pub(super) fn reference(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE_NAME).then(|| value.to_owned()))
}

/// The cookie that keeps a session just opened. The server alone decides when it ends.
pub(super) fn cookie_for(opened: &Opened) -> HeaderValue {
    let cookie = format!(
        "{COOKIE_NAME}={}; Path=/; Secure; HttpOnly; SameSite=Lax",
        opened.reference.as_str()
    );
    HeaderValue::try_from(cookie).expect("base64url and plain words fit a header")
}

/// The cookie that makes a browser forget its session.
pub(super) fn cookie_gone() -> HeaderValue {
    HeaderValue::from_static("__Host-spark=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
}

fn turn_to_login(request: &Request) -> Result<Response, Problem> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let login = login_address(request.uri());
    if request.headers().contains_key(HX_REQUEST) {
        let mut response = Problem::unauthenticated().into_response();
        if let Ok(login) = HeaderValue::try_from(login) {
            response.headers_mut().insert(HX_REDIRECT, login);
        }
        return Ok(response);
    }
    if reads && Wants::of(request.headers()) == Wants::Page {
        return Ok(Redirect::to(&login).into_response());
    }
    Err(Problem::unauthenticated())
}

fn login_address(uri: &Uri) -> String {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let back = return_path(Some(path));
    if back == "/" {
        return "/connexion".to_owned();
    }
    format!("/connexion?retour={}", utf8_percent_encode(&back, NON_ALPHANUMERIC))
}

/// Where a login leads back to: a path of this very site, or the first page.
pub(super) fn return_path(asked: Option<&str>) -> String {
    let fits = |path: &&str| {
        path.len() <= RETURN_BYTES_MAX
            && path.starts_with('/')
            && !path.starts_with("//")
            && !path.contains('\\')
            && path.bytes().all(|byte| byte.is_ascii_graphic())
            && !["/connexion", "/deconnexion", "/bienvenue"].iter().any(|own| path.starts_with(own))
    };
    asked.filter(fits).unwrap_or("/").to_owned()
}

/// An unsafe request comes from one of our own pages, or not at all: every browser in use says so by `Origin`, and by
/// `Sec-Fetch-Site` where it can. A program sends `Origin` itself.
fn check_origin(headers: &HeaderMap, base_url: Option<&str>) -> Result<(), Problem> {
    let site = headers.get(&SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return Err(Problem::forged());
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return if site.is_some() { Ok(()) } else { Err(Problem::forged()) };
    };
    let origin = origin.to_str().unwrap_or("").trim_end_matches('/');
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let ours = origin.split_once("://").is_some_and(|(scheme, authority)| {
        (scheme == "http" || scheme == "https") && Some(authority) == host
    }) || base_url.is_some_and(|base| base.trim_end_matches('/') == origin);
    if ours { Ok(()) } else { Err(Problem::forged()) }
}

/// Looks for the form token where it may stand: the header, a form's field, or (multipart) the address, so that nothing
/// of a large body is read before.
async fn check_token(request: Request, user: &User) -> Result<Request, Problem> {
    if let Some(token) = request.headers().get(&CSRF_HEADER) {
        return if is_token(token.as_bytes(), user) { Ok(request) } else { Err(Problem::forged()) };
    }
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or("").to_ascii_lowercase();
    if kind.starts_with("multipart/form-data") {
        let query = request.uri().query().unwrap_or("");
        return match field(query.as_bytes()) {
            Some(token) if is_token(token.as_bytes(), user) => Ok(request),
            _ => Err(Problem::forged()),
        };
    }
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(Problem::forged());
    }
    let (parts, body) = request.into_parts();
    let form = read_form(body).await?;
    match field(&form) {
        Some(token) if is_token(token.as_bytes(), user) => {
            Ok(Request::from_parts(parts, Body::from(form)))
        }
        _ => Err(Problem::forged()),
    }
}

async fn read_form(body: Body) -> Result<Bytes, Problem> {
    tokio::time::timeout(FORM_ARRIVES_MAX, to_bytes(body, FORM_BYTES_MAX))
        .await
        .map_err(|_| Problem::bad_request("Ce formulaire n'est pas arrivé en entier. Renvoyez-le."))?
        .map_err(|_| {
            Problem::too_large(
                "Ce formulaire est trop long ou n'est pas arrivé en entier. Raccourcissez-le et renvoyez-le.",
            )
        })
}

/// The token among form fields. It is base64url: percent-encoding leaves it as it is.
fn field(form: &[u8]) -> Option<String> {
    std::str::from_utf8(form)
        .ok()?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(name, value)| (name == CSRF_FIELD).then(|| value.to_owned()))
}

fn is_token(token: &[u8], user: &User) -> bool {
    let Ok(masked) = URL_SAFE_NO_PAD.decode(token) else { return false };
    let Some((pad, masked)) = masked.split_at_checked(user.session.csrf.len()) else {
        return false;
    };
    let plain: Vec<u8> = pad.iter().zip(masked).map(|(pad, byte)| pad ^ byte).collect();
    plain.ct_eq(&user.session.csrf[..]).into()
}

/// A key on somebody's desk that marks a channel: by the token « Direct » shows for it.
fn is_marking(app: &App, request: &Request) -> bool {
    let bearer = request.headers().get(AUTHORIZATION);
    let Some(token) = bearer.and_then(|value| value.as_bytes().strip_prefix(b"Bearer ")) else {
        return false;
    };
    let path = request.uri().path();
    let channel = path.strip_prefix("/direct/").and_then(|rest| rest.strip_suffix("/marque"));
    let channel = channel.and_then(|channel| ChannelId::try_new(channel).ok());
    channel.is_some_and(|channel| app.mark_key(&channel).as_bytes().ct_eq(token).into())
}

/// A program that collects measures: by its token, or on this machine and not through a proxy.
fn is_measuring(app: &App, request: &Request) -> bool {
    let headers = request.headers();
    let bearer =
        headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if let (Some(token), Some(bearer)) = (&app.settings.measures_token, bearer) {
        return token.as_bytes().ct_eq(bearer).into();
    }
    let here = request.extensions().get::<Peer>().is_some_and(|Peer(peer)| peer.ip().is_loopback());
    // A page opened in a browser on this machine goes by its session; a proxy leaves its mark.
    here && !headers.contains_key(&FORWARDED_FOR)
        && !headers.contains_key(&FORWARDED)
        && !headers.contains_key(&SEC_FETCH_SITE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_back_to_this_site_only() {
        for path in ["/semaines", "/semaines/7?tri=date"] {
            assert_eq!(return_path(Some(path)), path);
        }
        for path in [
            "//ailleurs.example",
            "https://ailleurs.example",
            "/\\ailleurs.example",
            "semaines",
            "",
            "/a\r\nSet-Cookie: x",
            "/connexion?retour=/",
            "/deconnexion",
        ] {
            assert_eq!(return_path(Some(path)), "/", "{path:?} was accepted");
        }
    }

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], fine: bool) {
        let mut map = HeaderMap::new();
        map.insert(HOST, HeaderValue::from_static("villa.example:8080"));
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_static(value));
        }
        assert_eq!(check_origin(&map, Some("https://spark.example/")).is_ok(), fine, "{headers:?}");
    }

    #[test]
    fn an_unsafe_request_says_that_it_comes_from_us() {
        check(&[("origin", "http://villa.example:8080")], true);
        check(&[("origin", "https://spark.example")], true);
        check(&[("sec-fetch-site", "same-origin")], true);
        check(&[("sec-fetch-site", "same-origin"), ("origin", "https://villa.example:8080")], true);
        check(&[], false);
        check(&[("origin", "null")], false);
        check(&[("origin", "https://villa.example")], false);
        check(&[("origin", "https://ailleurs.example")], false);
        check(&[("sec-fetch-site", "cross-site"), ("origin", "http://villa.example:8080")], false);
        check(&[("sec-fetch-site", "same-site")], false);
        check(&[("sec-fetch-site", "same-origin"), ("origin", "https://ailleurs.example")], false);
    }
}
