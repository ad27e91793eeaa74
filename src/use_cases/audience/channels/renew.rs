//! New tokens for old: one renewal of a channel at a time, in this process (a flight all callers share) and among all
//! processes (the vault's renewal). It runs in a task of its own, so a caller that goes away interrupts nothing.
//!
//! The refresh token stays in the vault until the new pair has replaced it in one commit. A lost reply is asked for again
//! with the same refresh token. A process that dies between the reply and the commit leaves the old pair: the next
//! renewal tries it, and if the platform has spent it meanwhile the channel is marked to be linked again. Nothing can
//! be done about that window but keeping it as short as one commit.

use std::sync::PoisonError;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, Shared};
use tokio::time::Instant;

use crate::domain::audience::channel::{ChannelId, Trouble};
use crate::ports::PortError;
use crate::ports::platform::PlatformError;
use crate::ports::vault::{Renewal, Secret, Tokens, VaultError};
use crate::use_cases::audience::channels::{AppToken, Channels, ChannelsError};

/// How often one renewal asks the platform.
const REFRESH_TRIES_MAX: u32 = 3;
/// Pause after a first try without reply; the next is four times as long.
const REFRESH_PAUSE: Duration = Duration::from_millis(300);
/// Longest that new tokens are carried about while the vault does not take them.
const STORE_TRIED_MAX: Duration = Duration::from_mins(10);
/// Pause between two tries to store.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// The application's token is renewed this long before it ends.
const APP_MARGIN: chrono::TimeDelta = chrono::TimeDelta::minutes(10);

pub(super) type Flight = Shared<BoxFuture<'static, Result<Secret, ChannelsError>>>;

impl Channels {
    /// A token for a channel in place of `stale`, which the platform did not take. All who ask at once share one renewal;
    /// who asks late gets the token that is there already. When this returns, the new pair is stored.
    pub async fn renewed(
        &self,
        channel: &ChannelId,
        stale: &Secret,
    ) -> Result<Secret, ChannelsError> {
        let token = self.flight(channel, stale).await?;
        if token != *stale {
            return Ok(token);
        }
        // The flight we joined brought the very token that is stale to us: it had begun before us.
        self.flight(channel, stale).await
    }

    /// Waits until no renewal is in flight; for a shutdown.
    pub async fn settle(&self) {
        let flights: Vec<Flight> = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            flights.drain().map(|(_, flight)| flight).collect()
        };
        futures::future::join_all(flights).await;
    }

    fn flight(&self, channel: &ChannelId, stale: &Secret) -> Flight {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.peek().is_none());
        if let Some(flight) = flights.get(channel) {
            return flight.clone();
        }
        let (channels, asked, stale) = (self.clone(), channel.clone(), stale.clone());
        let renewing = tokio::spawn(async move { channels.renew(&asked, &stale).await });
        let flight = async move {
            match renewing.await {
                Ok(renewed) => renewed,
                Err(error) => Err(PortError::lasting("renew a channel's tokens", error).into()),
            }
        };
        let flight = flight.boxed().shared();
        flights.insert(channel.clone(), flight.clone());
        flight
    }

    async fn renew(&self, channel: &ChannelId, stale: &Secret) -> Result<Secret, ChannelsError> {
        let renewal = self.vault.begin_renewal(channel).await?;
        let old = renewal.tokens().clone();
        if old.access != *stale {
            // Another process was faster.
            return Ok(old.access);
        }
        let Some(refresh) = &old.refresh else {
            drop(renewal);
            return Err(self.refused(channel, "there is no refresh token").await);
        };
        match self.refresh(refresh).await {
            Ok(new) => self.store(channel, renewal, &old, new).await,
            Err(PlatformError::Refused { reason, .. }) => {
                drop(renewal);
                Err(self.refused(channel, &reason).await)
            }
            Err(error) => {
                tracing::warn!(channel = %channel, %error, "could not renew a channel's tokens");
                Err(error.into())
            }
        }
    }

    /// Asks for new tokens, again when no reply came: the refresh token is the same and may still live.
    async fn refresh(&self, refresh: &Secret) -> Result<Tokens, PlatformError> {
        let mut pause = REFRESH_PAUSE;
        for _ in 1..REFRESH_TRIES_MAX {
            match self.identity.refresh(refresh).await {
                Err(PlatformError::Passing(error)) if error.retry => {
                    tracing::warn!(
                        error = error.chain(),
                        "no reply to a token renewal; asking again"
                    );
                    tokio::time::sleep(pause).await;
                    pause *= 4;
                }
                answer => return answer,
            }
        }
        self.identity.refresh(refresh).await
    }

    /// Stores new tokens before anybody uses them. They are the only ones that work: while the vault is away they are
    /// kept in hand and offered again.
    async fn store(
        &self,
        channel: &ChannelId,
        renewal: Box<dyn Renewal>,
        old: &Tokens,
        new: Tokens,
    ) -> Result<Secret, ChannelsError> {
        let begun = Instant::now();
        let mut stored = renewal.store(&new).await;
        while let Err(error) = stored {
            let passing = matches!(&error, VaultError::Busy(_))
                || matches!(&error, VaultError::Port(error) if error.retry);
            if !passing || begun.elapsed() > STORE_TRIED_MAX {
                tracing::error!(channel = %channel, %error, "renewed tokens could not be stored");
                return Err(error.into());
            }
            tokio::time::sleep(STORE_PAUSE).await;
            stored = match self.vault.begin_renewal(channel).await {
                // The commit went through, though its reply was lost; or somebody linked the channel anew.
                Ok(again) if again.tokens() != old => return Ok(again.tokens().access.clone()),
                Ok(again) => again.store(&new).await,
                Err(error) => Err(error),
            };
        }
        tracing::info!(channel = %channel, "renewed a channel's tokens");
        Ok(new.access)
    }

    async fn refused(&self, channel: &ChannelId, reason: &str) -> ChannelsError {
        tracing::warn!(channel = %channel, reason, "a channel must be linked again");
        match self.vault.end(channel, Trouble::RefreshRefused).await {
            Ok(()) => ChannelsError::RelinkNeeded(channel.clone()),
            Err(error) => error.into(),
        }
    }

    /// The application's own token, kept until shortly before it ends.
    pub async fn app_token(&self) -> Result<Secret, ChannelsError> {
        let mut standing = self.app.lock().await;
        let now = self.clock.now();
        match standing.as_ref().filter(|app| app.expires_at - APP_MARGIN > now) {
            Some(app) => Ok(app.token.clone()),
            None => self.new_app_token(&mut standing).await,
        }
    }

    /// Another token of the application in place of `stale`; callers at once share one.
    pub async fn app_renewed(&self, stale: &Secret) -> Result<Secret, ChannelsError> {
        let mut standing = self.app.lock().await;
        match standing.as_ref().filter(|app| app.token != *stale) {
            Some(app) => Ok(app.token.clone()),
            None => self.new_app_token(&mut standing).await,
        }
    }

    async fn new_app_token(
        &self,
        standing: &mut Option<AppToken>,
    ) -> Result<Secret, ChannelsError> {
        let (token, expires_at) = self.identity.app_token().await?;
        *standing = Some(AppToken { token: token.clone(), expires_at });
        Ok(token)
    }
}
