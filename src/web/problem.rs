//! The one place that turns errors into what the caller reads: problem+json (RFC 9457) for programs, a French page for
//! people. What is our fault tells nothing and is logged here, once.

use std::panic::AssertUnwindSafe;

use askama::Template;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use serde::Serialize;

use crate::domain::accounts::AccountError;
use crate::domain::clips::{ClipError, SpanError};
use crate::domain::live::camera::CameraError;
use crate::domain::villa::WeekNameError;
use crate::ports::PortError;
use crate::ports::media_store::StoreError;
use crate::ports::platform::PlatformError;
use crate::use_cases::accounts::AccountsError;
use crate::use_cases::audience::channels::ChannelsError;
use crate::use_cases::clips::ClipsError;
use crate::use_cases::live::cameras::CamerasError;
use crate::web::Wants;

/// How soon a caller may try again after a passing fault, in seconds.
const RETRY_AFTER_S: u32 = 5;

/// Something that could not be done, in words for the caller.
#[derive(Debug, Clone)]
pub struct Problem {
    pub status: StatusCode,
    /// A stable English word for programs.
    pub kind: &'static str,
    /// A few French words.
    pub title: &'static str,
    /// A French sentence that says what to do.
    pub detail: String,
    /// Seconds until another try makes sense.
    pub retry_after_s: Option<u32>,
    /// For the log only.
    cause: Option<String>,
}

impl Problem {
    fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { status, kind, title, detail: detail.into(), retry_after_s: None, cause: None }
    }

    /// 400: the request itself makes no sense.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "Demande incompréhensible", detail)
    }

    /// 401: nobody is signed in.
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "Connexion nécessaire",
            "Connectez-vous, puis recommencez.",
        )
    }

    /// 403: this role may not.
    pub fn forbidden() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "Accès refusé",
            "Votre rôle ne permet pas cette action. Demandez à un administrateur s'il vous la faut.",
        )
    }

    /// 403: the request did not come from one of our pages.
    pub fn forged() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forged",
            "Demande refusée",
            "Cette demande ne vient pas d'une page de SPARK, ou la page a vieilli. Rechargez la page, puis recommencez.",
        )
    }

    /// 404: no such thing, for this caller.
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "Introuvable",
            "Cette page n'existe pas, ou n'existe plus. Revenez aux semaines pour la retrouver.",
        )
    }

    /// 409: what stands contradicts it.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Impossible dans cet état", detail)
    }

    /// 410: it was there once.
    pub fn gone(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "gone", "Lien périmé", detail)
    }

    /// 413: more than is taken.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Envoi trop gros", detail)
    }

    /// 416: the file has no such bytes. The caller adds `Content-Range`.
    pub fn range() -> Self {
        Self::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "range",
            "Passage hors du fichier",
            "Le fichier est plus court que le passage demandé.",
        )
    }

    /// 422: a field holds something that cannot be.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Saisie à corriger", detail)
    }

    /// 429: too often.
    pub fn too_many(retry_after_s: u32) -> Self {
        let detail =
            format!("Trop d'essais en peu de temps. Réessayez dans {retry_after_s} secondes.");
        Self {
            retry_after_s: Some(retry_after_s),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "Trop d'essais", detail)
        }
    }

    /// 500: our fault; the cause goes to the log.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Quelque chose s'est mal passé",
                "L'erreur vient de SPARK et elle est notée. Réessayez ; si elle revient, prévenez un administrateur.",
            )
        }
    }

    /// 503: it may go through in a moment; the cause goes to the log.
    pub fn unavailable(cause: impl Into<String>) -> Self {
        Self {
            cause: Some(cause.into()),
            retry_after_s: Some(RETRY_AFTER_S),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Un instant",
                "Un service ne répond pas pour l'instant. Réessayez dans quelques secondes.",
            )
        }
    }

    /// 503: the machine keeps what it has for the live.
    pub fn shed(retry_after_s: u32) -> Self {
        let detail = format!(
            "La machine garde ses forces pour le direct : cette page attend son tour. Réessayez dans {retry_after_s} secondes ; le direct, les repères et l'enregistrement continuent."
        );
        Self {
            retry_after_s: Some(retry_after_s),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "shed", "Priorité au direct", detail)
        }
    }

    /// 507: no room on the disk.
    pub fn disk_full() -> Self {
        Self::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "disk-full",
            "Disque presque plein",
            "Il n'y a pas assez de place sur le disque pour ce fichier. Libérez de la place, puis recommencez : rien n'a été gardé.",
        )
    }

    /// Whether the house failed, and did not merely refuse: what it refuses has no cause for the log.
    pub(super) const fn is_fault(&self) -> bool {
        self.cause.is_some()
    }

    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::unauthenticated(),
            StatusCode::FORBIDDEN => Self::forbidden(),
            StatusCode::NOT_FOUND => Self::not_found(),
            StatusCode::PAYLOAD_TOO_LARGE => {
                Self::too_large("Ce formulaire dépasse ce que SPARK accepte. Raccourcissez-le.")
            }
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                status,
                "method-not-allowed",
                "Action inconnue",
                "Cette adresse ne connaît pas cette action.",
            ),
            StatusCode::UNPROCESSABLE_ENTITY => {
                Self::invalid("Un champ manque ou n'a pas la forme attendue. Vérifiez la saisie.")
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::new(
                status,
                "media-type",
                "Format inattendu",
                "Envoyez ce formulaire depuis sa page.",
            ),
            status if status.is_server_error() => Self::internal(format!("answered {status}")),
            status => Self {
                status,
                ..Self::bad_request(
                    "SPARK n'a pas compris cette demande. Vérifiez l'adresse ou la saisie.",
                )
            },
        }
    }

    fn document(&self, instance: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Document<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            instance: &'a str,
        }
        let document = Document {
            r#type: format!("urn:spark:problem:{}", self.kind),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            instance,
        };
        serde_json::to_vec(&document).expect("five texts and a number are always JSON")
    }
}

