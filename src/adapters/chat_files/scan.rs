//! The grammar of JSON as far as passing over it needs it: one look at each byte, nothing kept
//! but the value the tape is running for.

use super::error::ChatFileError;
use super::source::{Place, Source};

/// Nesting beyond this is an attack, not a chat.
pub(super) const NESTING_MAX: usize = 96;

/// A place in a JSON file.
pub(super) struct Scan {
    pub(super) source: Source,
    record_bytes_max: usize,
    /// The bytes of the value being kept, and where it began.
    pub(super) tape: Vec<u8>,
    taping: Option<Place>,
}

impl Scan {
    pub(super) fn new(source: Source, record_bytes_max: usize) -> Self {
        Self { source, record_bytes_max, tape: Vec::new(), taping: None }
    }

    /// Reads one value whole, up to the record limit.
    pub(super) fn keep_value(&mut self) -> Result<(Vec<u8>, Place), ChatFileError> {
        let place = self.source.place();
        self.start_tape(place);
        self.skip_value()?;
        Ok((self.end_tape(), place))
    }

    pub(super) fn start_tape(&mut self, place: Place) {
        self.tape.clear();
        self.taping = Some(place);
    }

    /// Passes over one value; the tape, if it runs, keeps it.
    pub(super) fn skip_value(&mut self) -> Result<(), ChatFileError> {
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
            Some(_) => Err(self.broken("une valeur manque")),
            None => Err(self.broken("le fichier s'arrête là où une valeur est attendue")),
        }
    }

    /// Passes over what is left of `depth` open brackets; bit n of `objects` tells whether
    /// bracket n (innermost is bit 0) is a brace. Goes over the bytes at hand in one sweep: this
    /// is where a large file spends its time.
    pub(super) fn skip_nested(
        &mut self,
        mut depth: usize,
        mut objects: u128,
    ) -> Result<(), ChatFileError> {
        while depth > 0 {
            let chunk = self.source.chunk()?;
            if chunk.is_empty() {
                return Err(self.broken("le fichier s'arrête au milieu d'une valeur"));
            }
            let mut swept = 0;
            let mut stop = None;
            while let Some(&byte) = chunk.get(swept) {
                match byte {
                    b'"' => match text_length(&chunk[swept..]) {
                        Some(length) => {
                            swept += length;
                            continue;
                        }
                        None => stop = Some(Stop::Text),
                    },
                    b'{' | b'[' if depth > NESTING_MAX => {
                        stop = Some(Stop::Broken("trop de niveaux imbriqués"));
                    }
                    b'{' | b'[' => {
                        objects = objects << 1 | u128::from(byte == b'{');
                        depth += 1;
                    }
                    b'}' | b']' if (objects & 1 == 1) != (byte == b'}') => {
                        stop = Some(Stop::Broken("un crochet ferme une accolade ou l'inverse"));
                    }
                    b'}' | b']' => {
                        objects >>= 1;
                        depth -= 1;
                        if depth == 0 {
                            swept += 1;
                            break;
                        }
                    }
                    b'\n' => stop = Some(Stop::Line),
                    b',' | b':' | b' ' | b'\t' | b'\r' => {}
                    byte if is_scalar(byte) => {}
                    _ => stop = Some(Stop::Broken("octet inattendu")),
                }
                if stop.is_some() {
                    break;
                }
                swept += 1;
            }
            self.take(swept)?;
            match stop {
                None => {}
                Some(Stop::Text) => self.skip_string()?,
                Some(Stop::Line) => {
                    self.take(1)?;
                    self.source.line_ended();
                }
                Some(Stop::Broken(why)) => return Err(self.broken(why)),
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
                    return Err(self.broken("le fichier s'arrête au milieu d'un texte"));
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
                        return Err(self.broken("le fichier s'arrête au milieu d'un texte"));
                    }
                    self.take(1)?;
                }
                _ => {
                    self.take(stop)?;
                    return Err(self.broken("un texte contient un caractère de contrôle brut"));
                }
            }
        }
    }

    /// Moves over bytes of the present chunk, onto the tape if it runs.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Result<(), ChatFileError> {
        if let Some(start) = self.taping {
            let max = self.record_bytes_max;
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
    pub(super) fn pass(&mut self) {
        self.source.advance(1);
    }

    /// The next byte that is no white space, left unread.
    #[inline]
    pub(super) fn next_byte(&mut self) -> Result<Option<u8>, ChatFileError> {
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

    pub(super) fn expect(&mut self, byte: u8, why: &'static str) -> Result<(), ChatFileError> {
        if self.next_byte()? != Some(byte) {
            return Err(self.broken(why));
        }
        self.pass();
        Ok(())
    }

    pub(super) fn broken(&self, why: &'static str) -> ChatFileError {
        let Place { at, line, column } = self.source.place();
        ChatFileError::BrokenJson { line, column, at, why: why.to_owned() }
    }

    /// Ends the value being kept and hands it over.
    pub(super) fn end_tape(&mut self) -> Vec<u8> {
        self.taping = None;
        std::mem::take(&mut self.tape)
    }
}

/// Why a sweep over the bytes at hand pauses.
enum Stop {
    /// A text that goes on in the next bytes, or is broken.
    Text,
    Line,
    Broken(&'static str),
}

/// Length of the text that starts `bytes`, with both quotes, if it ends there and is sound.
#[inline]
fn text_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        let stop = bytes.get(at..)?.iter().position(|&byte| ENDS_PLAIN_TEXT[byte as usize])?;
        at += stop;
        match bytes[at] {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => return None,
        }
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
