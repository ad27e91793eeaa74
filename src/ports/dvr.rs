//! The DVR: what the cameras sent, in parts on the disk. The recorder writes; everybody else reads the same folder.

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::ids::{CameraId, RecordingId};
use crate::domain::live::part::Part;
use crate::domain::live::track::Track;
use crate::ports::PortError;

/// Most parts listed at once.
pub const PARTS_LISTED_MAX: usize = 20_000;

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub enum DvrError {
    /// What was written before stays whole.
    #[error("the disk is full")]
    Full,
    #[error(transparent)]
    Port(#[from] PortError),
}

/// A recording that begins: one unbroken stretch of one camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub camera: CameraId,
    pub recording: RecordingId,
    pub tracks: Vec<Track>,
    /// When its first packet arrived, UTC, in nanoseconds since 1970.
    pub utc_ns: i64,
}

/// Where a part lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartPlace {
    pub camera: CameraId,
    pub recording: RecordingId,
    /// Within the recording, from 1.
    pub file: u32,
    /// Within the recording, from 1.
    pub number: u32,
    /// Bytes from the beginning of the file.
    pub offset: u64,
    pub bytes: u32,
    /// In ticks since the recording began, and how long.
    pub dts: i64,
    pub ticks: i64,
    /// When its first packet arrived, UTC, in nanoseconds since 1970.
    pub utc_ns: i64,
    /// Decoding can begin here.
    pub is_key: bool,
}

/// Room on the disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    pub free_bytes: u64,
    pub total_bytes: u64,
    /// A write found no room, and none was given since.
    pub is_full: bool,
}

/// A file of a recording: the least that can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub camera: CameraId,
    pub recording: RecordingId,
    /// Within the recording, from 1.
    pub file: u32,
    /// UTC nanoseconds, to the second; it may end sooner than told, never later.
    pub from_utc_ns: i64,
    pub to_utc_ns: i64,
}

/// The recorder's side.
#[async_trait]
pub trait Dvr: Send + Sync {
    /// Begins a recording. Nothing is on the disk before its first part.
    async fn begin(&self, start: Start) -> Result<Box<dyn Recording>, DvrError>;

    /// Room for more.
    fn space(&self) -> Space;

    /// All that lies there, the oldest first.
    async fn stretches(&self) -> Result<Vec<Stretch>, PortError>;

    /// Removes one; says how many bytes that freed. One that is gone already frees none.
    async fn remove(&self, stretch: &Stretch) -> Result<u64, PortError>;
}

/// A recording being written.
#[async_trait]
pub trait Recording: Send {
    /// Adds the next part. When this returns, it is on the disk, and so is everything before it; a part that failed is not
    /// there at all, and the next one may be tried.
    async fn append(&mut self, part: Part<Bytes>) -> Result<PartPlace, DvrError>;

    /// Closes the last file. One that is not closed is mended when it is next opened.
    async fn finish(self: Box<Self>) -> Result<(), DvrError>;
}

/// The reader's side, in any process.
#[async_trait]
pub trait Footage: Send + Sync {
    /// Parts of a camera that began within `[from, to)`, UTC nanoseconds, oldest first; at most [`PARTS_LISTED_MAX`]. Parts
    /// in the making are not among them.
    async fn parts(
        &self,
        camera: CameraId,
        from_utc_ns: i64,
        to_utc_ns: i64,
    ) -> Result<Vec<PartPlace>, PortError>;

    /// All files that lie there, the oldest first.
    async fn stretches(&self) -> Result<Vec<Stretch>, PortError>;

    /// What the index beside a file says: its parts, and whether it was closed in order. No parts when it is gone.
    async fn index_of(&self, stretch: &Stretch) -> Result<(Vec<PartPlace>, bool), PortError>;

    /// The earliest part of a camera that is still there.
    async fn first(&self, camera: CameraId) -> Result<Option<PartPlace>, PortError>;

    /// What a decoder needs before the parts of a recording: `ftyp` and `moov`.
    async fn init(&self, of: &PartPlace) -> Result<Bytes, PortError>;

    /// A part's bytes: `moof` and `mdat` with what surrounds them. After the `init` of its recording, any key part and those
    /// that follow it can be played.
    async fn read(&self, part: &PartPlace) -> Result<Bytes, PortError>;
}
