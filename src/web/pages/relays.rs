//! Relays of a camera, on its page: where its picture goes, how that stands, and the form to add or end one.

use axum::Form;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::domain::ids::CameraId;
use crate::ports::recorder::RecorderState;
use crate::ports::relay::{RelayOrder, RelayState, Standing};
use crate::ports::vault::Secret;
use crate::use_cases::live::cameras::CamerasError;
use crate::web::pages::french::{When, bytes, counted, number};
use crate::web::pages::studio;
use crate::web::{App, Problem, User, page};

/// A relay in a word with its sign.
pub(super) struct RelayRow {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) class: &'static str,
    pub(super) icon: &'static str,
    pub(super) words: String,
    /// What went out, and what did not.
    pub(super) about: String,
    pub(super) since: When,
}

/// What is typed for a relay.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RelayForm {
    #[serde(default)]
    pub(super) nom: String,
    #[serde(default)]
    pub(super) serveur: String,
    #[serde(default)]
    cle: String,
    pub(super) essai: Option<String>,
}

/// The relays of a camera.
pub(super) fn rows(
    state: Option<&RecorderState>,
    camera: CameraId,
    now: DateTime<Utc>,
) -> Vec<RelayRow> {
    let all = state.map(|state| state.relays.iter()).into_iter().flatten();
    all.filter(|relay| relay.camera == camera).map(|relay| row(relay, now)).collect()
}

fn row(relay: &RelayState, now: DateTime<Utc>) -> RelayRow {
    let (class, icon, words) = match &relay.standing {
        Standing::Idle => ("", "circle-dashed", "Attend la caméra".to_owned()),
        Standing::Connecting => ("warn", "loader-circle", "Se connecte".to_owned()),
        Standing::OnAir if relay.is_test => ("live", "radio", "Essai en cours".to_owned()),
        Standing::OnAir => ("live", "radio", "Diffuse".to_owned()),
        Standing::Still => {
            ("warn", "triangle-alert", "Image figée : la caméra n'envoie plus rien".to_owned())
        }
        Standing::Waiting { reason, seconds } => {
            ("bad", "rotate-ccw", format!("Nouvel essai dans {seconds} s : {reason}"))
        }
    };
    let mut about = vec![bytes(relay.sent_bytes)];
    if relay.kbits > 0 {
        about.push(format!("{} Mbit/s", number(f64::from(relay.kbits) / 1_000.0, 1)));
    }
    if relay.reconnects > 0 {
        about.push(counted(relay.reconnects, "coupure", "coupures"));
    }
    if relay.dropped > 0 {
        about.push(counted(relay.dropped, "passage sauté", "passages sautés"));
    }
    RelayRow {
        name: relay.name.clone(),
        url: relay.url.clone(),
        class,
        icon,
        words,
        about: about.join(" · "),
        since: When::ago(relay.since, now),
    }
}

/// `POST /regie/cameras/{id}/diffusion`: adds a relay, or changes the one of this name.
pub(super) async fn set(
    State(app): State<App>,
    user: User,
    headers: HeaderMap,
    Path(camera): Path<CameraId>,
    Form(form): Form<RelayForm>,
) -> Result<Response, Problem> {
    let key = Some(form.cle.trim()).filter(|key| !key.is_empty()).map(Secret::new);
    let order = RelayOrder {
        camera,
        name: form.nom.clone(),
        url: form.serveur.trim().to_owned(),
        key,
        is_test: form.essai.is_some(),
    };
    match app.cameras.relay(order).await {
        Ok(()) => {
            let to = format!("/regie/cameras/{camera}?dit=diffusion-reglee#diffusion");
            Ok(Redirect::to(&to).into_response())
        }
        Err(CamerasError::NoRelay(wrong)) => {
            let again = studio::camera_with_relay(&app, &user, &headers, camera, form, wrong);
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&again.await?)?).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /regie/cameras/{id}/diffusion/arreter`
pub(super) async fn end(
    State(app): State<App>,
    _user: User,
    Path(camera): Path<CameraId>,
    Form(form): Form<RelayForm>,
) -> Result<Redirect, Problem> {
    app.cameras.end_relay(camera, &form.nom).await?;
    Ok(Redirect::to(&format!("/regie/cameras/{camera}?dit=diffusion-arretee#diffusion")))
}
