//! The index of what lies in the DVR, in the database: what reports ask, and a copy of the one beside the files. Nothing that
//! records or plays waits for it.

use async_trait::async_trait;

use crate::domain::ids::{CameraId, RecordingId};
use crate::ports::PortError;
use crate::ports::dvr::PartPlace;

/// A file of a recording with its parts; never without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedFile {
    pub camera: CameraId,
    pub recording: RecordingId,
    /// Within the recording, from 1.
    pub file: u32,
    /// It was closed in order: nothing more comes to it.
    pub is_closed: bool,
    pub parts: Vec<PartPlace>,
}

impl IndexedFile {
    /// Between which UTC nanoseconds it lies, and its bytes.
    pub fn extent(&self) -> (i64, i64, u64) {
        let from = self.parts.first().map_or(0, |part| part.utc_ns);
        let lasts: i64 = self.parts.iter().map(|part| part.ticks).sum();
        let bytes = self.parts.last().map_or(0, |part| part.offset + u64::from(part.bytes));
        // A tick is 100,000/9 nanoseconds.
        (from, from + lasts * 100_000 / 9, bytes)
    }
}

/// A file that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub recording: RecordingId,
    pub file: u32,
    pub is_closed: bool,
}

/// What lies there of one camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub camera: CameraId,
    pub files: u64,
    pub bytes: u64,
    /// How long all of it lasts, in nanoseconds, and between which instants it lies, UTC.
    pub lasts_ns: i64,
    pub from_utc_ns: i64,
    pub to_utc_ns: i64,
}

#[async_trait]
pub trait FootageIndex: Send + Sync {
    /// Writes files down, all or none; one that is known is replaced.
    async fn put(&self, files: &[IndexedFile]) -> Result<(), PortError>;

    /// Forgets files.
    async fn forget(&self, files: &[(RecordingId, u32)]) -> Result<(), PortError>;

    /// All that is known, in no order.
    async fn known(&self) -> Result<Vec<Known>, PortError>;

    /// One of them.
    async fn file(
        &self,
        recording: RecordingId,
        file: u32,
    ) -> Result<Option<IndexedFile>, PortError>;

    /// What lies there, a line a camera.
    async fn held(&self) -> Result<Vec<Held>, PortError>;
}
