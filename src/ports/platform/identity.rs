//! Permissions: how they are asked for, kept alive, looked at and given back.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::audience::channel::{ChannelId, Scopes};
use crate::ports::platform::PlatformError;
use crate::ports::vault::{Secret, Tokens};

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
