//! One question over HTTP and its whole answer, within limits of time and size.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::ports::PortError;
use crate::ports::platform::PlatformError;

/// Longest a connection may take to stand.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest an answer may take, connection included.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Largest answer, in bytes; a full page of anything is a tenth of it.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Most of a refusal's words that are passed on, in characters.
const REASON_CHARS_MAX: usize = 300;

/// An answer, whole.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// A client that follows no redirect: a token goes nowhere but where we send it.
pub(super) fn client(answer_max: Duration) -> Result<Client, PortError> {
    Client::builder()
        .user_agent(concat!("spark/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(CONNECT_MAX.min(answer_max))
        .timeout(answer_max)
        .build()
        .map_err(|e| PortError::lasting("make an HTTP client", e))
}

/// Asks and reads the whole answer, whatever its status.
pub(super) async fn ask(doing: &str, request: RequestBuilder) -> Result<Answer, PlatformError> {
    // The address may hold what is personal; what was being done says enough.
    let passing = |error: reqwest::Error| {
        PlatformError::Passing(PortError::passing(doing, error.without_url()))
    };
    let mut response = request.send().await.map_err(passing)?;
    let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(passing)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            let doing = format!("{doing}: the answer is longer than {ANSWER_BYTES_MAX} bytes");
            return Err(PlatformError::Passing(PortError::plain(doing)));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body })
}

impl Answer {
    /// Reads a JSON body.
    pub(super) fn read<T: DeserializeOwned>(&self, doing: &str) -> Result<T, PlatformError> {
        serde_json::from_slice(&self.body).map_err(|e| {
            PlatformError::Passing(PortError::lasting(format!("{doing}: understand the answer"), e))
        })
    }

    /// Why it was refused, in the platform's words; empty when it gives none.
    pub(super) fn reason(&self) -> String {
        #[derive(Deserialize)]
        struct Said {
            #[serde(default)]
            message: String,
        }
        let said = serde_json::from_slice::<Said>(&self.body)
            .map_or_else(|_| String::from_utf8_lossy(&self.body).into_owned(), |said| said.message);
        said.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect()
    }
}
