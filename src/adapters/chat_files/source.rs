//! The bytes of a chat file, unpacked if gzipped, with their place and a limit on their number.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::error::ChatFileError;

const BUFFER_BYTES: usize = 64 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const UTF8_BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// A buffered reader that knows where it stands.
pub(super) struct Source {
    inner: Box<dyn Read>,
    buffer: Vec<u8>,
    position: usize,
    filled: usize,
    /// Offset of `buffer[0]` in the unpacked file.
    base: u64,
    line: u64,
    line_start: u64,
    unpacked_bytes_max: u64,
    gzipped: bool,
}

/// Where a byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: u64,
    pub(super) line: u64,
    pub(super) column: u64,
}

impl Source {
    pub(super) fn open(path: &Path, unpacked_bytes_max: u64) -> Result<Self, ChatFileError> {
        let file = File::open(path).map_err(|source| ChatFileError::Unreadable { source })?;
        Self::try_new(Box::new(file), unpacked_bytes_max)
    }

    /// Looks at the first bytes: gzip is unpacked, a UTF-8 byte order mark is passed over.
    pub(super) fn try_new(
        mut file: Box<dyn Read>,
        unpacked_bytes_max: u64,
    ) -> Result<Self, ChatFileError> {
        let mut magic = Vec::with_capacity(2);
        file.by_ref()
            .take(2)
            .read_to_end(&mut magic)
            .map_err(|source| ChatFileError::Unreadable { source })?;
        let gzipped = magic == GZIP_MAGIC;
        let whole = Cursor::new(magic).chain(file);
        let inner: Box<dyn Read> =
            if gzipped { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
        let mut source = Self {
            inner,
            buffer: vec![0; BUFFER_BYTES],
            position: 0,
            filled: 0,
            base: 0,
            line: 1,
            line_start: 0,
            unpacked_bytes_max,
            gzipped,
        };
        source.fill_whole_buffer()?;
        if source.chunk()?.starts_with(&UTF8_BOM) {
            source.advance(UTF8_BOM.len());
            source.line_start = source.offset();
        }
        Ok(source)
    }

    pub(super) fn gzipped(&self) -> bool {
        self.gzipped
    }

    /// Offset of the next byte in the unpacked file.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.position as u64
    }

    pub(super) fn place(&self) -> Place {
        let at = self.offset();
        Place { at, line: self.line, column: at - self.line_start + 1 }
    }

    /// The bytes at hand; empty at the end of the file only.
    pub(super) fn chunk(&mut self) -> Result<&[u8], ChatFileError> {
        if self.position == self.filled {
            self.base += self.filled as u64;
            self.position = 0;
            self.filled = 0;
            self.filled = self.read_into(0)?;
        }
        Ok(&self.buffer[self.position..self.filled])
    }

    #[inline]
    pub(super) fn peek(&mut self) -> Result<Option<u8>, ChatFileError> {
        if self.position < self.filled {
            return Ok(Some(self.buffer[self.position]));
        }
        Ok(self.chunk()?.first().copied())
    }

    /// Moves over `count` bytes of the present chunk.
    #[inline]
    pub(super) fn advance(&mut self, count: usize) {
        debug_assert!(self.position + count <= self.filled, "advanced past the chunk");
        self.position += count;
    }

    /// Tells that the byte just passed ended a line.
    #[inline]
    pub(super) fn line_ended(&mut self) {
        self.line += 1;
        self.line_start = self.offset();
    }

    /// Fills the buffer as far as the file goes, so that the first look sees enough.
    fn fill_whole_buffer(&mut self) -> Result<(), ChatFileError> {
        while self.filled < self.buffer.len() {
            let count = self.read_into(self.filled)?;
            if count == 0 {
                break;
            }
            self.filled += count;
        }
        Ok(())
    }

    fn read_into(&mut self, from: usize) -> Result<usize, ChatFileError> {
        let at = self.base + from as u64;
        let count = loop {
            match self.inner.read(&mut self.buffer[from..]) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.read_failed(at, source)),
            }
        };
        if at + count as u64 > self.unpacked_bytes_max {
            return Err(ChatFileError::TooLarge { max: self.unpacked_bytes_max });
        }
        Ok(count)
    }

    fn read_failed(&self, at: u64, source: io::Error) -> ChatFileError {
        if !self.gzipped {
            return ChatFileError::Unreadable { source };
        }
        match source.kind() {
            io::ErrorKind::UnexpectedEof => ChatFileError::GzipTruncated { at },
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                ChatFileError::GzipDamaged { at, source }
            }
            _ => ChatFileError::Unreadable { source },
        }
    }
}
