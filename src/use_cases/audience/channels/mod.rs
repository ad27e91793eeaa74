//! Linked channels: how one is linked, which token speaks for it, and how its link is kept alive or ended.

mod bearers;
mod device;
mod keep;
mod link;
mod renew;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::domain::audience::channel::{Channel, ChannelId};
use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::platform::{Bearer, Caller, Identity, Marker, Platform, PlatformError};
use crate::ports::vault::{Rotated, Secret, Vault, VaultError};

use self::device::Device;
use self::renew::Flight;

pub use bearers::ChannelBearers;
pub use device::{DeviceId, DeviceLink, DeviceState};
pub use link::{Browser, LINK_LIFE};

/// Linked channels. Clones share the renewals in flight.
#[derive(Clone)]
pub struct Channels {
    vault: Arc<dyn Vault>,
    identity: Arc<dyn Identity>,
    platform: Arc<dyn Platform>,
    clock: Arc<dyn Clock>,
    flights: Arc<Mutex<HashMap<ChannelId, Flight>>>,
    app: Arc<tokio::sync::Mutex<Option<AppToken>>>,
    devices: Arc<Mutex<HashMap<DeviceId, Device>>>,
    linked: Arc<Notify>,
}

#[derive(Clone)]
struct AppToken {
    token: Secret,
    expires_at: DateTime<Utc>,
}

/// Why something about a channel did not go through. What is for people is French.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChannelsError {
    #[error("Cette chaîne n'est pas (ou plus) reliée : reliez-la depuis « Chaînes ».")]
    NotLinked(ChannelId),
    #[error("Twitch ne reconnaît plus l'autorisation de cette chaîne : reliez-la de nouveau.")]
    RelinkNeeded(ChannelId),
    #[error(
        "Cette demande de liaison a expiré, a déjà servi ou vient d'un autre navigateur : recommencez depuis « Chaînes »."
    )]
    LinkSpent,
    #[error("Trop de codes sont en attente : laissez-en expirer un, puis recommencez.")]
    TooManyCodes,
    /// English, for the operator.
    #[error("{0}")]
    Keys(String),
    /// English, for the operator.
    #[error("{0}")]
    Platform(Arc<PlatformError>),
    #[error("{0}")]
    Port(Arc<PortError>),
}

impl ChannelsError {
    /// Whether the same call may go through later by itself.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Platform(error) => error.may_pass(),
            Self::Port(error) => error.retry,
            _ => false,
        }
    }
}

impl From<PlatformError> for ChannelsError {
    fn from(error: PlatformError) -> Self {
        Self::Platform(Arc::new(error))
    }
}

impl From<PortError> for ChannelsError {
    fn from(error: PortError) -> Self {
        Self::Port(Arc::new(error))
    }
}

impl From<VaultError> for ChannelsError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::NoTokens(channel) => Self::NotLinked(channel),
            error @ VaultError::Busy(_) => {
                PortError::passing("renew a channel's tokens", error).into()
            }
            VaultError::Keys(words) => Self::Keys(words),
            VaultError::Port(error) => error.into(),
        }
    }
}

impl Channels {
    pub fn new(
        vault: Arc<dyn Vault>,
        identity: Arc<dyn Identity>,
        platform: Arc<dyn Platform>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            vault,
            identity,
            platform,
            clock,
            flights: Arc::default(),
            app: Arc::default(),
            devices: Arc::default(),
            linked: Arc::default(),
        }
    }

    /// Waits until a channel is linked in this process.
    pub async fn linked(&self) {
        self.linked.notified().await;
    }

    /// The platform, for calls made through [`Self::call`].
    pub fn platform(&self) -> &Arc<dyn Platform> {
        &self.platform
    }

    /// Whether an application is set to link channels with.
    pub fn is_configured(&self) -> bool {
        self.identity.is_configured()
    }

    /// All channels, by name.
    pub async fn list(&self) -> Result<Vec<Channel>, ChannelsError> {
        Ok(self.vault.channels().await?)
    }

    pub async fn find(&self, channel: &ChannelId) -> Result<Option<Channel>, ChannelsError> {
        Ok(self.vault.find(channel).await?)
    }

    /// The token that speaks for a channel now. Ask for it at each use: it changes every few hours.
    pub async fn token(&self, channel: &ChannelId) -> Result<Secret, ChannelsError> {
        Ok(self.vault.load(channel).await?.access)
    }

    /// Asks the platform in somebody's name. When the token is not taken, it is renewed and the question asked once more.
    pub async fn call<T, F, Asked>(&self, caller: &Caller, ask: F) -> Result<T, ChannelsError>
    where
        F: Fn(Bearer) -> Asked,
        Asked: Future<Output = Result<T, PlatformError>>,
    {
        let token = match caller {
            Caller::App => self.app_token().await?,
            Caller::Channel(channel) => self.token(channel).await?,
        };
        let bearer = |token| Bearer { caller: caller.clone(), token };
        match ask(bearer(token.clone())).await {
            Err(PlatformError::Unauthorised) => {
                let fresh = match caller {
                    Caller::App => self.app_renewed(&token).await?,
                    Caller::Channel(channel) => self.renewed(channel, &token).await?,
                };
                Ok(ask(bearer(fresh)).await?)
            }
            answer => Ok(answer?),
        }
    }

    /// Puts a marker at the present place of a channel's running stream.
    pub async fn mark(
        &self,
        channel: &ChannelId,
        description: &str,
    ) -> Result<Marker, ChannelsError> {
        let platform = &self.platform;
        let caller = Caller::Channel(channel.clone());
        self.call(
            &caller,
            |bearer| async move { platform.mark(&bearer, channel, description).await },
        )
        .await
    }

    /// In whose name to ask what everybody may know: the application's, or that of any channel whose link holds.
    pub async fn any_caller(&self) -> Result<Option<Caller>, ChannelsError> {
        if self.identity.has_app_token() {
            return Ok(Some(Caller::App));
        }
        let channels = self.vault.channels().await?;
        let sound = channels.into_iter().find(|channel| channel.trouble.is_none());
        Ok(sound.map(|channel| Caller::Channel(channel.id)))
    }

    /// Makes a new key for the vault and seals every row with it, while others go on.
    pub async fn rotate_keys(&self) -> Result<Rotated, ChannelsError> {
        Ok(self.vault.rotate_keys().await?)
    }
}
