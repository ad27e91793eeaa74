//! Where media files live. A file appears whole or not at all, with its SHA-256.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::domain::media::{MediaKey, MediaObject};
use crate::ports::PortError;

/// Free space that a store keeps for the database and the system, in bytes.
pub const FREE_BYTES_KEPT: u64 = 512 * 1024 * 1024;

/// Why the store did not take or give a file: French, for people.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "Le disque est presque plein : il faut {} Mo, réserve comprise, et {} Mo sont libres. Libérez de la place, puis recommencez.",
        needed.div_ceil(1_000_000),
        free / 1_000_000
    )]
    DiskFull { needed: u64, free: u64 },
    #[error(
        "Le fichier a changé ou disparu pendant sa lecture ({read} octets lus sur {expected} annoncés). Copiez-le de nouveau, puis recommencez."
    )]
    SourceChanged { expected: u64, read: u64 },
    #[error("Le fichier « {} » ne peut pas être lu.", path.display())]
    Source { path: PathBuf, source: std::io::Error },
    #[error("L'opération a été arrêtée.")]
    Cancelled,
    #[error(transparent)]
    Port(#[from] PortError),
}

/// A file on its way into the store, chunk by chunk. Dropped without `finish`, it leaves nothing.
#[async_trait]
pub trait Incoming: Send {
    /// Takes the next bytes.
    async fn write(&mut self, chunk: &[u8]) -> Result<(), StoreError>;

    /// Flushes to disk and gives the file its name: `folder/<sha256>.<extension>`. The same bytes twice are one object.
    async fn finish(
        self: Box<Self>,
        folder: &str,
        extension: &str,
    ) -> Result<MediaObject, StoreError>;

    /// Forgets what came in, be it through one door or through several that went on after each other.
    async fn discard(self: Box<Self>);
}

/// The store.
#[async_trait]
pub trait MediaStore: Send + Sync {
    /// Keeps so many bytes free beside [`FREE_BYTES_KEPT`], in place of what was asked before: recordings under way will need
    /// them, and what comes in has to leave them.
    fn reserve(&self, bytes: u64);

    /// Opens a door for `bytes` bytes (0 when unknown). Refused when the disk has no room for them.
    async fn incoming(&self, bytes: u64) -> Result<Box<dyn Incoming>, StoreError>;

    /// Opens a door that an interrupted caller with the same `token` (hex digits) may have opened before: says how many
    /// bytes are in already, to go on after them. Dropped without `finish`, what came in is kept for a week.
    async fn resume(&self, token: &str, bytes: u64)
    -> Result<(Box<dyn Incoming>, u64), StoreError>;

    /// Takes over a finished local file of ours (a clip just cut), by rename where possible.
    async fn adopt(
        &self,
        file: &Path,
        folder: &str,
        extension: &str,
    ) -> Result<MediaObject, StoreError>;

    /// A local path to read the object at; `None` when the store has no such object.
    async fn local_path(&self, key: &MediaKey) -> Result<Option<PathBuf>, StoreError>;

    /// Forgets an object. Fine when there is none.
    async fn remove(&self, key: &MediaKey) -> Result<(), StoreError>;

    /// A fresh private folder on the store's own disk, for work in progress; emptied at the next start.
    async fn workspace(&self) -> Result<PathBuf, StoreError>;

    /// Bytes free on the store's disk, and its size.
    async fn space(&self) -> Result<(u64, u64), StoreError>;
}
