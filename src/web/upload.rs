//! `POST /semaines/{id}/imports`: a past stream as multipart parts `video`, `chat`, `title` and `started_at`, in any order.
//! Both files flow straight into the store; they get their names once everything has come, so that an upload broken off
//! leaves nothing.

use std::time::Duration;

use axum::Json;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::domain::ids::WeekId;
use crate::domain::job::ImportOrder;
use crate::ports::media_store::Incoming;
use crate::use_cases::live::Received;
use crate::web::{App, Problem, User, Wants};

/// How long the next bytes may take to come.
const CHUNK_ARRIVES_MAX: Duration = Duration::from_mins(1);
/// Longest title of a stream, in characters.
const TITLE_CHARS_MAX: usize = 120;
/// Longest text part, in bytes.
const TEXT_BYTES_MAX: usize = 4 * 1024;
/// Parts taken of one upload.
const PARTS_MAX: usize = 16;
/// Longest file extension kept, in characters.
const EXTENSION_CHARS_MAX: usize = 5;
/// After a refusal the rest is read for this long, so that the browser gets to see the reason.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// A file on its way.
struct Arriving {
    incoming: Box<dyn Incoming>,
    extension: String,
    file_name: String,
    bytes: u64,
}

#[derive(Default)]
struct Parts {
    video: Option<Arriving>,
    chat: Option<Arriving>,
    title: Option<String>,
    started_at: Option<DateTime<Utc>>,
}

/// What became of an upload, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Job(String),
    AlreadyHere(String),
}

pub(super) async fn receive(
    State(app): State<App>,
    user: User,
    wants: Wants,
    Path(week): Path<WeekId>,
    headers: HeaderMap,
    mut multipart: Multipart,
) -> Result<Response, Problem> {
    let _turn = app
        .uploads()
        .clone()
        .try_acquire_owned()
        .map_err(|_| Problem::unavailable("too many uploads at once"))?;
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok())
        .unwrap_or(0);
    let arrived = async {
        if app.weeks.find(week).await?.is_none() {
            return Err(Problem::not_found());
        }
        if announced > app.settings.upload_bytes_max {
            return Err(too_large(&app));
        }
        take_parts(&app, announced, &mut multipart).await
    }
    .await;
    let parts = match arrived {
        Ok(parts) => parts,
        Err(problem) => {
            drain(&mut multipart).await;
            return Err(problem);
        }
    };
    let received = order(&app, &user, week, parts).await?;
    Ok(match (wants, received) {
        (Wants::Json, Received::Ordered(job)) => {
            (StatusCode::ACCEPTED, Json(Answer::Job(job.to_string()))).into_response()
        }
        (Wants::Json, Received::AlreadyHere(live)) => {
            Json(Answer::AlreadyHere(live.to_string())).into_response()
        }
        (Wants::Page, Received::Ordered(_)) => Redirect::to("/travaux").into_response(),
        (Wants::Page, Received::AlreadyHere(live)) => {
            Redirect::to(&format!("/semaines/{week}?deja={live}")).into_response()
        }
    })
}

async fn order(app: &App, user: &User, week: WeekId, parts: Parts) -> Result<Received, Problem> {
    let missing = |what: &str| {
        Problem::invalid(format!(
            "Il manque {what}. Choisissez les deux fichiers, puis recommencez."
        ))
    };
    let video = parts.video.ok_or_else(|| missing("la vidéo"))?;
    let chat = parts.chat.ok_or_else(|| missing("le fichier du chat"))?;
    if video.bytes == 0 || chat.bytes == 0 {
        return Err(Problem::invalid(
            "Un des deux fichiers est vide. Vérifiez-les, puis recommencez.",
        ));
    }
    let title = match parts.title {
        Some(title) => title,
        None => title_of(&video.file_name),
    };
    let chat = chat.incoming.finish("chats", &chat.extension).await?;
    let video = video.incoming.finish("recordings", &video.extension).await?;
    let started_at = parts.started_at;
    let order = ImportOrder { week, title, video, chat, started_at, by: Some(user.person.id) };
    Ok(app.jobs.order_import(order).await?)
}

async fn take_parts(
    app: &App,
    announced: u64,
    multipart: &mut Multipart,
) -> Result<Parts, Problem> {
    let mut parts = Parts::default();
    let mut left = app.settings.upload_bytes_max;
    for _ in 0..PARTS_MAX {
        let Some(field) = in_time(multipart.next_field()).await? else { return Ok(parts) };
        let name = field.name().unwrap_or("").to_owned();
        match name.as_str() {
            "video" => parts.video = store(app, field, announced, &mut left).await?,
            "chat" => parts.chat = store(app, field, 0, &mut left).await?,
            "title" => parts.title = check_title(&text(field).await?)?,
            "started_at" => parts.started_at = check_start(&text(field).await?)?,
            // A field this version does not know may be left out, but not eat the memory.
            _ => drop(text(field).await?),
        }
    }
    Err(Problem::bad_request("Ce formulaire a trop de champs. Envoyez-le depuis sa page."))
}

