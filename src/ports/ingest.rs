//! What cameras send us: encoders that connect, each with the key of one camera.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::ids::CameraId;
use crate::domain::live::track::{Kind, Track};
use crate::ports::PortError;

/// Longest packet that is taken, in bytes: a key frame of 4K at the highest rate is a tenth of it.
pub const PACKET_BYTES_MAX: usize = 16 << 20;

/// One encoded picture, or one frame of sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub kind: Kind,
    /// When it is decoded and when it is shown, in ticks ([`crate::domain::live::track::TICKS_PER_S`]) since an instant of the
    /// connection's own; wraps of the transport are undone, jumps of the encoder are not.
    pub dts: i64,
    pub pts: i64,
    /// How many samples of sound it holds, at the sound's own rate; 0 for a picture.
    pub samples: u32,
    /// Decoding can begin here. Always so for sound.
    pub is_key: bool,
    /// As an MP4 file holds it: pictures with a length before each unit, sound without headers.
    pub data: Bytes,
    /// When its last byte came.
    pub arrived: Instant,
}

/// What an encoder told of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct About {
    /// Its name, such as `obs-output module (libobs version 30.2.2)`; cut to 200 characters.
    pub software: Option<String>,
    /// What it claims: frames a second, and kbit/s of picture and sound together.
    pub fps: Option<f64>,
    pub kbits: Option<f64>,
}

/// What comes from an encoder.
#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    About(About),
    /// Parameters, at the beginning and whenever they change. Parameters that are told again unchanged are not handed on.
    Track(Track),
    Packet(Packet),
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Leave {
    /// It said goodbye.
    #[error("the encoder ended the stream")]
    Ended,
    #[error("the connection was closed without a goodbye")]
    Gone,
    #[error("nothing came for {seconds} s")]
    Silent { seconds: u64 },
    #[error("what came is not the protocol: {reason}")]
    Malformed { reason: String },
    #[error("a limit was passed: {limit}")]
    TooMuch { limit: String },
    #[error("it cannot be recorded: {reason}")]
    Unfit { reason: String },
    #[error("another encoder came with the same key")]
    Replaced,
    #[error("its key opens nothing any more")]
    KeyDrawn,
    #[error("the recorder stops")]
    Stopping,
}

/// How the line of an encoder was since it connected, in packets of its transport.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LineReading {
    /// There and back, in milliseconds, as it is now.
    pub rtt_ms: f64,
    /// Packets that came, those that came again among them.
    pub packets: u64,
    /// Packets that did not come the first time.
    pub lost: u64,
    /// Packets that came again.
    pub retransmitted: u64,
    /// Packets that never came in time: a hole in picture or sound.
    pub dropped: u64,
}

impl LineReading {
    /// Which share of what was sent did not come the first time, from 0 to 1.
    pub fn lost_share(&self) -> f64 {
        let sent = self.packets.saturating_sub(self.retransmitted) + self.lost;
        if sent == 0 { 0.0 } else { self.lost as f64 / sent as f64 }
    }
}

/// Tells how a line is. It answers from memory.
pub trait LineGauge: Send + Sync {
    /// `None` before anything came.
    fn read(&self) -> Option<LineReading>;
}

/// Says which camera a stream key opens. Asked in the middle of a handshake: it answers from memory, in constant time.
pub trait Gate: Send + Sync {
    fn camera(&self, key: &str) -> Option<CameraId>;
}

/// An encoder that was let in.
#[async_trait]
pub trait Encoder: Send {
    fn camera(&self) -> CameraId;
    fn peer(&self) -> SocketAddr;
    /// `rtmp` or `srt`.
    fn protocol(&self) -> &'static str;

    /// Tells how its line is, for as long as it is kept; `None` of a transport that does not tell what it lost.
    fn gauge(&self) -> Option<Arc<dyn LineGauge>> {
        None
    }

    /// What comes next. After an error nothing more comes. Can be cancelled without losing anything.
    async fn next(&mut self) -> Result<Sent, Leave>;

    /// Tells the encoder that it is sent away, and closes. Waits at most a second.
    async fn dismiss(self: Box<Self>, why: &str);
}

/// A door that encoders knock at.
#[async_trait]
pub trait Ingest: Send + Sync {
    /// The next encoder with a key that the gate knows. Peers that are silent, malformed, slow or without a key never get
    /// here and hold nobody up; they are told in the log and counted.
    async fn accept(&self) -> Result<Box<dyn Encoder>, PortError>;

    /// How many were refused, by reason, since the start: `key`, `malformed`, `slow`, `crowd`.
    fn refused(&self) -> Vec<(&'static str, u64)>;
}
