//! What is done to clips: ask for one, judge, rename, ask for a reel. Each leads back to where it was asked.

use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::domain::clips::clip::TITLE_CHARS_MAX;
use crate::domain::clips::{ClipError, ClipTitle};
use crate::domain::ids::{ClipId, LiveId};
use crate::read_models::ClipCard;
use crate::use_cases::clips::ClipsError;
use crate::web::guard::return_path;
use crate::web::pages::clips::{Asked, ClipForm, Refused, framing, live_page};
use crate::web::pages::french::parse_timecode;
use crate::web::pages::moments;
use crate::web::{App, Problem, User, page};

/// Where an action leads back to.
#[derive(Debug, Deserialize)]
pub(in crate::web::pages) struct Back {
    retour: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(in crate::web::pages) struct TitleForm {
    titre: String,
    retour: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(in crate::web::pages) struct ReelForm {
    cadrage: String,
    retour: Option<String>,
}

/// `POST /directs/{id}/clips`: a clip by its start and end. What is refused keeps what was typed, on the page it came from.
pub(in crate::web::pages) async fn request(
    State(app): State<App>,
    user: User,
    Path(live): Path<LiveId>,
    Form(form): Form<ClipForm>,
) -> Result<Response, Problem> {
    let wrong = match read(&form) {
        Ok((from_ms, to_ms, title)) => {
            match app.clips.request(live, from_ms, to_ms, title, user.person.id).await {
                Ok(clip) => {
                    let there = format!("/directs/{live}/clips?clip={clip}&dit=clip-demande");
                    return Ok(Redirect::to(&there).into_response());
                }
                Err(ClipsError::Clip(error @ (ClipError::Span(_) | ClipError::Title { .. }))) => {
                    error.to_string()
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(wrong) => wrong,
    };
    let moment = form.moment.as_deref().and_then(|moment| moment.parse().ok());
    let again = if moment.is_some() {
        let asked = moments::Asked { moment, ..moments::Asked::default() };
        let known = moments::know(&app, live).await?;
        page(&moments::moments_page(&user, known, &asked, Some((form, wrong))))?
    } else {
        let refused = Some(Refused::Clip(form, wrong));
        page(&live_page(&app, &user, live, Asked::default(), refused).await?)?
    };
    Ok((StatusCode::UNPROCESSABLE_ENTITY, again).into_response())
}

fn read(form: &ClipForm) -> Result<(i64, i64, ClipTitle), String> {
    let place = |raw: &str, what: &str| {
        parse_timecode(raw).ok_or_else(|| {
            format!("{what} s'écrit en minutes et secondes, comme « 12:05 », ou « 1:02:03 ».")
        })
    };
    let from_ms = place(&form.debut, "Le début")?;
    let to_ms = place(&form.fin, "La fin")?;
    let title = ClipTitle::try_new(&form.titre).map_err(|_| wrong_title())?;
    Ok((from_ms, to_ms, title))
}

fn wrong_title() -> String {
    format!("Un titre tient sur une ligne de 1 à {TITLE_CHARS_MAX} caractères.")
}

/// `POST /clips/{id}/valider`
pub(in crate::web::pages) async fn approve(
    State(app): State<App>,
    user: User,
    Path(clip): Path<ClipId>,
    Form(form): Form<Back>,
) -> Result<Redirect, Problem> {
    app.clips.approve(clip, user.person.id).await?;
    Ok(back(form.retour.as_deref(), "clip-valide"))
}

/// `POST /clips/{id}/ecarter`
pub(in crate::web::pages) async fn reject(
    State(app): State<App>,
    user: User,
    Path(clip): Path<ClipId>,
    Form(form): Form<Back>,
) -> Result<Redirect, Problem> {
    app.clips.reject(clip, user.person.id).await?;
    Ok(back(form.retour.as_deref(), "clip-ecarte"))
}

/// `POST /clips/{id}/titre`
pub(in crate::web::pages) async fn rename(
    State(app): State<App>,
    user: User,
    Path(clip): Path<ClipId>,
    Form(form): Form<TitleForm>,
) -> Result<Response, Problem> {
    let Ok(title) = ClipTitle::try_new(&form.titre) else {
        let ClipCard { clip, .. } = app.clips.find(clip).await?.ok_or_else(Problem::not_found)?;
        let asked = Asked { clip: Some(clip.id), ..Asked::default() };
        let refused = Some(Refused::Title(form.titre, wrong_title()));
        let again = page(&live_page(&app, &user, clip.live, asked, refused).await?)?;
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, again).into_response());
    };
    app.clips.rename(clip, title, user.person.id).await?;
    Ok(back(form.retour.as_deref(), "clip-renomme").into_response())
}

/// `POST /clips/{id}/reel`
pub(in crate::web::pages) async fn request_reel(
    State(app): State<App>,
    user: User,
    Path(clip): Path<ClipId>,
    Form(form): Form<ReelForm>,
) -> Result<Redirect, Problem> {
    let layout = framing::layout(&form.cadrage)
        .ok_or_else(|| Problem::invalid("Choisissez un cadrage dans la liste."))?;
    app.clips.request_reel(clip, layout, user.person.id).await?;
    Ok(back(form.retour.as_deref(), "reel-demande"))
}

/// A path of this site with what to say there.
fn back(asked: Option<&str>, code: &str) -> Redirect {
    let path = return_path(asked);
    let path = if path == "/" { "/semaines".to_owned() } else { path };
    let joint = if path.contains('?') { '&' } else { '?' };
    Redirect::to(&format!("{path}{joint}dit={code}"))
}
