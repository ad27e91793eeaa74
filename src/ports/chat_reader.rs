//! Reading the chat of a past stream out of an exported file.

use std::path::Path;

use chrono::{DateTime, Utc};

/// One message of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatLine {
    /// Milliseconds from the start of the stream, never negative.
    pub offset_ms: i64,
    /// The platform's id; tables have none.
    pub message_id: Option<String>,
    /// Absent for deleted accounts and in tables.
    pub user_id: Option<String>,
    pub login: Option<String>,
    pub display_name: Option<String>,
    /// Never empty, without NUL characters (PostgreSQL takes none).
    pub text: String,
    /// The creator or a moderator wrote it.
    pub trusted: bool,
    /// Bits cheered with the message.
    pub bits: u32,
}

/// A whole export.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChatLog {
    /// In the order of the file.
    pub lines: Vec<ChatLine>,
    /// The format it was recognised as, for people.
    pub format: &'static str,
    /// When the stream began, if the export says so.
    pub started_at: Option<DateTime<Utc>>,
    /// The stream's title, if the export says so.
    pub title: Option<String>,
}

/// Why a chat file was refused: French, for people, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ChatRefusal(pub String);

/// Reads exports. Blocking: call it where blocking is allowed.
pub trait ChatReader: Send + Sync {
    /// Reads a whole file, recognised by its content.
    fn read(&self, file: &Path) -> Result<ChatLog, ChatRefusal>;
}
