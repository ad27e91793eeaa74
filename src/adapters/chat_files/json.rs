//! Walks a JSON export as a stream: messages are parsed one by one, all else (embedded images of
//! hundreds of megabytes too) is passed over without being kept.

use super::comment::{Comment, Read, without_half_emojis};
use super::error::ChatFileError;
use super::scan::{NESTING_MAX, Scan};
use super::source::{Place, Source};
use super::{ChatFormat, ExportedVideo, Sink};

/// Reads every JSON value of the file (pages of an API may simply follow one another); answers the
/// number of unpacked bytes.
pub(super) fn read(source: Source, sink: &mut Sink<'_>) -> Result<u64, ChatFileError> {
    let scan = Scan::new(source, sink.limits.record_bytes_max);
    let mut walk = Walk { scan, sink, found_list: false, exported: false };
    while let Some(byte) = walk.scan.next_byte()? {
        match byte {
            b'{' => {
                walk.scan.pass();
                walk.members(Holder::Root, None, 0)?;
            }
            b'[' => {
                walk.scan.pass();
                walk.records(true)?;
            }
            _ => return Err(walk.scan.broken("expected `{` or `[`")),
        }
    }
    if walk.exported && walk.found_list {
        walk.sink.report.format = ChatFormat::TwitchDownloader;
    }
    if !walk.found_list {
        return Err(ChatFileError::Unrecognised { why: "JSON sans liste de commentaires" });
    }
    Ok(walk.scan.source.offset())
}

/// Which object the members being read belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    Root,
    Video,
    Streamer,
    Other,
}

struct Walk<'a, 'b> {
    scan: Scan,
    sink: &'a mut Sink<'b>,
    found_list: bool,
    /// TwitchDownloader's own members were seen beside the comments.
    exported: bool,
}

impl Walk<'_, '_> {
    /// Reads the members of an object up to its `}`; the `{` (and `first_key`, if given) are read.
    fn members(
        &mut self,
        holder: Holder,
        mut first_key: Option<Vec<u8>>,
        depth: usize,
    ) -> Result<(), ChatFileError> {
        if depth > NESTING_MAX {
            return Err(self.scan.broken("nested too deeply"));
        }
        let mut first = first_key.is_none();
        loop {
            let key = if let Some(key) = first_key.take() {
                key
            } else {
                match self.scan.next_byte()? {
                    Some(b'}') if first => {
                        self.scan.pass();
                        return Ok(());
                    }
                    Some(b'"') => self.scan.keep_value()?.0,
                    _ => return Err(self.scan.broken("expected a name in quotes")),
                }
            };
            first = false;
            self.scan.expect(b':', "« : » attendu")?;
            self.member(holder, &key, depth)?;
            match self.scan.next_byte()? {
                Some(b',') => self.scan.pass(),
                Some(b'}') => {
                    self.scan.pass();
                    return Ok(());
                }
                _ => return Err(self.scan.broken("expected `,` or `}`")),
            }
        }
    }

    fn member(&mut self, holder: Holder, key: &[u8], depth: usize) -> Result<(), ChatFileError> {
        let opening = self.scan.next_byte()?;
        let name = key.strip_prefix(b"\"").and_then(|key| key.strip_suffix(b"\""));
        match (name.unwrap_or_default(), opening) {
            (b"comments" | b"edges", Some(b'[')) => {
                self.scan.pass();
                self.records(false)
            }
            (b"comments" | b"data", Some(b'{')) => {
                self.scan.pass();
                self.members(Holder::Other, None, depth + 1)
            }
            (b"video", Some(b'{')) => {
                self.exported |= holder == Holder::Root;
                self.scan.pass();
                let holder = if holder == Holder::Root { Holder::Video } else { Holder::Other };
                self.members(holder, None, depth + 1)
            }
            (b"streamer", Some(b'{')) if holder == Holder::Root => {
                self.exported = true;
                self.scan.pass();
                self.members(Holder::Streamer, None, depth + 1)
            }
            (
                name @ (b"id" | b"title" | b"created_at" | b"start" | b"end" | b"length" | b"name"),
                Some(b'"' | b'0'..=b'9'),
            ) if matches!(holder, Holder::Video | Holder::Streamer) => {
                let name = name.to_vec();
                let (value, _) = self.scan.keep_value()?;
                note(self.sink.report.video.get_or_insert_default(), holder, &name, &value);
                Ok(())
            }
            _ => self.scan.skip_value(),
        }
    }