impl IntoResponse for Problem {
    /// A bare response that [`render`] dresses once it knows what the caller wants to read.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Template)]
#[template(path = "pages/problem.html")]
struct ProblemPage<'a> {
    status: u16,
    title: &'a str,
    detail: &'a str,
}

/// Dresses every failed response: problem+json or the error page, and logs what is our fault. A handler that panics is a
/// failed response too.
pub(super) async fn render(request: Request, next: Next) -> Response {
    let wants = Wants::of(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => Problem::internal("the handler panicked").into_response(),
    };
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        // A form shown again with what is wrong in it.
        None if is_a_page(&response) => return response,
        None => Problem::of_status(status),
    };
    log(&problem, &method, &path);
    let (kind, body) = match wants {
        Wants::Json => ("application/problem+json", problem.document(&path)),
        Wants::Page => {
            let page = ProblemPage {
                status: problem.status.as_u16(),
                title: problem.title,
                detail: &problem.detail,
            };
            // A page that cannot be rendered must not hide the problem itself.
            let html = page.render().unwrap_or_else(|_| problem.title.to_owned());
            ("text/html; charset=utf-8", html.into_bytes())
        }
    };
    *response.status_mut() = problem.status;
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static("fr"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if problem.status != StatusCode::METHOD_NOT_ALLOWED {
        headers.remove(ALLOW);
    }
    *response.body_mut() = Body::from(body);
    // For whoever counts.
    response.extensions_mut().insert(problem);
    response
}

fn is_a_page(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"text/html"))
}

fn log(problem: &Problem, method: &Method, path: &str) {
    // A link's token is a secret.
    let path = if path.starts_with("/bienvenue/") { "/bienvenue/…" } else { path };
    let status = problem.status.as_u16();
    let cause = problem.cause.as_deref().unwrap_or("none given");
    if problem.status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(status, %method, path, cause, "cannot answer {method} {path}");
    } else if problem.status.is_server_error() {
        tracing::warn!(status, %method, path, cause, "cannot answer {method} {path} now");
    }
}

impl From<PortError> for Problem {
    fn from(error: PortError) -> Self {
        if error.retry { Self::unavailable(error.chain()) } else { Self::internal(error.chain()) }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DiskFull { .. } => {
                Self { cause: Some(error.to_string()), ..Self::disk_full() }
            }
            StoreError::Port(error) => error.into(),
            StoreError::Cancelled => Self::unavailable("a media operation was stopped"),
            error @ (StoreError::SourceChanged { .. } | StoreError::Source { .. }) => {
                Self::internal(error.to_string())
            }
        }
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        let detail = error.to_string();
        match error {
            AccountError::Email(_)
            | AccountError::Password { .. }
            | AccountError::Name { .. }
            | AccountError::Credentials => Self::invalid(detail),
            AccountError::EmailTaken | AccountError::LastAdministrator => Self::conflict(detail),
            AccountError::Link => Self::gone(detail),
            AccountError::Unknown(_) => Self { detail, ..Self::not_found() },
        }
    }
}

