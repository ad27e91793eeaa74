//! The recorder's desk: the few things its neighbours ask of it, over a socket only they can open.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use crate::domain::live::camera::Camera;
use crate::domain::live::keeping::Keeping;
use crate::ports::recorder::RecorderState;
use crate::ports::relay::RelayOrder;
use crate::use_cases::live::record::Recorder;
use crate::use_cases::live::relay::RelayError;

#[derive(Clone)]
struct Desk {
    recorder: Recorder,
    stop: CancellationToken,
}

/// Answers until `stop`; a neighbour may ask for that too.
pub async fn serve_desk(
    listener: UnixListener,
    recorder: Recorder,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let desk = Desk { recorder, stop: stop.clone() };
    let router = Router::new()
        .route("/state", get(state))
        .route("/cameras", put(know))
        .route("/keeping", put(keep))
        .route("/relays", put(relay))
        .route("/stop", post(end))
        .with_state(desk);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn state(State(desk): State<Desk>) -> Json<RecorderState> {
    Json(desk.recorder.state())
}

async fn know(State(desk): State<Desk>, Json(cameras): Json<Vec<Camera>>) -> Response {
    match desk.recorder.know(&cameras) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => {
            tracing::error!(error = %error.chain(), "the cameras are known, but not kept");
            (StatusCode::INTERNAL_SERVER_ERROR, error.chain()).into_response()
        }
    }
}

async fn keep(State(desk): State<Desk>, Json(keeping): Json<Vec<Keeping>>) -> Response {
    match desk.recorder.keep(&keeping) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => {
            tracing::error!(error = %error.chain(), "what stays is known, but not kept");
            (StatusCode::INTERNAL_SERVER_ERROR, error.chain()).into_response()
        }
    }
}

async fn relay(State(desk): State<Desk>, Json(relays): Json<Vec<RelayOrder>>) -> Response {
    match desk.recorder.relays().set(relays) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(RelayError::Port(error)) => {
            tracing::error!(error = %error.chain(), "the relays are not kept");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(refused) => (StatusCode::UNPROCESSABLE_ENTITY, refused.to_string()).into_response(),
    }
}

async fn end(State(desk): State<Desk>) -> StatusCode {
    tracing::info!("asked to stop");
    desk.stop.cancel();
    StatusCode::ACCEPTED
}
