//! Relays: what a camera sends goes on to platforms, as it comes.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};

use crate::domain::ids::CameraId;
use crate::domain::live::track::Track;
use crate::ports::PortError;
use crate::ports::ingest::Packet;
use crate::ports::vault::Secret;

/// Relays at most, of all cameras together: each is one more upload.
pub const RELAYS_MAX: usize = 8;

/// Where a camera goes, under a name of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayOrder {
    pub camera: CameraId,
    /// Unlike every other of its camera.
    pub name: String,
    /// `rtmp://host[:port]/app` or `rtmps://…`.
    pub url: String,
    /// The platform's stream key; left out, the one that was told before stays.
    #[serde(serialize_with = "in_clear")]
    pub key: Option<Secret>,
    /// The platform only measures the line, and shows nothing to anybody.
    pub is_test: bool,
}

/// A key goes to the recorder's own book and over its own socket, nowhere else.
#[expect(clippy::ref_option, reason = "serde hands fields over so")]
fn in_clear<S: Serializer>(key: &Option<Secret>, to: S) -> Result<S::Ok, S::Error> {
    key.as_ref().map(Secret::expose).serialize(to)
}

/// How a relay stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RelayState {
    pub camera: CameraId,
    pub name: String,
    pub url: String,
    pub is_test: bool,
    pub standing: Standing,
    /// Since when it stands so.
    pub since: DateTime<Utc>,
    /// Bytes that went out since it was ordered.
    pub sent_bytes: u64,
    /// Kilobits a second, over the last seconds.
    pub kbits: u32,
    /// Groups of pictures left out because the line was too slow.
    pub dropped: u64,
    /// Connections that were lost.
    pub reconnects: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Standing {
    /// The camera sends nothing.
    Idle,
    Connecting,
    OnAir,
    /// The camera is away: its last picture stands still, without sound.
    Still,
    /// Another try follows.
    Waiting {
        reason: String,
        seconds: u32,
    },
}

/// Why publishing did not begin, or ended. French, for people; no text of it holds the key.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("adresse impossible : {0}")]
    Address(&'static str),
    #[error("le serveur est injoignable ({0})")]
    Unreachable(String),
    #[error("le serveur n'a pas répondu à temps ({0})")]
    Late(&'static str),
    #[error("le serveur refuse : {reason} ({code})")]
    Refused { code: String, reason: String },
    #[error("le serveur ne parle pas RTMP ({0})")]
    Malformed(String),
    #[error("le serveur a fermé la connexion")]
    Gone,
    #[error("la connexion s'est rompue ({0})")]
    Broke(String),
    #[error("plus rien ne passe depuis {seconds} s")]
    Stuck { seconds: u64 },
}

/// Publishes to platforms.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Whether an order can be carried out at all.
    fn check(&self, order: &RelayOrder) -> Result<(), PublishError>;

    /// Connects and asks for leave to publish; takes a few seconds at most.
    async fn open(&self, order: &RelayOrder) -> Result<Box<dyn Publication>, PublishError>;
}

/// A stream that a platform takes.
#[async_trait]
pub trait Publication: Send {
    /// Tells parameters at a time in ticks; what follows obeys them.
    async fn track(&mut self, track: &Track, dts: i64) -> Result<(), PublishError>;

    /// Sends a packet; returns once the line took it. After an error nothing more can be sent.
    async fn send(&mut self, packet: &Packet) -> Result<(), PublishError>;

    /// Bytes that the line took so far.
    fn sent_bytes(&self) -> u64;

    /// Says goodbye, so that the platform ends the broadcast at once, and closes.
    async fn finish(self: Box<Self>);
}

/// Where the recorder keeps what is relayed. Small and rare: it may block for a moment.
pub trait RelayBook: Send + Sync {
    fn read(&self) -> Result<Vec<RelayOrder>, PortError>;

    /// All of them, in place of those before; readable by nobody else.
    fn write(&self, relays: &[RelayOrder]) -> Result<(), PortError>;
}
