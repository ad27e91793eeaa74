//! Where notices wait on disk while the database is away.

use async_trait::async_trait;

use crate::domain::audience::notice::Notice;
use crate::ports::PortError;

/// Most bytes a spool holds: 4 GiB, six hours of 600 messages a second with what surrounds their text trimmed to 300 bytes, an
/// hour and a half as they come.
pub const SPOOL_BYTES_MAX: u64 = 4 << 30;

/// Why a spool took nothing.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("the spool is full: {held} bytes of {SPOOL_BYTES_MAX}")]
    Full { held: u64 },
    #[error(transparent)]
    Port(#[from] PortError),
}

/// A place in a spool: everything before it can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub segment: u64,
    pub offset: u64,
}

/// What is read from a spool at once.
#[derive(Debug, Default, PartialEq)]
pub struct Held {
    pub notices: Vec<Notice>,
    /// Hand it to [`Spool::done`] once the notices are stored elsewhere.
    pub mark: Option<Mark>,
}

/// An append-only queue of notices on disk, in order, shared by the processes of one data folder.
#[async_trait]
pub trait Spool: Send + Sync {
    /// Adds notices; they are on the disk when this returns.
    async fn put(&self, notices: Vec<Notice>) -> Result<(), SpoolError>;

    /// The oldest notices that are not done, about `limit` of them. Read again after a crash, they may come twice.
    async fn oldest(&self, limit: usize) -> Result<Held, PortError>;

    /// Lets everything before the mark go.
    async fn done(&self, mark: Mark) -> Result<(), PortError>;

    /// Whether nothing waits.
    async fn is_empty(&self) -> Result<bool, PortError>;

    /// Removes every notice that names a viewer; says how many.
    async fn erase_viewer(&self, viewer_id: &str) -> Result<u64, PortError>;
}