    /// Reads a list of messages up to its `]`. In a bare list an element may also be a whole page
    /// of an API's answer: its first name tells.
    fn records(&mut self, bare: bool) -> Result<(), ChatFileError> {
        self.found_list |= !bare;
        if self.scan.next_byte()? == Some(b']') {
            self.scan.pass();
            self.found_list = true;
            return Ok(());
        }
        loop {
            match self.scan.next_byte()? {
                None => return Err(self.scan.broken("the list of comments has no end")),
                Some(b'{') if bare => self.page_or_record()?,
                Some(_) => {
                    let (record, place) = self.scan.keep_value()?;
                    self.record(&record, place)?;
                    self.scan.tape = record;
                }
            }
            match self.scan.next_byte()? {
                Some(b',') => self.scan.pass(),
                Some(b']') => {
                    self.scan.pass();
                    return Ok(());
                }
                None => return Err(self.scan.broken("the list of comments has no end")),
                Some(_) => return Err(self.scan.broken("expected `,` or `]`")),
            }
        }
    }

    fn page_or_record(&mut self) -> Result<(), ChatFileError> {
        let place = self.scan.source.place();
        self.scan.start_tape(place);
        self.scan.take(1)?;
        if self.scan.next_byte()? == Some(b'"') {
            let from = self.scan.tape.len();
            self.scan.skip_value()?;
            let key = self.scan.tape[from..].to_vec();
            if matches!(&key[..], b"\"data\"" | b"\"comments\"" | b"\"video\"" | b"\"errors\"") {
                self.scan.end_tape();
                return self.members(Holder::Other, Some(key), 1);
            }
        }
        self.scan.skip_nested(1, 1)?;
        self.found_list = true;
        let record = self.scan.end_tape();
        self.record(&record, place)?;
        self.scan.tape = record;
        Ok(())
    }

    fn record(&mut self, bytes: &[u8], place: Place) -> Result<(), ChatFileError> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let at = place_in(bytes, error.valid_up_to(), place);
            ChatFileError::NotUtf8 { line: at.line, at: at.at }
        })?;
        let comment = match serde_json::from_str::<Option<Comment>>(text) {
            Ok(Some(comment)) => comment,
            Ok(None) => return Ok(()),
            // A message cut in the middle of an emoji is no reason to refuse a stream.
            Err(error) => match serde_json::from_str(&without_half_emojis(text)) {
                Ok(comment) => comment,
                Err(_) => return Err(not_parsed(&error, bytes, place)),
            },
        };
        match comment.into_line() {
            Read::Line { line, seconds, format } => {
                self.sink.report.format = format;
                self.sink.hear(line, seconds, place)
            }
            Read::Nothing { why } => Err(ChatFileError::NotAMessage {
                line: place.line,
                column: place.column,
                at: place.at,
                why: why.to_owned(),
            }),
        }
    }
}

/// Keeps what an export says of its video; a value of an unexpected kind says nothing.
fn note(video: &mut ExportedVideo, holder: Holder, name: &[u8], value: &[u8]) {
    let text = || {
        serde_json::from_slice::<String>(value)
            .ok()
            .or_else(|| String::from_utf8(value.to_vec()).ok().filter(|text| !text.is_empty()))
    };
    let milliseconds = || {
        let seconds = serde_json::from_slice::<f64>(value).ok()?;
        (0.0..1e9).contains(&seconds).then(|| (seconds * 1000.0).round() as i64)
    };
    match (holder, name) {
        (Holder::Streamer, b"name") => video.streamer = text(),
        (Holder::Video, b"id") => video.id = text(),
        (Holder::Video, b"title") => video.title = text(),
        (Holder::Video, b"created_at") => video.created_at = text(),
        (Holder::Video, b"start") => video.start_ms = milliseconds(),
        (Holder::Video, b"end") => video.end_ms = milliseconds(),
        (Holder::Video, b"length") => video.length_ms = milliseconds(),
        _ => {}
    }
}

/// Where byte `index` of a kept value stands in the file.
fn place_in(bytes: &[u8], index: usize, start: Place) -> Place {
    let before = &bytes[..index.min(bytes.len())];
    let lines = before.split(|&byte| byte == b'\n').count() as u64 - 1;
    let column = match before.iter().rposition(|&byte| byte == b'\n') {
        Some(newline) => (index - newline) as u64,
        None => start.column + index as u64,
    };
    Place { at: start.at + index as u64, line: start.line + lines, column }
}

fn not_parsed(error: &serde_json::Error, bytes: &[u8], start: Place) -> ChatFileError {
    let mut line_start = 0;
    for _ in 1..error.line() {
        let rest = &bytes[line_start..];
        line_start += rest.iter().position(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    }
    let Place { at, line, column } =
        place_in(bytes, line_start + error.column().saturating_sub(1), start);
    // serde_json ends its sentence with the place inside the message, which is not the file's.
    let why = error.to_string();
    let why = why.split(" at line ").next().unwrap_or_default().to_owned();
    if error.classify() == serde_json::error::Category::Data {
        ChatFileError::NotAMessage { line, column, at, why }
    } else {
        ChatFileError::BrokenJson { line, column, at, why }
    }
}
