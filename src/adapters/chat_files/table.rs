//! Reads a table of `seconds, user, text`: tabs as they come, commas or semicolons after RFC 4180.

use super::error::ChatFileError;
use super::source::{Place, Source};
use super::{ChatFormat, ChatLine, Sink};

/// Columns of a table without a header line.
const PLAIN: Columns = Columns { count: 3, time: 0, user: 1, text: 2, id: None };
/// A header of more columns than this is no header.
const COLUMNS_MAX: usize = 64;
/// How much of a wrong time an error repeats, in characters.
const FOUND_CHARS_MAX: usize = 24;

const TIME_NAMES: [&str; 9] = [
    "seconds",
    "second",
    "secondes",
    "time",
    "temps",
    "offset",
    "t",
    "content_offset_seconds",
    "timestamp",
];
const USER_NAMES: [&str; 11] = [
    "user",
    "username",
    "user_name",
    "name",
    "author",
    "pseudo",
    "utilisateur",
    "auteur",
    "login",
    "display_name",
    "commenter",
];
const TEXT_NAMES: [&str; 6] = ["text", "message", "body", "texte", "content", "comment"];
const ID_NAMES: [&str; 3] = ["id", "message_id", "_id"];

/// Reads the table to its end; answers the number of unpacked bytes.
pub(super) fn read(mut source: Source, sink: &mut Sink<'_>) -> Result<u64, ChatFileError> {
    let shape = Shape::of(source.chunk()?);
    sink.report.format = if shape.delimiter == b'\t' { ChatFormat::Tsv } else { ChatFormat::Csv };
    let mut rows = Rows {
        source,
        delimiter: shape.delimiter,
        record_bytes_max: sink.limits.record_bytes_max,
        raw: Vec::new(),
        cells: Vec::new(),
        ends: Vec::new(),
    };
    let mut columns = PLAIN;
    let mut header_read = !shape.header;
    loop {
        let last_column = if header_read { columns.count } else { COLUMNS_MAX };
        let Some(place) = rows.next(last_column)? else { break };
        if rows.is_blank() {
            continue;
        }
        if !header_read {
            header_read = true;
            columns = Columns::named_by(&rows, place)?;
            continue;
        }
        if rows.ends.len() < columns.count {
            return Err(ChatFileError::BadRow {
                line: place.line,
                why: format!("a {} colonnes sur {}", rows.ends.len(), columns.count),
            });
        }
        let time = rows.cell(columns.time, place)?;
        let Some(seconds) = seconds_of(time, rows.delimiter) else {
            let found = time.chars().take(FOUND_CHARS_MAX).collect();
            return Err(sink.bad_offset(found, place));
        };
        let user = rows.cell(columns.user, place)?.trim();
        let id = columns.id.map(|id| rows.cell(id, place)).transpose()?;
        let line = ChatLine {
            offset_ms: 0,
            message_id: id.filter(|id| !id.is_empty()).map(str::to_owned),
            user_id: None,
            login: None,
            display_name: Some(user).filter(|user| !user.is_empty()).map(str::to_owned),
            text: rows.cell(columns.text, place)?.to_owned(),
            trusted: false,
            bits: 0,
        };
        sink.hear(line, seconds, place)?;
    }
    Ok(rows.source.offset())
}

/// What the first line tells.
struct Shape {
    delimiter: u8,
    header: bool,
}

impl Shape {
    fn of(start: &[u8]) -> Self {
        let line = start
            .split(|&byte| byte == b'\n')
            .find(|line| !line.trim_ascii().is_empty())
            .unwrap_or_default();
        let first_is_time = |delimiter: u8| {
            let cell = line.split(|&byte| byte == delimiter).next().unwrap_or_default();
            let cell = std::str::from_utf8(cell).unwrap_or_default().trim().trim_matches('"');
            seconds_of(cell, delimiter).is_some()
        };
        let count = |delimiter: u8| line.split(|&byte| byte == delimiter).count() - 1;
        // A cell may hold the other delimiters, so the one that leaves a time in front wins.
        let known = [b'\t', b';', b','];
        let timed = known.into_iter().find(|&byte| count(byte) >= 2 && first_is_time(byte));
        let delimiter = timed
            .unwrap_or_else(|| known.into_iter().find(|&byte| count(byte) >= 2).unwrap_or(b','));
        Self { delimiter, header: !first_is_time(delimiter) }
    }
}

#[derive(Clone, Copy)]
struct Columns {
    count: usize,
    time: usize,
    user: usize,
    text: usize,
    id: Option<usize>,
}

impl Columns {
    fn named_by(rows: &Rows, place: Place) -> Result<Self, ChatFileError> {
        let mut names = Vec::with_capacity(rows.ends.len());
        for index in 0..rows.ends.len() {
            names.push(rows.cell(index, place)?.trim().to_lowercase());
        }
        let find = |known: &[&str]| {
            known.iter().find_map(|known| names.iter().position(|name| name == known))
        };
        match (find(&TIME_NAMES), find(&USER_NAMES), find(&TEXT_NAMES)) {
            (Some(time), Some(user), Some(text)) => {
                Ok(Self { count: names.len(), time, user, text, id: find(&ID_NAMES) })
            }
            _ => Err(ChatFileError::Unrecognised {
                why: "sa première ligne ne commence pas par un temps et ne nomme pas les colonnes",
            }),
        }
    }
}

