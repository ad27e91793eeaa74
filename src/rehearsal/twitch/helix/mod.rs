//! The Helix calls of the house. One gate in front: forced answers, token, points.

mod channels;
mod chat;
mod clips;
mod live;
mod people;
mod polls;

pub(super) use clips::film;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};

use super::refusal::Refusal;
use super::stage::{Stage, State, now};
use super::subscriptions::Subscription;
use super::tokens::Scopes;
use super::{conduits, subscriptions};

/// Points of a bucket, and how many come back a minute.
const POINTS_MAX: u32 = 800;
const POINTS_PER_S: f64 = 800.0 / 60.0;

/// The paths below `/helix`, as they are also below `/mock` and, for EventSub, at the root.
pub(super) fn routes(stage: &Arc<Stage>) -> Router<Arc<Stage>> {
    let helix = Router::new()
        .route("/streams", get(live::streams))
        .route("/streams/markers", get(live::markers).post(live::mark))
        .route("/videos", get(live::videos))
        .route("/channels", get(channels::show).patch(channels::change))
        .route("/channels/ads", get(channels::ads))
        .route("/channels/ads/schedule/snooze", post(channels::snooze))
        .route("/channels/commercial", post(channels::commercial))
        .route("/channels/followers", get(people::followers))
        .route("/clips", get(clips::list).post(clips::create))
        .route("/videos/clips", post(clips::create_from_video))
        .route("/clips/downloads", get(clips::downloads))
        .route("/chat/messages", post(chat::send))
        .route("/chat/announcements", post(chat::announce))
        .route("/polls", get(polls::list).post(polls::create).patch(polls::end))
        .route("/raids", post(live::raid).delete(live::cancel_raid))
        .route("/users", get(people::users))
        .route("/subscriptions", get(people::subscriptions))
        .route("/authorization/users", get(people::authorizations))
        .route("/{*unknown}", any(unknown))
        .merge(eventsub());
    helix.layer(middleware::from_fn_with_state(Arc::clone(stage), gate))
}

/// EventSub alone, behind the same gate.
pub(super) fn eventsub_routes(stage: &Arc<Stage>) -> Router<Arc<Stage>> {
    eventsub().layer(middleware::from_fn_with_state(Arc::clone(stage), gate))
}

fn eventsub() -> Router<Arc<Stage>> {
    Router::new()
        .route(
            "/eventsub/subscriptions",
            get(subscriptions::list).post(subscriptions::create).delete(subscriptions::delete),
        )
        .route(
            "/eventsub/conduits",
            get(conduits::list)
                .post(conduits::create)
                .patch(conduits::resize)
                .delete(conduits::delete),
        )
        .route("/eventsub/conduits/shards", get(conduits::shards).patch(conduits::attach))
}

async fn unknown() -> Refusal {
    Refusal::missing("the pretend Twitch does not have this call")
}

/// Whoever calls.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) client_id: String,
    /// `None` with an app token.
    pub(super) user: Option<String>,
    pub(super) scopes: Scopes,
}

impl Caller {
    /// Whether a subscription is in this caller's list.
    pub(super) fn owns(&self, subscription: &Subscription) -> bool {
        subscription.client_id == self.client_id && subscription.owner == self.user
    }

    pub(super) fn need_app(&self) -> Result<(), Refusal> {
        let refusal = || Refusal::unauthorized("this call needs an app access token");
        self.user.is_none().then_some(()).ok_or_else(refusal)
    }

    pub(super) fn need_user(&self) -> Result<&str, Refusal> {
        self.user.as_deref().ok_or_else(|| Refusal::unauthorized("Missing User OAUTH Token"))
    }

    /// A user token with one of these scopes, of the user whose id is `user`.
    fn need_scope_of(&self, user: &str, any: &[&str]) -> Result<(), Refusal> {
        let own = self.need_user()?;
        if !any.iter().any(|scope| self.scopes.contains(*scope)) {
            return Err(Refusal::unauthorized(format!("Missing scope: {}", any.join(" or "))));
        }
        if own != user {
            return Err(Refusal::unauthorized(
                "The ID in broadcaster_id must match the user ID found in the request's OAuth token.",
            ));
        }
        Ok(())
    }
}

/// A token bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    points: f64,
    at: Instant,
}

impl Bucket {
    /// Takes a point. What is left, and the seconds until the bucket is full; `Err` when it was empty.
    fn take(&mut self) -> Result<(u32, i64), i64> {
        let gained = self.at.elapsed().as_secs_f64() * POINTS_PER_S;
        self.points = (self.points + gained).min(f64::from(POINTS_MAX));
        self.at = Instant::now();
        let reset = |points: f64| ((f64::from(POINTS_MAX) - points) / POINTS_PER_S).ceil() as i64;
        if self.points < 1.0 {
            // One point is enough to go on.
            return Err(1);
        }
        self.points -= 1.0;
        Ok((self.points as u32, reset(self.points)))
    }
}

async fn gate(Shared(stage): Shared<Arc<Stage>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let (forced, admitted) = {
        let mut state = stage.state();
        state.counters.one("helix_requests");
        let forced = state.faults.force(request.method().as_str(), &path);
        (forced, state.admit(&request))
    };
    let (caller, remaining, reset) = match admitted {
        Ok(admitted) => admitted,
        Err((refusal, reset)) => return with_limits(refusal.into_response(), 0, reset),
    };
    request.extensions_mut().insert(caller);
    let Some(forced) = forced else {
        return with_limits(next.run(request).await, remaining, reset);
    };
    if forced.after_doing_it {
        next.run(request).await;
    }
    stage.state().counters.one(&format!("answer_{}", forced.status));
    let status = StatusCode::from_u16(forced.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let refusal = Refusal::new(status, "an answer forced by the rehearsal");
    with_limits(refusal.into_response(), forced.remaining.unwrap_or(remaining), reset.max(1))
}

fn with_limits(mut response: Response, remaining: u32, reset_in_s: i64) -> Response {
    let headers = response.headers_mut();
    headers.insert("Ratelimit-Limit", HeaderValue::from(POINTS_MAX));
    headers.insert("Ratelimit-Remaining", HeaderValue::from(remaining));
    headers.insert("Ratelimit-Reset", HeaderValue::from(now().timestamp() + reset_in_s));
    response
}

impl State {
    /// Who calls, the points left and the seconds until all are back.
    fn admit(&mut self, request: &Request) -> Result<(Caller, u32, i64), (Refusal, i64)> {
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let unauthorized = |message: &str| (Refusal::unauthorized(message), 1);
        let token = text(header::AUTHORIZATION.as_str())
            .and_then(|told| told.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .ok_or_else(|| unauthorized("OAuth token is missing"))?;
        let access =
            self.tokens.valid(token.1).ok_or_else(|| unauthorized("Invalid OAuth token"))?;
        if text("client-id") != Some(access.client_id.as_str()) {
            return Err(unauthorized("Client ID and OAuth token do not match"));
        }
        let caller = Caller {
            client_id: access.client_id.clone(),
            user: access.user.clone(),
            scopes: access.scopes.clone(),
        };
        let key = format!("{} {}", caller.client_id, caller.user.as_deref().unwrap_or_default());
        let full = || Bucket { points: f64::from(POINTS_MAX), at: Instant::now() };
        match self.buckets.entry(key).or_insert_with(full).take() {
            Ok((remaining, reset)) => Ok((caller, remaining, reset)),
            Err(reset) => {
                self.counters.one("points_used_up");
                Err((Refusal::too_many("Too many requests"), reset))
            }
        }
    }
}
