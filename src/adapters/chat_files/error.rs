//! What can be wrong with a chat file; each sentence says what to do about it.

use std::io;

/// Why a chat file was refused. `at` is a byte offset into the unpacked file, lines and columns
/// count from 1, columns in bytes.
#[derive(Debug, thiserror::Error)]
pub enum ChatFileError {
    /// The file system said no: absent, a folder, no right to read, a disk that went away.
    #[error("cannot read the chat file: check that it exists and that it may be read")]
    Unreadable {
        #[source]
        source: io::Error,
    },
    /// The compressed stream stops before its end mark.
    #[error(
        "the gzip chat file ends too early (after {at} unpacked bytes): copy or download it again"
    )]
    GzipTruncated { at: u64 },
    /// The compressed stream is damaged.
    #[error("the gzip chat file is damaged after {at} unpacked bytes: copy or download it again")]
    GzipDamaged {
        at: u64,
        #[source]
        source: io::Error,
    },
    /// More bytes than `ChatFileLimits::unpacked_bytes_max`.
    #[error(
        "the chat file unpacks to more than {max} bytes: export the chat again without embedded \
         images, or split it"
    )]
    TooLarge { max: u64 },
    /// More messages than `ChatFileLimits::messages_max`.
    #[error("the chat file holds more than {max} messages: split the stream into several imports")]
    TooManyMessages { max: u64 },
    /// One message or line longer than `ChatFileLimits::record_bytes_max`.
    #[error(
        "line {line} (byte {at}) starts a message longer than {max} bytes: this is no chat \
         message, check that the file is a chat export"
    )]
    RecordTooLong { line: u64, at: u64, max: usize },
    /// Bytes that are not UTF-8.
    #[error("byte {at} (line {line}) is not UTF-8 text: save or export the chat again as UTF-8")]
    NotUtf8 { line: u64, at: u64 },
    /// JSON that does not parse, a cut file for example.
    #[error(
        "broken JSON at line {line}, column {column} (byte {at}), {why}: export the chat again, \
         the file may be cut"
    )]
    BrokenJson { line: u64, column: u64, at: u64, why: String },
    /// Well-formed JSON in the list of messages that is no message.
    #[error(
        "the entry at line {line}, column {column} (byte {at}) is no chat message, {why}: export \
         the chat with TwitchDownloader as JSON"
    )]
    NotAMessage { line: u64, column: u64, at: u64, why: String },
    /// A table row that is not `seconds, user, text`.
    #[error("line {line} of the chat table {why}: each line must hold seconds, user and text")]
    BadRow { line: u64, why: String },
    /// A time that is no time, or lies beyond `ChatFileLimits::offset_ms_max`.
    #[error(
        "line {line} (byte {at}): `{found}` is no usable time since the start of the stream: \
         write seconds (12.5) or hh:mm:ss, at most {max_hours} hours"
    )]
    BadOffset { line: u64, at: u64, found: String, max_hours: i64 },
    /// No format that is known here.
    #[error(
        "this is no chat file ({why}): give a TwitchDownloader JSON export, a Twitch comment list \
         (JSON), or a TSV/CSV table with seconds, user and text; each may be gzipped"
    )]
    Unrecognised { why: &'static str },
    /// A known format without one usable message.
    #[error(
        "the chat file holds no message to use ({before_start} before the start, {without_text} \
         without text): check that the chat was downloaded for this stream"
    )]
    Empty { before_start: u64, without_text: u64 },
    /// The caller's closure answered `Break`.
    #[error("reading the chat file was stopped")]
    Stopped,
}
