//! The linked channels as a source of notices needs them: whom to listen to, and who speaks for them.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::audience::channel::ChannelId;
use crate::ports::PortError;
use crate::ports::audience_log::AudienceLog;
use crate::ports::audience_source::Bearers;
use crate::ports::platform::{Bearer, Caller, PlatformError};
use crate::use_cases::audience::channels::{Channels, ChannelsError};

/// Speaks for the linked channels.
pub struct ChannelBearers {
    pub channels: Channels,
    pub log: Arc<dyn AudienceLog>,
}

impl ChannelBearers {
    async fn with_token(
        &self,
        channel: &ChannelId,
        stale: Option<&Bearer>,
    ) -> Result<Bearer, PlatformError> {
        let token = match stale {
            Some(stale) => self.channels.renewed(channel, &stale.token).await,
            None => self.channels.token(channel).await,
        };
        let token = token.map_err(as_platform)?;
        Ok(Bearer { caller: Caller::Channel(channel.clone()), token })
    }
}

#[async_trait]
impl Bearers for ChannelBearers {
    async fn channels(&self) -> Result<Vec<ChannelId>, PortError> {
        let channels = self.channels.list().await.map_err(as_port)?;
        let sound = channels.into_iter().filter(|channel| channel.trouble.is_none());
        Ok(sound.map(|channel| channel.id).collect())
    }

    async fn scopes(&self, channel: &ChannelId) -> Result<Vec<String>, PortError> {
        let found = self.channels.find(channel).await.map_err(as_port)?;
        Ok(found.map(|channel| channel.scopes.into_iter().collect()).unwrap_or_default())
    }

    async fn bearer(&self, channel: &ChannelId) -> Result<Bearer, PlatformError> {
        self.with_token(channel, None).await
    }

    async fn app(&self) -> Result<Bearer, PlatformError> {
        let token = self.channels.app_token().await.map_err(as_platform)?;
        Ok(Bearer { caller: Caller::App, token })
    }

    async fn renewed(&self, stale: &Bearer) -> Result<Bearer, PlatformError> {
        match &stale.caller {
            Caller::Channel(channel) => self.with_token(channel, Some(stale)).await,
            Caller::App => {
                let token = self.channels.app_renewed(&stale.token).await.map_err(as_platform)?;
                Ok(Bearer { caller: Caller::App, token })
            }
        }
    }

    async fn revoked(&self, channel: &ChannelId) {
        if let Err(error) = self.channels.revoked(channel).await {
            tracing::error!(%channel, %error, "could not forget a channel's tokens");
        }
    }

    async fn heard_until(&self, channel: &ChannelId) -> Option<DateTime<Utc>> {
        match self.log.last_heard(channel.as_str()).await {
            Ok(heard) => heard,
            Err(error) => {
                tracing::warn!(%channel, error = %error.chain(), "cannot tell since when a channel is not heard");
                None
            }
        }
    }
}

fn as_platform(error: ChannelsError) -> PlatformError {
    match error {
        ChannelsError::NotLinked(_) | ChannelsError::RelinkNeeded(_) => PlatformError::Unauthorised,
        error => PlatformError::Passing(as_port(error)),
    }
}

fn as_port(error: ChannelsError) -> PortError {
    PortError::passing("speak for a channel", error)
}
