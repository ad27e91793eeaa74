//! The streaming platform, asked: who allows us what ([`Identity`]), what goes on in a channel, and what we do in its
//! name ([`Platform`]). Nothing of a platform's wire format passes this line.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::audience::channel::{ChannelId, Scopes};
use crate::ports::PortError;
use crate::ports::vault::{Secret, Tokens};

/// Most channels one question about streams, people or grants names; the client cuts longer lists.
pub const CHANNELS_ASKED_MAX: usize = 100;

/// Why the platform did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// No client id is set.
    #[error(
        "no Twitch application is set: write client_id (and client_secret) under [twitch] in spark.toml"
    )]
    NotConfigured,
    /// The token is not taken (any more).
    #[error("the platform takes this token no longer")]
    Unauthorised,
    /// The channel gave no permission for this.
    #[error("the channel's permission is missing: {reason}")]
    MissingScope { reason: String },
    #[error("the platform knows no such thing")]
    NotFound,
    /// Only possible during a stream.
    #[error("the channel is not live")]
    NotLive,
    /// It stands already. `existing` is its id where the platform says it.
    #[error("it stands already")]
    Conflict { existing: Option<String> },
    /// Too much was asked. Without `retry_after`, waiting does not help: another limit than the rate is reached.
    #[error("too much was asked of the platform: {reason}")]
    RateLimited { retry_after: Option<Duration>, reason: String },
    /// The platform understood and says no.
    #[error("the platform refuses ({status}): {reason}")]
    Refused { status: u16, reason: String },
    /// Did not answer, or not in a way to be understood; may pass.
    #[error(transparent)]
    Passing(PortError),
    /// It failed so often that it is not asked for a while.
    #[error("the platform fails at this; asked again in {} s", retry_after.as_secs())]
    BreakerOpen { retry_after: Duration },
}

impl PlatformError {
    /// Whether the same call may go through later by itself.
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Passing(_)
                | Self::BreakerOpen { .. }
                | Self::RateLimited { retry_after: Some(_), .. }
        )
    }
}

/// What a token is: who it speaks for, and what it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whoami {
    pub channel: ChannelId,
    pub login: String,
    pub scopes: Scopes,
    /// When the access token ends by itself.
    pub expires_at: DateTime<Utc>,
}

/// What goes to the platform with a browser that is to allow something.
#[derive(Debug, Clone)]
pub struct Authorisation<'a> {
    pub return_url: &'a str,
    pub scopes: &'a Scopes,
    pub state: &'a Secret,
    /// SHA-256 of the verifier in base64url, for PKCE. The platform may pay no heed to it.
    pub challenge: &'a str,
}

/// A code to type on another device.
#[derive(Debug, Clone)]
pub struct DeviceCode {
    /// Known to us and the platform only.
    pub device_code: Secret,
    /// What the person types.
    pub user_code: String,
    /// Where.
    pub verification_url: String,
    pub expires_at: DateTime<Utc>,
    /// How long to wait between two questions.
    pub interval: Duration,
}

/// How a device code stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceAnswer {
    /// Nobody has typed it yet.
    Waiting,
    Granted(Tokens),
    /// It expired or was turned down.
    Over,
}

/// Permissions: how they are asked for, kept alive, looked at and given back.
#[async_trait]
pub trait Identity: Send + Sync {
    /// Whether an application is set; without one everything here is [`PlatformError::NotConfigured`].
    fn is_configured(&self) -> bool;

    /// Whether tokens of the application itself can be had (a client secret is set).
    fn has_app_token(&self) -> bool;

    /// Where to send a browser.
    fn authorise_url(&self, ask: &Authorisation<'_>) -> Result<String, PlatformError>;

    /// Exchanges the code a browser came back with.
    async fn exchange(
        &self,
        code: &Secret,
        return_url: &str,
        verifier: &Secret,
    ) -> Result<Tokens, PlatformError>;

    /// Asks for a code to type on another device.
    async fn device_code(&self, scopes: &Scopes) -> Result<DeviceCode, PlatformError>;

    /// Asks whether a device code was typed.
    async fn device_answer(
        &self,
        code: &DeviceCode,
        scopes: &Scopes,
    ) -> Result<DeviceAnswer, PlatformError>;

    /// New tokens for a refresh token. [`PlatformError::Refused`] means that it is dead; after any other error it may
    /// still live.
    async fn refresh(&self, refresh: &Secret) -> Result<Tokens, PlatformError>;

    /// A token of the application itself, and when it ends.
    async fn app_token(&self) -> Result<(Secret, DateTime<Utc>), PlatformError>;

    /// What a user's token is. [`PlatformError::Unauthorised`] when it is over.
    async fn validate(&self, access: &Secret) -> Result<Whoami, PlatformError>;

    /// Gives a token back.
    async fn revoke(&self, access: &Secret) -> Result<(), PlatformError>;
}

/// In whose name the platform is asked. Limits are counted apart for each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    App,
    Channel(ChannelId),
}

/// A token and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    pub caller: Caller,
    pub token: Secret,
}

/// A running stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningStream {
    pub id: String,
    pub channel: ChannelId,
    pub viewers: u32,
    pub title: String,
    pub category: String,
    pub started_at: Option<DateTime<Utc>>,
}

/// A person of the platform, as everybody sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformUser {
    pub id: ChannelId,
    pub login: String,
    pub name: String,
}

/// The platform's facts and deeds.
#[async_trait]
pub trait Platform: Send + Sync {
    /// The streams running now among these channels; any number of them.
    async fn streams(
        &self,
        bearer: &Bearer,
        channels: &[ChannelId],
    ) -> Result<Vec<RunningStream>, PlatformError>;

    /// People by id; whoever is not there is left out.
    async fn users(
        &self,
        bearer: &Bearer,
        ids: &[ChannelId],
    ) -> Result<Vec<PlatformUser>, PlatformError>;
}
