//! The vault in memory: the twin of the channels' tables. What it holds is in the clear, and gone with the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::{Mutex as Place, OwnedMutexGuard};

use crate::domain::audience::channel::{Channel, ChannelId, Scopes, Trouble};
use crate::ports::PortError;
use crate::ports::vault::{PendingLink, Renewal, Rotated, Tokens, Vault, VaultError};

/// Longest wait for another renewal of the same channel.
const RENEWAL_WAIT_MAX: Duration = Duration::from_secs(30);

/// Channels and tokens. Clones share them, as processes share a database.
#[derive(Clone, Default)]
pub struct MemoryVault {
    tables: Arc<Mutex<Tables>>,
    renewal_wait: Option<Duration>,
}

#[derive(Default)]
struct Tables {
    links: BTreeMap<[u8; 32], PendingLink>,
    channels: BTreeMap<ChannelId, Channel>,
    tokens: BTreeMap<ChannelId, Tokens>,
    /// Who renews a channel holds its place.
    places: BTreeMap<ChannelId, Arc<Place<()>>>,
}

impl MemoryVault {
    /// With another longest wait for a renewal of the same channel.
    #[must_use]
    pub const fn waiting_at_most(mut self, renewal_wait: Duration) -> Self {
        self.renewal_wait = Some(renewal_wait);
        self
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn tokens(&self, channel: &ChannelId) -> Result<Tokens, VaultError> {
        let holds = self.channels.get(channel).is_some_and(|channel| channel.trouble.is_none());
        let tokens = self.tokens.get(channel).filter(|_| holds).cloned();
        tokens.ok_or_else(|| VaultError::NoTokens(channel.clone()))
    }
}

#[async_trait]
impl Vault for MemoryVault {
    async fn begin_link(&self, link: PendingLink, now: DateTime<Utc>) -> Result<(), PortError> {
        let mut tables = self.tables();
        tables.links.retain(|_, standing| standing.expires_at > now);
        tables.links.insert(link.state_hash, link);
        Ok(())
    }

    async fn take_link(
        &self,
        state_hash: [u8; 32],
        session_hash: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<Option<PendingLink>, PortError> {
        let link = self.tables().links.remove(&state_hash);
        Ok(link.filter(|link| link.session_hash == session_hash && link.expires_at > now))
    }

    async fn link(&self, channel: &Channel, tokens: &Tokens) -> Result<(), VaultError> {
        let mut tables = self.tables();
        tables.channels.insert(channel.id.clone(), channel.clone());
        tables.tokens.insert(channel.id.clone(), tokens.clone());
        Ok(())
    }

    async fn channels(&self) -> Result<Vec<Channel>, PortError> {
        let mut channels: Vec<Channel> = self.tables().channels.values().cloned().collect();
        channels.sort_by_key(|channel| (channel.name.to_lowercase(), channel.id.clone()));
        Ok(channels)
    }

    async fn find(&self, channel: &ChannelId) -> Result<Option<Channel>, PortError> {
        Ok(self.tables().channels.get(channel).cloned())
    }

    async fn load(&self, channel: &ChannelId) -> Result<Tokens, VaultError> {
        self.tables().tokens(channel)
    }

    async fn begin_renewal(&self, channel: &ChannelId) -> Result<Box<dyn Renewal>, VaultError> {
        let place = self.tables().places.entry(channel.clone()).or_default().clone();
        let wait = self.renewal_wait.unwrap_or(RENEWAL_WAIT_MAX);
        let held = tokio::time::timeout(wait, place.lock_owned())
            .await
            .map_err(|_| VaultError::Busy(channel.clone()))?;
        let tokens = self.tables().tokens(channel)?;
        let (vault, channel) = (self.clone(), channel.clone());
        Ok(Box::new(MemoryRenewal { vault, channel, tokens, _held: held }))
    }

    async fn validated(
        &self,
        channel: &ChannelId,
        scopes: &Scopes,
        at: DateTime<Utc>,
    ) -> Result<(), PortError> {
        if let Some(channel) = self.tables().channels.get_mut(channel) {
            channel.validated_at = channel.validated_at.max(at);
            channel.scopes.clone_from(scopes);
        }
        Ok(())
    }

    async fn end(&self, channel: &ChannelId, trouble: Trouble) -> Result<(), PortError> {
        let mut tables = self.tables();
        if let Some(channel) = tables.channels.get_mut(channel) {
            channel.trouble = Some(trouble);
        }
        tables.tokens.remove(channel);
        Ok(())
    }

    async fn remove(&self, channel: &ChannelId) -> Result<bool, PortError> {
        let mut tables = self.tables();
        tables.tokens.remove(channel);
        Ok(tables.channels.remove(channel).is_some())
    }

    /// Nothing is sealed here, so nothing is sealed anew.
    async fn rotate_keys(&self) -> Result<Rotated, VaultError> {
        Ok(Rotated { resealed: 0, keys_removed: 0 })
    }
}

struct MemoryRenewal {
    vault: MemoryVault,
    channel: ChannelId,
    tokens: Tokens,
    _held: OwnedMutexGuard<()>,
}

#[async_trait]
impl Renewal for MemoryRenewal {
    fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    async fn store(self: Box<Self>, tokens: &Tokens) -> Result<(), VaultError> {
        let mut tables = self.vault.tables();
        tables.tokens(&self.channel)?;
        tables.tokens.insert(self.channel.clone(), tokens.clone());
        Ok(())
    }
}
