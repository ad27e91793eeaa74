//! Twitch's permissions over our own few requests: the crate for it takes its addresses from process-wide statics and
//! empties a refresh token before it knows the answer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;

use crate::adapters::twitch::http::{self, Answer, ask};
use crate::adapters::twitch::settings::TwitchSettings;
use crate::domain::audience::channel::{ChannelId, Scopes};
use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::platform::{
    Authorisation, DeviceAnswer, DeviceCode, Identity, PlatformError, Whoami,
};
use crate::ports::vault::{Secret, Tokens};

/// Shortest pause between two questions about a device code.
const DEVICE_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// A token whose end Twitch does not say is taken to live this long.
const LIFE_UNSAID_S: i64 = 3600;
/// Longest life of a token that is believed, in seconds (90 days).
const LIFE_MAX_S: i64 = 90 * 86_400;

/// Twitch's identity service.
#[derive(Clone)]
pub struct TwitchIdentity {
    settings: TwitchSettings,
    client: Client,
    clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Secret,
    #[serde(default)]
    refresh_token: Option<Secret>,
    #[serde(default)]
    expires_in: Option<i64>,
}

#[derive(Deserialize)]
struct DeviceCodeAnswer {
    device_code: Secret,
    user_code: String,
    verification_uri: String,
    expires_in: i64,
    #[serde(default)]
    interval: Option<u64>,
}

#[derive(Deserialize)]
struct ValidateAnswer {
    user_id: Option<String>,
    login: Option<String>,
    #[serde(default)]
    scopes: Option<Scopes>,
    #[serde(default)]
    expires_in: Option<i64>,
}

impl TwitchIdentity {
    pub fn try_new(settings: TwitchSettings, clock: Arc<dyn Clock>) -> Result<Self, PortError> {
        Self::waiting_at_most(http::ANSWER_MAX, settings, clock)
    }

    /// With another longest wait for an answer.
    pub fn waiting_at_most(
        answer_max: Duration,
        settings: TwitchSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PortError> {
        Ok(Self { settings, client: http::client(answer_max)?, clock })
    }

    fn client_id(&self) -> Result<&str, PlatformError> {
        self.settings.client_id.as_deref().ok_or(PlatformError::NotConfigured)
    }

    fn address(&self, path: &str) -> Result<Url, PlatformError> {
        format!("{}{path}", self.settings.id_url).parse().map_err(|e| {
            PlatformError::Passing(PortError::lasting("read the address id_url of [twitch]", e))
        })
    }

    async fn post(
        &self,
        doing: &str,
        path: &str,
        form: &[(&str, &str)],
    ) -> Result<Answer, PlatformError> {
        let mut form = form.to_vec();
        form.push(("client_id", self.client_id()?));
        ask(doing, self.client.post(self.address(path)?).form(&form)).await
    }

    /// Asks for tokens; the secret goes along where there is one.
    async fn tokens(&self, doing: &str, form: &[(&str, &str)]) -> Result<Answer, PlatformError> {
        let mut form = form.to_vec();
        if let Some(secret) = &self.settings.client_secret {
            form.push(("client_secret", secret.expose()));
        }
        self.post(doing, "token", &form).await
    }

    fn granted(&self, doing: &str, answer: &Answer) -> Result<Tokens, PlatformError> {
        let granted: TokenAnswer = answer.read(doing)?;
        Ok(Tokens {
            access: granted.access_token,
            refresh: granted.refresh_token.filter(|secret| !secret.expose().is_empty()),
            expires_at: self.in_seconds(granted.expires_in),
        })
    }

    fn in_seconds(&self, seconds: Option<i64>) -> DateTime<Utc> {
        let seconds = seconds.filter(|seconds| *seconds > 0).unwrap_or(LIFE_UNSAID_S);
        self.clock.now() + TimeDelta::seconds(seconds.min(LIFE_MAX_S))
    }
}

#[async_trait]
impl Identity for TwitchIdentity {
    fn is_configured(&self) -> bool {
        self.settings.client_id.is_some()
    }

    fn has_app_token(&self) -> bool {
        self.settings.client_id.is_some() && self.settings.client_secret.is_some()
    }

    fn authorise_url(&self, ask: &Authorisation<'_>) -> Result<String, PlatformError> {
        let client_id = self.client_id()?;
        let mut url = self.address("authorize")?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", client_id)
            .append_pair("redirect_uri", ask.return_url)
            .append_pair("scope", &spaced(ask.scopes))
            .append_pair("state", ask.state.expose())
            .append_pair("code_challenge", ask.challenge)
            .append_pair("code_challenge_method", "S256")
            // Several people link from one machine: each is to see in whose name.
            .append_pair("force_verify", "true");
        Ok(url.into())
    }

    async fn exchange(
        &self,
        code: &Secret,
        return_url: &str,
        verifier: &Secret,
    ) -> Result<Tokens, PlatformError> {
        let doing = "exchange a code for tokens";
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", return_url),
            ("code_verifier", verifier.expose()),
        ];
        let answer = self.tokens(doing, &form).await?;
        if answer.status.is_success() {
            self.granted(doing, &answer)
        } else {
            Err(refused(doing, &answer))
        }
    }

