//! Keeping links: each is validated every hour, and ended as soon as the channel or somebody here says so.

use crate::domain::audience::channel::{Channel, ChannelId, Trouble};
use crate::ports::platform::{PlatformError, Whoami};
use crate::ports::vault::Secret;
use crate::use_cases::audience::channels::{Channels, ChannelsError};

/// What a round of validation found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Links that hold.
    pub hold: usize,
    /// Links that ended.
    pub ended: usize,
    /// Links nobody could say anything of now.
    pub unknown: usize,
}

impl Channels {
    /// Validates every link that stands.
    pub async fn check_all(&self) -> Result<Checked, ChannelsError> {
        let mut checked = Checked::default();
        for channel in self.vault.channels().await? {
            if channel.trouble.is_some() {
                continue;
            }
            match self.check(&channel).await {
                Ok(()) => checked.hold += 1,
                Err(ChannelsError::RelinkNeeded(_) | ChannelsError::NotLinked(_)) => {
                    checked.ended += 1;
                }
                Err(error) => {
                    tracing::warn!(channel = %channel.id, %error, "could not validate a channel's link");
                    checked.unknown += 1;
                }
            }
        }
        Ok(checked)
    }

    /// Validates one link. An access token that is over is renewed; when that is refused, the link has ended.
    async fn check(&self, channel: &Channel) -> Result<(), ChannelsError> {
        let token = self.token(&channel.id).await?;
        let who = match self.identity.validate(&token).await {
            Err(PlatformError::Unauthorised) => {
                let fresh = self.renewed(&channel.id, &token).await?;
                self.validate_fresh(&channel.id, &fresh).await?
            }
            answer => answer?,
        };
        Ok(self.vault.validated(&channel.id, &who.scopes, self.clock.now()).await?)
    }

    /// A token just made is not taken: the permission itself is gone.
    async fn validate_fresh(
        &self,
        channel: &ChannelId,
        fresh: &Secret,
    ) -> Result<Whoami, ChannelsError> {
        match self.identity.validate(fresh).await {
            Err(PlatformError::Unauthorised) => {
                self.revoked(channel).await?;
                Err(ChannelsError::RelinkNeeded(channel.clone()))
            }
            answer => Ok(answer?),
        }
    }

    /// The channel withdrew its permission: nobody gets its tokens from here on, and they are deleted.
    pub async fn revoked(&self, channel: &ChannelId) -> Result<(), ChannelsError> {
        self.vault.end(channel, Trouble::Revoked).await?;
        tracing::warn!(channel = %channel, "a channel withdrew its permission");
        Ok(())
    }

    /// Unlinks a channel on our side, and gives its token back to the platform as far as that can be done.
    pub async fn unlink(&self, channel: &ChannelId) -> Result<(), ChannelsError> {
        let token = self.vault.load(channel).await.map(|tokens| tokens.access);
        if !self.vault.remove(channel).await? {
            return Err(ChannelsError::NotLinked(channel.clone()));
        }
        tracing::info!(channel = %channel, "unlinked a channel");
        if let Ok(token) = token
            && let Err(error) = self.identity.revoke(&token).await
        {
            tracing::warn!(channel = %channel, %error, "could not give a token back; it ends by itself");
        }
        Ok(())
    }
}
