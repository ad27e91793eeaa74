//! Walks a JSON export as a stream: messages are parsed one by one, all else (embedded images of
//! hundreds of megabytes too) is passed over without being kept.

use super::comment::{Comment, Read};
use super::error::ChatFileError;
use super::source::{Place, Source};
use super::{ChatFormat, ExportedVideo, Sink};

/// Nesting beyond this is an attack, not a chat.
const NESTING_MAX: usize = 96;

/// Reads every JSON value of the file (pages of an API may simply follow one another); answers the
/// number of unpacked bytes.
pub(super) fn read(source: Source, sink: &mut Sink<'_>) -> Result<u64, ChatFileError> {
    let mut walk =
        Walk { source, sink, tape: Vec::new(), taping: None, found_list: false, exported: false };
    while let Some(byte) = walk.next_byte()? {
        match byte {
            b'{' => {
                walk.pass();
                walk.members(Holder::Root, None, 0)?;
            }
            b'[' => {
                walk.pass();
                walk.records(true)?;
            }
            _ => return Err(walk.broken("expected `{` or `[`")),
        }
    }
    if walk.exported && walk.found_list {
        walk.sink.report.format = ChatFormat::TwitchDownloader;
    }
    if !walk.found_list {
        return Err(ChatFileError::Unrecognised { why: "JSON without a list of comments" });
    }
    Ok(walk.source.offset())
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
    source: Source,
    sink: &'a mut Sink<'b>,
    /// The bytes of the value being kept, and where it began.
    tape: Vec<u8>,
    taping: Option<Place>,
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
            return Err(self.broken("nested too deeply"));
        }
        let mut first = first_key.is_none();
        loop {
            let key = if let Some(key) = first_key.take() {
                key
            } else {
                match self.next_byte()? {
                    Some(b'}') if first => {
                        self.pass();
                        return Ok(());
                    }
                    Some(b'"') => self.keep_value()?.0,
                    _ => return Err(self.broken("expected a name in quotes")),
                }
            };
            first = false;
            self.expect(b':', "expected `:`")?;
            self.member(holder, &key, depth)?;
            match self.next_byte()? {
                Some(b',') => self.pass(),
                Some(b'}') => {
                    self.pass();
                    return Ok(());
                }
                _ => return Err(self.broken("expected `,` or `}`")),
            }
        }
    }

    fn member(&mut self, holder: Holder, key: &[u8], depth: usize) -> Result<(), ChatFileError> {
        let opening = self.next_byte()?;
        let name = key.strip_prefix(b"\"").and_then(|key| key.strip_suffix(b"\""));
        match (name.unwrap_or_default(), opening) {
            (b"comments" | b"edges", Some(b'[')) => {
                self.pass();
                self.records(false)
            }
            (b"comments" | b"data", Some(b'{')) => {
                self.pass();
                self.members(Holder::Other, None, depth + 1)
            }
            (b"video", Some(b'{')) => {
                self.exported |= holder == Holder::Root;
                self.pass();
                let holder = if holder == Holder::Root { Holder::Video } else { Holder::Other };
                self.members(holder, None, depth + 1)
            }
            (b"streamer", Some(b'{')) if holder == Holder::Root => {
                self.exported = true;
                self.pass();
                self.members(Holder::Streamer, None, depth + 1)
            }
            (
                name @ (b"id" | b"title" | b"created_at" | b"start" | b"end" | b"length" | b"name"),
                Some(b'"' | b'0'..=b'9'),
            ) if matches!(holder, Holder::Video | Holder::Streamer) => {
                let name = name.to_vec();
                let (value, _) = self.keep_value()?;
                note(self.sink.report.video.get_or_insert_default(), holder, &name, &value);
                Ok(())
            }
            _ => self.skip_value(),
        }
    }

    /// Reads a list of messages up to its `]`. In a bare list an element may also be a whole page
    /// of an API's answer: its first name tells.
    fn records(&mut self, bare: bool) -> Result<(), ChatFileError> {
        self.found_list |= !bare;
        if self.next_byte()? == Some(b']') {
            self.pass();
            self.found_list = true;
            return Ok(());
        }
        loop {
            match self.next_byte()? {
                None => return Err(self.broken("the list of comments has no end")),
                Some(b'{') if bare => self.page_or_record()?,
                Some(_) => {
                    let (record, place) = self.keep_value()?;
                    self.record(&record, place)?;
                    self.tape = record;
                }
            }
            match self.next_byte()? {
                Some(b',') => self.pass(),
                Some(b']') => {
                    self.pass();
                    return Ok(());
                }
                None => return Err(self.broken("the list of comments has no end")),
                Some(_) => return Err(self.broken("expected `,` or `]`")),
            }
        }
    }

    fn page_or_record(&mut self) -> Result<(), ChatFileError> {
        let place = self.source.place();
        self.start_tape(place);
        self.take(1)?;
        if self.next_byte()? == Some(b'"') {
            let from = self.tape.len();
            self.skip_value()?;
            let key = self.tape[from..].to_vec();
            if matches!(&key[..], b"\"data\"" | b"\"comments\"" | b"\"video\"" | b"\"errors\"") {
                self.taping = None;
                return self.members(Holder::Other, Some(key), 1);
            }
        }
        self.skip_nested(1, 1)?;
        self.taping = None;
        self.found_list = true;
        let record = std::mem::take(&mut self.tape);
        self.record(&record, place)?;
        self.tape = record;
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
            Err(error) => return Err(not_parsed(&error, bytes, place)),
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

    /// Reads one value whole, up to the record limit.
    fn keep_value(&mut self) -> Result<(Vec<u8>, Place), ChatFileError> {
        let place = self.source.place();
        self.start_tape(place);
        self.skip_value()?;
        self.taping = None;
        Ok((std::mem::take(&mut self.tape), place))
    }

    fn start_tape(&mut self, place: Place) {
        self.tape.clear();
        self.taping = Some(place);
    }

    /// Passes over one value; the tape, if it runs, keeps it.
    fn skip_value(&mut self) -> Result<(), ChatFileError> {
        match self.next_byte()? {
            Some(b'"') => self.skip_string(),
            Some(b'{') => {
                self.take(1)?;
                self.skip_nested(1, 1)
            }
            Some(b'[') => {
                self.take(1)?;
                self.skip_nested(1, 0)
            }
            Some(byte) if is_scalar(byte) => self.skip_scalar(),
            Some(_) => Err(self.broken("expected a value")),
            None => Err(self.broken("the file ends where a value is expected")),
        }
    }

    /// Passes over what is left of `depth` open brackets; bit n of `objects` tells whether
    /// bracket n (innermost is bit 0) is a brace.
    fn skip_nested(&mut self, mut depth: usize, mut objects: u128) -> Result<(), ChatFileError> {
        while depth > 0 {
            let Some(byte) = self.next_byte()? else {
                return Err(self.broken("the file ends inside a value"));
            };
            match byte {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    if depth > NESTING_MAX {
                        return Err(self.broken("nested too deeply"));
                    }
                    objects = objects << 1 | u128::from(byte == b'{');
                    depth += 1;
                    self.take(1)?;
                }
                b'}' | b']' => {
                    if (objects & 1 == 1) != (byte == b'}') {
                        return Err(self.broken("a bracket closes another kind of bracket"));
                    }
                    objects >>= 1;
                    depth -= 1;
                    self.take(1)?;
                }
                b',' | b':' => self.take(1)?,
                byte if is_scalar(byte) => self.skip_scalar()?,
                _ => return Err(self.broken("unexpected byte")),
            }
        }
        Ok(())
    }

    fn skip_scalar(&mut self) -> Result<(), ChatFileError> {
        loop {
            let chunk = self.source.chunk()?;
            let whole = chunk.len();
            let count = chunk.iter().position(|&byte| !is_scalar(byte)).unwrap_or(whole);
            self.take(count)?;
            if count < whole || whole == 0 {
                return Ok(());
            }
        }
    }

    fn skip_string(&mut self) -> Result<(), ChatFileError> {
        self.take(1)?;
        loop {
            let chunk = self.source.chunk()?;
            let Some(stop) = chunk.iter().position(|&byte| ENDS_PLAIN_TEXT[byte as usize]) else {
                let count = chunk.len();
                if count == 0 {
                    return Err(self.broken("the file ends inside a text"));
                }
                self.take(count)?;
                continue;
            };
            let byte = chunk[stop];
            match byte {
                b'"' => return self.take(stop + 1),
                b'\\' => {
                    self.take(stop + 1)?;
                    if self.source.peek()?.is_none() {
                        return Err(self.broken("the file ends inside a text"));
                    }
                    self.take(1)?;
                }
                _ => {
                    self.take(stop)?;
                    return Err(self.broken("a text holds a raw control character"));
                }
            }
        }
    }

    /// Moves over bytes of the present chunk, onto the tape if it runs.
    #[inline]
    fn take(&mut self, count: usize) -> Result<(), ChatFileError> {
        if let Some(start) = self.taping {
            let max = self.sink.limits.record_bytes_max;
            if self.tape.len() + count > max {
                return Err(ChatFileError::RecordTooLong { line: start.line, at: start.at, max });
            }
            let chunk = self.source.chunk()?;
            self.tape.extend_from_slice(&chunk[..count]);
        }
        self.source.advance(count);
        Ok(())
    }

    /// Moves over one byte of structure that is never kept.
    fn pass(&mut self) {
        self.source.advance(1);
    }

    /// The next byte that is no white space, left unread.
    #[inline]
    fn next_byte(&mut self) -> Result<Option<u8>, ChatFileError> {
        loop {
            match self.source.peek()? {
                Some(b'\n') => {
                    self.take(1)?;
                    self.source.line_ended();
                }
                Some(b' ' | b'\t' | b'\r') => self.take(1)?,
                other => return Ok(other),
            }
        }
    }

    fn expect(&mut self, byte: u8, why: &'static str) -> Result<(), ChatFileError> {
        if self.next_byte()? != Some(byte) {
            return Err(self.broken(why));
        }
        self.pass();
        Ok(())
    }

    fn broken(&self, why: &'static str) -> ChatFileError {
        let Place { at, line, column } = self.source.place();
        ChatFileError::BrokenJson { line, column, at, why: why.to_owned() }
    }
}

const fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

/// The bytes a JSON text cannot hold as they are: quote, backslash, control characters.
const ENDS_PLAIN_TEXT: [bool; 256] = {
    let mut ends = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        ends[byte] = true;
        byte += 1;
    }
    ends[b'"' as usize] = true;
    ends[b'\\' as usize] = true;
    ends
};

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
    let lines = before.iter().filter(|&&byte| byte == b'\n').count() as u64;
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