/// Lets one file flow into the store. `announced` bytes must fit on the disk, or it is refused at once.
async fn store(
    app: &App,
    mut field: Field<'_>,
    announced: u64,
    left: &mut u64,
) -> Result<Option<Arriving>, Problem> {
    let file_name = field.file_name().unwrap_or("").to_owned();
    let mut incoming = app.store.incoming(announced).await?;
    let mut bytes = 0;
    while let Some(chunk) = in_time(field.chunk()).await? {
        let Some(rest) = left.checked_sub(chunk.len() as u64) else { return Err(too_large(app)) };
        *left = rest;
        bytes += chunk.len() as u64;
        incoming.write(&chunk).await?;
    }
    if file_name.is_empty() && bytes == 0 {
        // What a browser sends for a file that was not chosen.
        return Ok(None);
    }
    Ok(Some(Arriving { incoming, extension: extension_of(&file_name), file_name, bytes }))
}

async fn text(mut field: Field<'_>) -> Result<String, Problem> {
    let mut text = Vec::new();
    while let Some(chunk) = in_time(field.chunk()).await? {
        if text.len() + chunk.len() > TEXT_BYTES_MAX {
            return Err(Problem::too_large(
                "Un champ de ce formulaire est trop long. Raccourcissez-le.",
            ));
        }
        text.extend_from_slice(&chunk);
    }
    String::from_utf8(text)
        .map_err(|_| Problem::invalid("Un champ de ce formulaire n'est pas du texte UTF-8."))
}

async fn in_time<T>(
    arriving: impl Future<Output = Result<Option<T>, MultipartError>>,
) -> Result<Option<T>, Problem> {
    let broken = || {
        Problem::bad_request(
            "L'envoi s'est interrompu avant la fin ; rien n'a été gardé. Recommencez.",
        )
    };
    tokio::time::timeout(CHUNK_ARRIVES_MAX, arriving)
        .await
        .map_err(|_| broken())?
        .map_err(|_| broken())
}

/// A server that closes while a browser still sends hides its own answer.
async fn drain(multipart: &mut Multipart) {
    let rest = async {
        while let Ok(Some(mut field)) = multipart.next_field().await {
            while let Ok(Some(_)) = field.chunk().await {}
        }
    };
    let _ = tokio::time::timeout(DRAIN_MAX, rest).await;
}

fn too_large(app: &App) -> Problem {
    let gigabytes = app.settings.upload_bytes_max / 1_000_000_000;
    Problem::too_large(format!(
        "Cet envoi dépasse la taille acceptée ({gigabytes} Go). Coupez la vidéo, ou importez-la avec « spark import » sur le serveur."
    ))
}

fn check_title(raw: &str) -> Result<Option<String>, Problem> {
    let title = raw.trim();
    if title.is_empty() {
        return Ok(None);
    }
    if title.chars().count() > TITLE_CHARS_MAX || title.contains(char::is_control) {
        return Err(Problem::invalid(format!(
            "Le titre tient sur une ligne d'au plus {TITLE_CHARS_MAX} caractères."
        )));
    }
    Ok(Some(title.to_owned()))
}

fn check_start(raw: &str) -> Result<Option<DateTime<Utc>>, Problem> {
    let raw = raw.trim();
    if raw.is_empty() {
        return Ok(None);
    }
    DateTime::parse_from_rfc3339(raw).map(|start| Some(start.to_utc())).map_err(|_| {
        Problem::invalid(
            "Le début du direct s'écrit comme « 2026-11-21T20:30:00+01:00 », fuseau compris.",
        )
    })
}

/// The file's name without its extension, cut to a title.
fn title_of(file_name: &str) -> String {
    let name = file_name.rsplit(['/', '\\']).next().unwrap_or("");
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let title: String = stem.chars().filter(|c| !c.is_control()).take(TITLE_CHARS_MAX).collect();
    if title.trim().is_empty() { "Direct".to_owned() } else { title.trim().to_owned() }
}

fn extension_of(file_name: &str) -> String {
    let extension =
        file_name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    let fits = (1..=EXTENSION_CHARS_MAX).contains(&extension.len())
        && extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits { extension } else { "bin".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_gives_a_title_and_a_harmless_extension() {
        assert_eq!(title_of("Soirée raclette.mp4"), "Soirée raclette");
        assert_eq!(title_of("C:\\vods\\soir.mkv"), "soir");
        assert_eq!(title_of(".mp4"), "Direct");
        assert_eq!(extension_of("a.MP4"), "mp4");
        assert_eq!(extension_of("a.tar.gz"), "gz");
        for odd in ["a", "a.", "a.é", "a.html5x", "a./x"] {
            assert_eq!(extension_of(odd), "bin", "{odd}");
        }
    }
}
