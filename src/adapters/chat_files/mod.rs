//! Reads the chat of a past stream from a file, whatever common export wrote it.
//!
//! The format is told by the content, never by the name. Memory is bounded by `ChatFileLimits`
//! whatever the size of the file: one message at a time, plus eight bytes per message id.

mod comment;
mod error;
mod json;
mod scan;
mod source;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::path::Path;

use chrono::{DateTime, Utc};

use crate::ports::chat_reader::{ChatLine, ChatLog, ChatReader, ChatRefusal};

pub use error::ChatFileError;

use source::{Place, Source};

/// Longest message of a JSON export with all its fields, or longest line of a table, in bytes.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Largest file, unpacked, in bytes.
pub const UNPACKED_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Most messages of one file.
pub const MESSAGES_MAX: u64 = 2_000_000;
/// Latest message, in milliseconds from the start: Twitch ends a stream after 48 hours.
pub const OFFSET_MS_MAX: i64 = 72 * 3_600_000;

/// What a chat file may ask of the machine.
#[derive(Debug, Clone, Copy)]
pub struct ChatFileLimits {
    pub record_bytes_max: usize,
    pub unpacked_bytes_max: u64,
    pub messages_max: u64,
    pub offset_ms_max: i64,
}

impl Default for ChatFileLimits {
    fn default() -> Self {
        Self {
            record_bytes_max: RECORD_BYTES_MAX,
            unpacked_bytes_max: UNPACKED_BYTES_MAX,
            messages_max: MESSAGES_MAX,
            offset_ms_max: OFFSET_MS_MAX,
        }
    }
}

/// The chat files of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChatFiles;

impl ChatReader for ChatFiles {
    fn read(&self, file: &Path) -> Result<ChatLog, ChatRefusal> {
        let mut lines = Vec::new();
        let report = read_chat(file, ChatFileLimits::default(), &mut |line| {
            lines.push(line);
            ControlFlow::Continue(())
        })
        .map_err(|error| ChatRefusal(error.to_string()))?;
        let video = report.video.unwrap_or_default();
        let started_at = video
            .created_at
            .and_then(|text| DateTime::parse_from_rfc3339(&text).ok())
            .map(|at| at.with_timezone(&Utc));
        Ok(ChatLog {
            lines,
            format: report.format.name(),
            started_at,
            title: video.title.map(|title| title.replace('\0', "\u{fffd}")),
        })
    }
}

/// The shape a chat file turned out to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatFormat {
    TwitchDownloader,
    /// Comments as the API v5 gave them, in pages or as a bare list.
    TwitchComments,
    /// `VideoCommentsByOffsetOrCursor` answers.
    TwitchGraphql,
    /// `seconds, user, text` with tabs.
    Tsv,
    /// `seconds, user, text` with commas or semicolons.
    Csv,
}

impl ChatFormat {
    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TwitchDownloader => "TwitchDownloader",
            Self::TwitchComments => "Twitch comments",
            Self::TwitchGraphql => "Twitch comments (GraphQL)",
            Self::Tsv => "TSV",
            Self::Csv => "CSV",
        }
    }
}

/// What a TwitchDownloader export says of the video the chat belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportedVideo {
    pub id: Option<String>,
    pub title: Option<String>,
    pub streamer: Option<String>,
    /// RFC 3339, as written in the file.
    pub created_at: Option<String>,
    /// The export was trimmed to `start_ms..end_ms`; offsets still count from the stream's start.
    pub start_ms: Option<i64>,
    pub end_ms: Option<i64>,
    pub length_ms: Option<i64>,
}

/// What was read, and what was left out and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatFileReport {
    pub format: ChatFormat,
    pub gzipped: bool,
    /// Messages handed over.
    pub messages: u64,
    /// Messages left out because their id was seen before.
    pub duplicates: u64,
    /// Messages handed over that are earlier than one before them: sort when this is not 0.
    pub out_of_order: u64,
    /// Messages left out because their offset is negative.
    pub before_start: u64,
    /// Messages left out because they hold no text.
    pub without_text: u64,
    /// Earliest and latest offset handed over, in milliseconds.
    pub first_ms: i64,
    pub last_ms: i64,
    pub unpacked_bytes: u64,
    pub video: Option<ExportedVideo>,
}

/// Reads the chat file at `path` and hands each message to `on_message` in the order of the file;
/// `ControlFlow::Break` stops with `ChatFileError::Stopped`.
///
/// Messages handed over before an error stay handed over: keep them aside until this returns.
pub fn read_chat(
    path: &Path,
    limits: ChatFileLimits,
    on_message: &mut dyn FnMut(ChatLine) -> ControlFlow<()>,
) -> Result<ChatFileReport, ChatFileError> {
    let mut source = Source::open(path, limits.unpacked_bytes_max)?;
    let kind = recognise(source.chunk()?)?;
    let mut sink = Sink::new(limits, source.gzipped(), on_message);
    sink.report.unpacked_bytes = match kind {
        Kind::Json => json::read(source, &mut sink)?,
        Kind::Table => table::read(source, &mut sink)?,
    };
    sink.finish()
}