/// One row at a time. `raw` is the row as it stands in the file, `cells` the same without quoting.
struct Rows {
    source: Source,
    delimiter: u8,
    record_bytes_max: usize,
    raw: Vec<u8>,
    cells: Vec<u8>,
    /// Where each cell ends in `cells`.
    ends: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    /// At the start of a cell: a quote opens.
    Possible,
    Outside,
    Inside,
    /// After a quote inside quotes: doubled, or the end.
    Closing,
}

impl Rows {
    /// Reads the next row and answers where it starts. Delimiters after `last_column` cells belong
    /// to the text, as chat tables written without quoting have them.
    fn next(&mut self, last_column: usize) -> Result<Option<Place>, ChatFileError> {
        self.raw.clear();
        self.cells.clear();
        self.ends.clear();
        let place = self.source.place();
        let quoting = self.delimiter != b'\t';
        let fresh = if quoting { Quote::Possible } else { Quote::Outside };
        let mut quote = fresh;
        let mut surplus = false;
        loop {
            let Some(byte) = self.source.peek()? else {
                if self.raw.is_empty() {
                    return Ok(None);
                }
                if quote == Quote::Inside {
                    let why = "ouvre un guillemet qui n'est jamais fermé".to_owned();
                    return Err(ChatFileError::BadRow { line: place.line, why });
                }
                break;
            };
            self.source.advance(1);
            if byte == b'\n' {
                self.source.line_ended();
                if quote != Quote::Inside {
                    break;
                }
            }
            if self.raw.len() == self.record_bytes_max {
                let max = self.record_bytes_max;
                return Err(ChatFileError::RecordTooLong { line: place.line, at: place.at, max });
            }
            self.raw.push(byte);
            match (quote, byte) {
                (Quote::Possible, b'"') => quote = Quote::Inside,
                (Quote::Inside, b'"') => quote = Quote::Closing,
                (Quote::Closing, b'"') => {
                    quote = Quote::Inside;
                    self.keep(byte, surplus);
                }
                (Quote::Inside, _) => self.keep(byte, surplus),
                (_, byte) if byte == self.delimiter => {
                    if self.ends.len() + 1 < last_column {
                        self.ends.push(self.cells.len());
                        quote = fresh;
                    } else if quote == Quote::Closing {
                        surplus = true;
                        quote = Quote::Outside;
                    } else {
                        quote = Quote::Outside;
                        self.keep(byte, surplus);
                    }
                }
                _ => {
                    quote = Quote::Outside;
                    self.keep(byte, surplus);
                }
            }
        }
        if self.raw.last() == Some(&b'\r') {
            self.raw.pop();
            if self.cells.last() == Some(&b'\r')
                && self.ends.last().is_none_or(|&end| end < self.cells.len())
            {
                self.cells.pop();
            }
        }
        self.ends.push(self.cells.len());
        if let Err(error) = std::str::from_utf8(&self.raw) {
            let before = &self.raw[..error.valid_up_to()];
            let lines = before.split(|&byte| byte == b'\n').count() as u64 - 1;
            let at = place.at + before.len() as u64;
            return Err(ChatFileError::NotUtf8 { line: place.line + lines, at });
        }
        Ok(Some(place))
    }

    #[inline]
    fn keep(&mut self, byte: u8, surplus: bool) {
        if !surplus {
            self.cells.push(byte);
        }
    }

    fn is_blank(&self) -> bool {
        self.raw.trim_ascii().is_empty()
    }

    fn cell(&self, index: usize, place: Place) -> Result<&str, ChatFileError> {
        let from = if index == 0 { 0 } else { self.ends[index - 1] };
        std::str::from_utf8(&self.cells[from..self.ends[index]])
            .map_err(|_| ChatFileError::NotUtf8 { line: place.line, at: place.at })
    }
}

/// Reads `12`, `12.5`, `12,5` (not between commas), `1:02`, `1:02:03.5`, each with `-` or in
/// `[brackets]`. `NaN` and infinities are numbers here; the sink refuses them.
fn seconds_of(text: &str, delimiter: u8) -> Option<f64> {
    let text = text.trim();
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text),
    };
    let mut parts = text.split(':');
    let (a, b, c) = (parts.next()?, parts.next(), parts.next());
    if parts.next().is_some() {
        return None;
    }
    let whole = |text: &str| text.parse::<u32>().ok().map(f64::from);
    let fraction = |text: &str| {
        if text.starts_with(['+', '-']) {
            return None;
        }
        if delimiter == b',' { text.parse() } else { text.replace(',', ".").parse() }.ok()
    };
    let seconds: f64 = match (b, c) {
        (None, _) => fraction(a)?,
        (Some(seconds), None) => whole(a)? * 60.0 + fraction(seconds)?,
        (Some(minutes), Some(seconds)) => {
            whole(a)? * 3600.0 + whole(minutes)? * 60.0 + fraction(seconds)?
        }
    };
    Some(sign * seconds)
}
