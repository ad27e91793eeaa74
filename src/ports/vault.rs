//! Linked channels and the tokens they gave us. Tokens leave the vault one channel at a time, and never in the clear.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::domain::audience::channel::{Channel, ChannelId, Scopes, Trouble};
use crate::ports::PortError;

/// A secret text. It shows nothing of itself in logs and debug output.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the wire or the cipher.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a channel's permission consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    pub access: Secret,
    /// Without one, the channel must be linked again once the access token has expired.
    pub refresh: Option<Secret>,
    /// When the access token ends by itself, as the platform said. Only a hint: what counts is its answer 401.
    pub expires_at: DateTime<Utc>,
}

/// A linking somebody began in a browser and has yet to finish there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingLink {
    /// SHA-256 of the `state` that went to the platform and comes back.
    pub state_hash: [u8; 32],
    /// The session it was begun in; no other may finish it.
    pub session_hash: [u8; 32],
    /// Where the platform sends the browser back; the same must be said when the code is exchanged.
    pub return_url: String,
    pub expires_at: DateTime<Utc>,
}

/// What a rotation of the vault's keys did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotated {
    /// Rows sealed anew.
    pub resealed: u64,
    /// Old keys that no row needs any more and that are gone.
    pub keys_removed: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The channel is not linked, or its link has ended.
    #[error("channel {0} has no tokens: link it again")]
    NoTokens(ChannelId),
    /// Another process renews this channel's tokens and takes too long.
    #[error("another renewal of the tokens of channel {0} does not end; trying again later helps")]
    Busy(ChannelId),
    /// The keys are not there or do not fit. English, for the operator; says what to do.
    #[error("{0}")]
    Keys(String),
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Channels and their tokens.
#[async_trait]
pub trait Vault: Send + Sync {
    /// Remembers a linking that begins, and forgets those that have expired by `now`.
    async fn begin_link(&self, link: PendingLink, now: DateTime<Utc>) -> Result<(), PortError>;

    /// Takes a pending link out, if it is of this session and open at `now`. Whatever the answer, its state is spent.
    async fn take_link(
        &self,
        state_hash: [u8; 32],
        session_hash: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<Option<PendingLink>, PortError>;

    /// Stores a channel and its tokens together, in place of what stood.
    async fn link(&self, channel: &Channel, tokens: &Tokens) -> Result<(), VaultError>;

    /// All channels, by name.
    async fn channels(&self) -> Result<Vec<Channel>, PortError>;

    async fn find(&self, channel: &ChannelId) -> Result<Option<Channel>, PortError>;

    /// A channel's tokens; none once its link has ended.
    async fn load(&self, channel: &ChannelId) -> Result<Tokens, VaultError>;

    /// Waits until nobody renews this channel's tokens, in any process, then holds that place until the renewal is
    /// stored or dropped. Waits for a limited time only.
    async fn begin_renewal(&self, channel: &ChannelId) -> Result<Box<dyn Renewal>, VaultError>;

    /// Notes that the platform confirmed a link, and the permissions it named.
    async fn validated(
        &self,
        channel: &ChannelId,
        scopes: &Scopes,
        at: DateTime<Utc>,
    ) -> Result<(), PortError>;

    /// Ends a link: from the first instant on nobody gets its tokens, then they are deleted. The channel stays, with why.
    async fn end(&self, channel: &ChannelId, trouble: Trouble) -> Result<(), PortError>;

    /// Removes a channel and its tokens; says whether it was there. What was heard of it stays in the logs.
    async fn remove(&self, channel: &ChannelId) -> Result<bool, PortError>;

    /// Makes a new key, seals every row with it, and removes the keys no row needs. Others go on meanwhile.
    async fn rotate_keys(&self) -> Result<Rotated, VaultError>;
}

/// The one renewal of a channel's tokens in flight. Dropped, it leaves everything as it was.
#[async_trait]
pub trait Renewal: Send {
    /// The tokens as they stand, now that nobody else changes them.
    fn tokens(&self) -> &Tokens;

    /// Stores the new tokens and lets others on. Once this returns they are safe to use. Refused when the link has
    /// ended meanwhile.
    async fn store(self: Box<Self>, tokens: &Tokens) -> Result<(), VaultError>;
}