enum Kind {
    Json,
    Table,
}

/// Tells JSON from a table by the first bytes of the unpacked file.
fn recognise(start: &[u8]) -> Result<Kind, ChatFileError> {
    let mut shown = start.iter().copied().filter(|byte| !byte.is_ascii_whitespace());
    match (shown.next(), shown.next()) {
        (None, _) => Err(ChatFileError::Empty { before_start: 0, without_text: 0 }),
        (Some(b'['), Some(b'0'..=b'9')) => Err(ChatFileError::Unrecognised {
            why: "une transcription en texte : exportez plutôt en JSON",
        }),
        (Some(b'{' | b'['), _) => Ok(Kind::Json),
        (Some(b'P'), Some(b'K')) if start.get(2..4) == Some(&[3, 4]) => {
            Err(ChatFileError::Unrecognised { why: "une archive ZIP : décompressez-la d'abord" })
        }
        // UTF-16 has NULs too; its byte order mark is named by the UTF-8 check.
        _ if start.contains(&0) && !matches!(start, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) => {
            Err(ChatFileError::Unrecognised { why: "ses octets ne sont pas du texte" })
        }
        _ => Ok(Kind::Table),
    }
}

/// Where every format delivers its messages: one place for the rules they share.
struct Sink<'a> {
    limits: ChatFileLimits,
    on_message: &'a mut dyn FnMut(ChatLine) -> ControlFlow<()>,
    /// 64 bits of each id: two of two million ids collide with probability 1e-7.
    seen: HashSet<u64>,
    hasher: RandomState,
    report: ChatFileReport,
}

impl<'a> Sink<'a> {
    fn new(
        limits: ChatFileLimits,
        gzipped: bool,
        on_message: &'a mut dyn FnMut(ChatLine) -> ControlFlow<()>,
    ) -> Self {
        let report = ChatFileReport {
            format: ChatFormat::TwitchComments,
            gzipped,
            messages: 0,
            duplicates: 0,
            out_of_order: 0,
            before_start: 0,
            without_text: 0,
            first_ms: i64::MAX,
            last_ms: i64::MIN,
            unpacked_bytes: 0,
            video: None,
        };
        Self { limits, on_message, seen: HashSet::new(), hasher: RandomState::new(), report }
    }

    /// Takes one message whose `offset_ms` is still to be made from `seconds`.
    fn hear(
        &mut self,
        mut line: ChatLine,
        seconds: f64,
        place: Place,
    ) -> Result<(), ChatFileError> {
        if !seconds.is_finite() || seconds * 1000.0 > self.limits.offset_ms_max as f64 {
            return Err(self.bad_offset(seconds.to_string(), place));
        }
        let heard = self.report.messages + self.report.before_start + self.report.without_text;
        if heard == self.limits.messages_max {
            return Err(ChatFileError::TooManyMessages { max: self.limits.messages_max });
        }
        if let Some(id) = &line.message_id
            && !self.seen.insert(self.hasher.hash_one(id))
        {
            self.report.duplicates += 1;
            return Ok(());
        }
        if seconds < 0.0 {
            self.report.before_start += 1;
            return Ok(());
        }
        for field in
            [&mut line.message_id, &mut line.user_id, &mut line.login, &mut line.display_name]
                .into_iter()
                .flatten()
                .chain([&mut line.text])
                .filter(|field| field.contains('\0'))
        {
            *field = field.replace('\0', "\u{fffd}");
        }
        if line.text.trim().is_empty() {
            self.report.without_text += 1;
            return Ok(());
        }
        line.offset_ms = (seconds * 1000.0).round() as i64;
        self.report.messages += 1;
        if line.offset_ms < self.report.last_ms {
            self.report.out_of_order += 1;
        }
        self.report.first_ms = self.report.first_ms.min(line.offset_ms);
        self.report.last_ms = self.report.last_ms.max(line.offset_ms);
        match (self.on_message)(line) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ChatFileError::Stopped),
        }
    }

    fn bad_offset(&self, found: String, place: Place) -> ChatFileError {
        let max_hours = self.limits.offset_ms_max / 3_600_000;
        ChatFileError::BadOffset { line: place.line, at: place.at, found, max_hours }
    }

    fn finish(self) -> Result<ChatFileReport, ChatFileError> {
        let report = self.report;
        if report.messages == 0 {
            let ChatFileReport { before_start, without_text, .. } = report;
            return Err(ChatFileError::Empty { before_start, without_text });
        }
        Ok(report)
    }
}