impl From<AccountsError> for Problem {
    fn from(error: AccountsError) -> Self {
        match error {
            AccountsError::Account(error) => error.into(),
            AccountsError::Port(error) => error.into(),
        }
    }
}

impl From<ChannelsError> for Problem {
    fn from(error: ChannelsError) -> Self {
        let detail = error.to_string();
        match error {
            ChannelsError::NotLinked(_) => Self { detail, ..Self::not_found() },
            ChannelsError::RelinkNeeded(_) | ChannelsError::TooManyCodes => Self::conflict(detail),
            ChannelsError::LinkSpent => Self::gone(detail),
            ChannelsError::Keys(words) => Self::internal(words),
            ChannelsError::Platform(error) => match &*error {
                PlatformError::NotConfigured => Self::conflict(
                    "Aucune application Twitch n'est déclarée : la page « Chaînes » dit comment faire.",
                ),
                error if error.may_pass() => Self {
                    detail: "Twitch ne répond pas pour l'instant. Réessayez dans une minute."
                        .to_owned(),
                    ..Self::unavailable(error.to_string())
                },
                _ => Self::conflict(
                    "Twitch a refusé cette demande. Recommencez ; si cela persiste, vérifiez l'application déclarée chez Twitch.",
                ),
            },
            ChannelsError::Port(error) if error.retry => Self::unavailable(error.chain()),
            ChannelsError::Port(error) => Self::internal(error.chain()),
        }
    }
}

impl From<CamerasError> for Problem {
    fn from(error: CamerasError) -> Self {
        match error {
            CamerasError::Refused(error @ CameraError::Unknown) => {
                Self { detail: error.to_string(), ..Self::not_found() }
            }
            CamerasError::Refused(error) => Self::invalid(error.to_string()),
            CamerasError::NoRelay(text) => Self::invalid(text),
            CamerasError::Port(error) => error.into(),
        }
    }
}

impl From<ClipsError> for Problem {
    fn from(error: ClipsError) -> Self {
        match error {
            ClipsError::Clip(error) => error.into(),
            ClipsError::NoLive(_) => Self::not_found(),
            ClipsError::Port(error) => error.into(),
        }
    }
}

impl From<ClipError> for Problem {
    fn from(error: ClipError) -> Self {
        match error {
            ClipError::Unknown(_) => Self::not_found(),
            ClipError::NotCut(_) => Self::conflict(
                "Ce clip n'est pas encore découpé. Attendez son travail, ou voyez dans « Travaux » pourquoi il a échoué.",
            ),
            ClipError::Title { chars } => Self::invalid(format!(
                "Un titre tient sur une ligne de 1 à 80 caractères ; celui-ci en a {chars}."
            )),
            ClipError::ReelUnderWay(_) => Self::conflict(
                "Un reel de ce clip est déjà en route : il apparaîtra ici une fois prêt.",
            ),
            ClipError::Span(error) => error.into(),
        }
    }
}

impl From<SpanError> for Problem {
    fn from(error: SpanError) -> Self {
        Self::invalid(match error {
            SpanError::Backwards { .. } => {
                "Un clip commence avant sa fin : vérifiez les deux instants."
            }
            SpanError::Length { .. } => {
                "Un clip dure de 1 s à 3 min : rapprochez ou écartez ses deux instants."
            }
            SpanError::Outside { .. } => {
                "La fin du clip dépasse celle de la vidéo : choisissez un instant plus tôt."
            }
        })
    }
}

impl From<WeekNameError> for Problem {
    fn from(error: WeekNameError) -> Self {
        Self::invalid(match error {
            WeekNameError::Empty => {
                "Donnez un nom à la semaine, par exemple « Villa Novembre 2026 ».".to_owned()
            }
            WeekNameError::TooLong { chars } => {
                format!(
                    "Le nom d'une semaine compte au plus 80 caractères ; celui-ci en a {chars}."
                )
            }
            WeekNameError::Control => "Le nom d'une semaine tient sur une ligne.".to_owned(),
        })
    }
}