    async fn device_code(&self, scopes: &Scopes) -> Result<DeviceCode, PlatformError> {
        let doing = "ask for a device code";
        let answer = self.post(doing, "device", &[("scopes", &spaced(scopes))]).await?;
        if !answer.status.is_success() {
            return Err(refused(doing, &answer));
        }
        let code: DeviceCodeAnswer = answer.read(doing)?;
        Ok(DeviceCode {
            device_code: code.device_code,
            user_code: code.user_code,
            verification_url: code.verification_uri,
            expires_at: self.in_seconds(Some(code.expires_in)),
            interval: Duration::from_secs(code.interval.unwrap_or(5)).max(DEVICE_INTERVAL_MIN),
        })
    }

    async fn device_answer(
        &self,
        code: &DeviceCode,
        scopes: &Scopes,
    ) -> Result<DeviceAnswer, PlatformError> {
        let doing = "ask whether a device code was typed";
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", code.device_code.expose()),
            ("scopes", &spaced(scopes)),
        ];
        let answer = self.tokens(doing, &form).await?;
        if answer.status.is_success() {
            return self.granted(doing, &answer).map(DeviceAnswer::Granted);
        }
        let reason = answer.reason().to_lowercase();
        match answer.status {
            StatusCode::BAD_REQUEST if reason.contains("pending") || reason.contains("slow") => {
                Ok(DeviceAnswer::Waiting)
            }
            StatusCode::BAD_REQUEST
                if ["device code", "expired", "denied"].iter().any(|end| reason.contains(end)) =>
            {
                Ok(DeviceAnswer::Over)
            }
            _ => Err(refused(doing, &answer)),
        }
    }

    async fn refresh(&self, refresh: &Secret) -> Result<Tokens, PlatformError> {
        let doing = "refresh a channel's tokens";
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh.expose())];
        let answer = self.tokens(doing, &form).await?;
        if answer.status.is_success() {
            let tokens = self.granted(doing, &answer)?;
            // Twitch may give none anew; the one that worked goes on working then.
            let refresh = tokens.refresh.unwrap_or_else(|| refresh.clone());
            return Ok(Tokens { refresh: Some(refresh), ..tokens });
        }
        let reason = answer.reason();
        let words = reason.to_lowercase();
        let is_dead = match answer.status {
            StatusCode::BAD_REQUEST => words.contains("refresh token"),
            StatusCode::UNAUTHORIZED => !words.contains("client"),
            _ => false,
        };
        if is_dead {
            return Err(PlatformError::Refused { status: answer.status.as_u16(), reason });
        }
        if may_pass(answer.status) {
            return Err(refused(doing, &answer));
        }
        // A wrong client secret must not cost every channel its link: the token itself was not judged.
        let status = answer.status;
        Err(PlatformError::Passing(PortError::plain(format!(
            "{doing}: answered {status} ({reason}); check client_id and client_secret under [twitch] if this stays"
        ))))
    }

    async fn app_token(&self) -> Result<(Secret, DateTime<Utc>), PlatformError> {
        let doing = "ask for the application's token";
        if !self.has_app_token() {
            return Err(PlatformError::NotConfigured);
        }
        let answer = self.tokens(doing, &[("grant_type", "client_credentials")]).await?;
        if !answer.status.is_success() {
            return Err(refused(doing, &answer));
        }
        let tokens = self.granted(doing, &answer)?;
        Ok((tokens.access, tokens.expires_at))
    }

    async fn validate(&self, access: &Secret) -> Result<Whoami, PlatformError> {
        let doing = "validate a token";
        let request = self
            .client
            .get(self.address("validate")?)
            .header("authorization", format!("OAuth {}", access.expose()));
        let answer = ask(doing, request).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            return Err(PlatformError::Unauthorised);
        }
        if !answer.status.is_success() {
            return Err(refused(doing, &answer));
        }
        let who: ValidateAnswer = answer.read(doing)?;
        let odd = || PlatformError::Passing(PortError::plain("find a person behind a token"));
        Ok(Whoami {
            channel: ChannelId::try_new(who.user_id.ok_or_else(odd)?).map_err(|_| odd())?,
            login: who.login.ok_or_else(odd)?,
            scopes: who.scopes.unwrap_or_default(),
            expires_at: self.in_seconds(who.expires_in),
        })
    }

    async fn revoke(&self, access: &Secret) -> Result<(), PlatformError> {
        let doing = "give a token back";
        let answer = self.post(doing, "revoke", &[("token", access.expose())]).await?;
        match answer.status {
            // Not valid any more: that is what was wanted.
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Ok(()),
            status if status.is_success() => Ok(()),
            _ => Err(refused(doing, &answer)),
        }
    }
}

fn spaced(scopes: &Scopes) -> String {
    scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

fn refused(doing: &str, answer: &Answer) -> PlatformError {
    let (status, reason) = (answer.status, answer.reason());
    if may_pass(status) {
        let doing = format!("{doing}: answered {status} ({reason})");
        return PlatformError::Passing(PortError { doing, retry: true, source: None });
    }
    PlatformError::Refused { status: status.as_u16(), reason }
}
