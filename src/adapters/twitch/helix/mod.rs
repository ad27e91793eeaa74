//! Helix, within its limits. The answers are read into small open structs of our own, not the crate's: those refuse a whole
//! answer for one unknown word or missing field, and take their address from a process-wide static.

mod channels;
mod deliveries;
mod limits;
mod rows;

use std::sync::Arc;

use reqwest::{Client, Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::adapters::twitch::http::{self, Answer, ask};
use crate::adapters::twitch::settings::TwitchSettings;
use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::platform::{Bearer, PlatformError};

use self::limits::{Breakers, Points, SaidPoints};

pub use limits::HelixLimits;

/// How often a call that ran out of points is sent anew, after the wait.
const POINTS_RETRIES_MAX: u32 = 2;
/// Pages read of one list at most.
const PAGES_MAX: usize = 50;

/// The web interface, asked in the name of many callers. Clones share what was learnt of limits.
#[derive(Clone)]
pub struct TwitchHelix(Arc<Inner>);

struct Inner {
    settings: TwitchSettings,
    client: Client,
    clock: Arc<dyn Clock>,
    limits: HelixLimits,
    points: Points,
    breakers: Breakers,
}

/// One question.
struct Call {
    /// For the log, and the name of the breaker.
    doing: &'static str,
    method: Method,
    path: &'static str,
    query: Vec<(&'static str, String)>,
    body: Option<serde_json::Value>,
}

impl Call {
    fn new(doing: &'static str, method: Method, path: &'static str) -> Self {
        Self { doing, method, path, query: Vec::new(), body: None }
    }

    #[expect(clippy::needless_pass_by_value, reason = "numbers and borrowed ids alike")]
    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    fn with_each<T: ToString>(self, name: &'static str, values: &[T]) -> Self {
        values.iter().fold(self, |call, value| call.with(name, value.to_string()))
    }

    fn with_some(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn saying(self, body: serde_json::Value) -> Self {
        Self { body: Some(body), ..self }
    }
}

/// The frame of most answers.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: DeserializeOwned"))]
struct Page<T> {
    #[serde(default = "Vec::new")]
    data: Vec<T>,
    #[serde(default)]
    total: Option<u64>,
    #[serde(default)]
    pagination: Option<Pagination>,
}

#[derive(Deserialize)]
struct Pagination {
    #[serde(default)]
    cursor: Option<String>,
}

impl<T> Page<T> {
    fn next(&self) -> Option<String> {
        let cursor = self.pagination.as_ref()?.cursor.clone()?;
        (!cursor.is_empty()).then_some(cursor)
    }

    /// The one item that was asked for.
    fn one(self) -> Result<T, PlatformError> {
        self.data.into_iter().next().ok_or(PlatformError::NotFound)
    }
}

impl TwitchHelix {
    pub fn try_new(
        settings: TwitchSettings,
        limits: HelixLimits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PortError> {
        let client = http::client(limits.answer_max)?;
        let (points, breakers) = (Points::default(), Breakers::default());
        Ok(Self(Arc::new(Inner { settings, client, clock, limits, points, breakers })))
    }

    /// Asks and reads a list.
    async fn page<T: DeserializeOwned>(
        &self,
        bearer: &Bearer,
        call: Call,
    ) -> Result<Page<T>, PlatformError> {
        let doing = call.doing;
        self.call(bearer, call).await?.read(doing)
    }

    /// Reads all pages of a list, [`PAGES_MAX`] at most. `question` makes the call for the page after a cursor.
    async fn pages<T: DeserializeOwned>(
        &self,
        bearer: &Bearer,
        question: impl Fn(Option<String>) -> Call,
    ) -> Result<Vec<T>, PlatformError> {
        let mut all = Vec::new();
        let mut after = None;
        for _ in 0..PAGES_MAX {
            let page: Page<T> = self.page(bearer, question(after)).await?;
            after = page.next();
            all.extend(page.data);
            if after.is_none() {
                break;
            }
        }
        Ok(all)
    }

    /// Asks; an answer that is no success is an error. Waits for points, and asks again when they had run out.
    async fn call(&self, bearer: &Bearer, call: Call) -> Result<Answer, PlatformError> {
        let inner = &*self.0;
        let client_id = inner.settings.client_id.as_deref().ok_or(PlatformError::NotConfigured)?;
        let url: Url =
            format!("{}{}", inner.settings.helix_url, call.path).parse().map_err(|e| {
                passing(PortError::lasting("read the address helix_url of [twitch]", e))
            })?;
        for tried in 0.. {
            inner
                .breakers
                .admit(call.doing, inner.limits)
                .map_err(|retry_after| PlatformError::BreakerOpen { retry_after })?;
            self.wait_for_points(bearer).await?;
            let mut request = inner
                .client
                .request(call.method.clone(), url.clone())
                .query(&call.query)
                .header("client-id", client_id)
                .bearer_auth(bearer.token.expose());
            if let Some(body) = &call.body {
                request = request.json(body);
            }
            let answered = ask(call.doing, request).await;
            let answer = match answered {
                Ok(answer) if !answer.status.is_server_error() => answer,
                other => {
                    if inner.breakers.failed(call.doing, inner.limits) {
                        tracing::warn!(
                            doing = call.doing,
                            "Twitch fails at this: left alone for a while"
                        );
                    }
                    let answer = other?;
                    let (status, doing) = (answer.status, call.doing);
                    let doing = format!("{doing}: answered {status} ({})", answer.reason());
                    return Err(passing(PortError { doing, retry: true, source: None }));
                }
            };
            inner.breakers.answered(call.doing);
            let said = SaidPoints::of(&answer.headers);
            inner.points.learn(&bearer.caller, said);
            if answer.status.is_success() {
                return Ok(answer);
            }
            let rate_is_up = answer.status == StatusCode::TOO_MANY_REQUESTS
                && said.left.is_none_or(|left| left == 0);
            if !rate_is_up {
                return Err(refused(&answer));
            }
            let full_at = said.full_at.unwrap_or_else(|| inner.clock.now());
            let wait = (full_at - inner.clock.now()).to_std().unwrap_or_default();
            if tried >= POINTS_RETRIES_MAX || wait > inner.limits.points_wait_max {
                let reason = answer.reason();
                return Err(PlatformError::RateLimited { retry_after: Some(wait), reason });
            }
            tokio::time::sleep(wait).await;
        }
        unreachable!("the loop above ends by returning")
    }

    /// Waits until the caller has a point, if that is soon.
    async fn wait_for_points(&self, bearer: &Bearer) -> Result<(), PlatformError> {
        let inner = &*self.0;
        while let Some(full_at) = inner.points.take(&bearer.caller, inner.clock.now()) {
            let wait = (full_at - inner.clock.now()).to_std().unwrap_or_default();
            if wait > inner.limits.points_wait_max {
                let reason = "no points left".to_owned();
                return Err(PlatformError::RateLimited { retry_after: Some(wait), reason });
            }
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }
}

fn passing(error: PortError) -> PlatformError {
    PlatformError::Passing(error)
}

/// What a refusal means. Twitch says 401 for three different things, which only its words tell apart.
fn refused(answer: &Answer) -> PlatformError {
    let reason = answer.reason();
    let words = reason.to_lowercase();
    match answer.status {
        StatusCode::UNAUTHORIZED if words.contains("scope") => {
            PlatformError::MissingScope { reason }
        }
        StatusCode::UNAUTHORIZED if words.contains("must match") => {
            PlatformError::Refused { status: 401, reason }
        }
        StatusCode::UNAUTHORIZED => PlatformError::Unauthorised,
        StatusCode::FORBIDDEN if words.contains("scope") || words.contains("authorization") => {
            PlatformError::MissingScope { reason }
        }
        StatusCode::NOT_FOUND if words.contains("offline") || words.contains("not live") => {
            PlatformError::NotLive
        }
        StatusCode::NOT_FOUND => PlatformError::NotFound,
        StatusCode::CONFLICT => PlatformError::Conflict { existing: existing(answer) },
        StatusCode::TOO_MANY_REQUESTS => PlatformError::RateLimited { retry_after: None, reason },
        status => PlatformError::Refused { status: status.as_u16(), reason },
    }
}

/// The id a conflict names, where it does.
fn existing(answer: &Answer) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        id: Option<String>,
        #[serde(default)]
        data: Vec<Only>,
    }
    #[derive(Deserialize)]
    struct Only {
        id: String,
    }
    let named: Named = serde_json::from_slice(&answer.body).ok()?;
    named.id.or_else(|| named.data.into_iter().next().map(|only| only.id))
}
