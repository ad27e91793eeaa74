//! The recorder, a process of its own: what it is told, and what it tells.

use std::net::SocketAddr;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::ids::{CameraId, RecordingId};
use crate::domain::live::camera::Camera;
use crate::domain::live::feed::Reading;
use crate::domain::live::keeping::Keeping;
use crate::domain::live::track::{Codec, Form};
use crate::ports::PortError;
use crate::ports::ingest::{Leave, LineReading};
use crate::ports::relay::{RelayOrder, RelayState};

/// How the recorder stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecorderState {
    pub pid: u32,
    pub version: String,
    pub started_at: DateTime<Utc>,
    pub now: DateTime<Utc>,
    /// Ports that encoders knock at.
    pub doors: Vec<Door>,
    /// Those it knows, in the order they were told.
    pub cameras: Vec<CameraState>,
    /// Peers that were not let in since it started, by reason.
    pub refused: Vec<(String, u64)>,
    /// Space where recordings lie, in bytes.
    pub free_bytes: u64,
    pub total_bytes: u64,
    /// The disk is full: what it reserved is being used up, or nothing is recorded any more.
    pub is_full: bool,
    /// What went since it started, to make room or for its age.
    #[serde(default)]
    pub let_go: LetGo,
    /// What is relayed, in the order it was ordered; without keys.
    #[serde(default)]
    pub relays: Vec<RelayState>,
}

/// Recordings that went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LetGo {
    pub files: u64,
    pub bytes: u64,
    /// The end of the latest that went.
    pub until: Option<DateTime<Utc>>,
    /// The disk is beyond its line, and nothing more may go.
    pub is_cramped: bool,
}

/// A port that encoders knock at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// `rtmp` or `srt`.
    pub protocol: String,
    pub address: SocketAddr,
    /// What an encoder must know besides, over SRT.
    #[serde(default)]
    pub srt: Option<SrtTerms>,
}

/// What an encoder must know to send over SRT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SrtTerms {
    /// How long packets are held back for those that come late.
    pub latency_ms: u32,
    /// Its line is encrypted with the passphrase of the settings.
    pub needs_passphrase: bool,
}

impl Door {
    pub fn rtmp(address: SocketAddr) -> Self {
        Self { protocol: "rtmp".to_owned(), address, srt: None }
    }

    pub fn srt(address: SocketAddr, terms: SrtTerms) -> Self {
        Self { protocol: "srt".to_owned(), address, srt: Some(terms) }
    }
}

/// How one camera stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CameraState {
    pub camera: CameraId,
    /// What it sends now; none while no encoder is there.
    pub feed: Option<FeedState>,
    /// When and why the encoder before left.
    pub left: Option<Left>,
}

/// What a camera sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedState {
    pub protocol: String,
    pub peer: String,
    pub software: Option<String>,
    pub since: DateTime<Utc>,
    pub recording: Option<RecordingId>,
    pub tracks: Vec<(Codec, Form)>,
    pub reading: Reading,
    /// Everything that came before this is on the disk.
    pub recorded_until: Option<DateTime<Utc>>,
    /// Packets that no file can hold as they came, left out since it connected.
    pub dropped: u64,
    /// Why nothing is recorded, when nothing is.
    pub halted: Option<Halt>,
    /// How its line was since it connected, over SRT.
    #[serde(default)]
    pub line: Option<LineReading>,
}

/// Why nothing is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Halt {
    /// There is no room, nothing kept back either.
    Full,
    /// The disk takes nothing; the recorder's log says more.
    Disk,
}

/// How an encoder left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub at: DateTime<Utc>,
    pub why: Leave,
}

/// Speaks to the recorder. It answers within a second, or not at all.
#[async_trait]
pub trait RecorderDesk: Send + Sync {
    /// How it stands.
    async fn state(&self) -> Result<RecorderState, PortError>;

    /// Tells it all cameras there are. It keeps them over its own restarts; a camera that is not among them any more is sent
    /// away, as is one whose key changed.
    async fn know(&self, cameras: &[Camera]) -> Result<(), PortError>;

    /// Tells it what stays of each camera. Of a camera that is not among them, everything stays.
    async fn keep(&self, keeping: &[Keeping]) -> Result<(), PortError>;

    /// Tells it all relays there shall be. One that cannot be carried out is refused in words, and nothing is changed.
    async fn relay(&self, relays: &[RelayOrder]) -> Result<Option<String>, PortError>;
}

/// Where the recorder keeps the cameras it was told of. Small and rare: it may block for a moment.
pub trait CameraBook: Send + Sync {
    /// None at all before the first were written.
    fn read(&self) -> Result<Vec<Camera>, PortError>;

    /// All of them, in place of those before; on the disk when this returns.
    fn write(&self, cameras: &[Camera]) -> Result<(), PortError>;

    /// What stays of them; nothing is said of any before the first were written.
    fn read_keeping(&self) -> Result<Vec<Keeping>, PortError>;

    /// On the disk when this returns.
    fn write_keeping(&self, keeping: &[Keeping]) -> Result<(), PortError>;
}
