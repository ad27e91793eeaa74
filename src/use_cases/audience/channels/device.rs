//! Linking a machine without a browser: a code is shown, somebody types it elsewhere, and we ask until that is done.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::domain::audience::channel::{Channel, ChannelId, Feature, Scopes, scopes_to_ask};
use crate::ports::platform::{DeviceAnswer, DeviceCode};
use crate::use_cases::audience::channels::{Channels, ChannelsError};

/// Codes waiting at once, in one process.
const CODES_MAX: usize = 8;
/// How long the end of a code can be read.
const ENDED_KEPT: TimeDelta = TimeDelta::minutes(10);

/// A linking by code, in this process.
pub type DeviceId = Uuid;

/// What to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceLink {
    pub id: DeviceId,
    /// What the person types.
    pub user_code: String,
    /// Where.
    pub url: String,
    pub expires_at: DateTime<Utc>,
    pub state: DeviceState,
}

/// How a linking by code stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceState {
    Waiting,
    Linked(ChannelId),
    /// The code expired or was turned down.
    Over,
    /// French, for the person.
    Failed(String),
}

pub(super) struct Device(DeviceLink);

impl Channels {
    /// Asks for a code and waits for it in the background; [`Self::find_code`] says how it stands.
    pub async fn begin_code(&self, wanted: &[Feature]) -> Result<DeviceLink, ChannelsError> {
        let now = self.clock.now();
        let waiting = self
            .open_devices()
            .values()
            .filter(|Device(link)| link.state == DeviceState::Waiting)
            .count();
        if waiting >= CODES_MAX {
            return Err(ChannelsError::TooManyCodes);
        }
        let scopes = scopes_to_ask(wanted, &Scopes::new());
        let code = self.identity.device_code(&scopes).await?;
        let link = DeviceLink {
            id: self.clock.new_id(),
            user_code: code.user_code.clone(),
            url: code.verification_url.clone(),
            expires_at: code.expires_at,
            state: DeviceState::Waiting,
        };
        let mut devices = self.open_devices();
        devices.retain(|_, Device(link)| link.expires_at + ENDED_KEPT > now);
        devices.insert(link.id, Device(link.clone()));
        drop(devices);
        let (channels, id) = (self.clone(), link.id);
        tokio::spawn(async move {
            let state = match channels.await_code(&code, &scopes).await {
                Ok(Some(channel)) => DeviceState::Linked(channel.id),
                Ok(None) => DeviceState::Over,
                Err(error) => {
                    tracing::warn!(%error, "a linking by code failed");
                    DeviceState::Failed(
                        "La liaison n'a pas abouti. Demandez un nouveau code.".to_owned(),
                    )
                }
            };
            if let Some(Device(link)) = channels.open_devices().get_mut(&id) {
                link.state = state;
            }
        });
        Ok(link)
    }

    /// How a linking by code stands.
    pub fn find_code(&self, id: DeviceId) -> Option<DeviceLink> {
        self.open_devices().get(&id).map(|Device(link)| link.clone())
    }

    /// Asks until the code was typed (a channel is linked), is over, or has expired.
    async fn await_code(
        &self,
        code: &DeviceCode,
        scopes: &Scopes,
    ) -> Result<Option<Channel>, ChannelsError> {
        while self.clock.now() < code.expires_at {
            tokio::time::sleep(code.interval).await;
            match self.identity.device_answer(code, scopes).await {
                Ok(DeviceAnswer::Granted(tokens)) => return self.admit(tokens).await.map(Some),
                Ok(DeviceAnswer::Over) => return Ok(None),
                Ok(DeviceAnswer::Waiting) => {}
                Err(error) if error.may_pass() => {
                    tracing::warn!(%error, "could not ask whether a code was typed; asking again");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    fn open_devices(&self) -> MutexGuard<'_, HashMap<DeviceId, Device>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
