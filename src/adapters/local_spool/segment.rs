//! One file of the spool: records of length, CRC32C and JSON, one after the other.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::domain::audience::notice::Notice;

/// Longest record believed, in bytes: a transport's frame is at most 1 MB.
const RECORD_BYTES_MAX: u32 = 4 << 20;
/// Length and checksum before each record.
const HEAD_BYTES: u64 = 8;

/// A record as bytes: its length and CRC32C, both little-endian, then the notice in JSON.
pub(super) fn record(notice: &Notice) -> std::io::Result<Vec<u8>> {
    let body = serde_json::to_vec(notice)?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= RECORD_BYTES_MAX);
    let length = length.ok_or_else(|| std::io::Error::other("a notice of more than 4 MiB"))?;
    let mut bytes = Vec::with_capacity(body.len() + HEAD_BYTES as usize);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// Adds bytes at the end and flushes them to the disk. What could not be written whole is taken back.
pub(super) fn append(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let before = file.metadata()?.len();
    let written = file.write_all(bytes).and_then(|()| file.sync_data());
    if written.is_err() {
        let _ = file.set_len(before);
    }
    written
}

/// What a reader found in a file.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub notices: Vec<Notice>,
    /// Where the next record begins.
    pub offset: u64,
    /// The file ends here: nothing more can be read from it.
    pub is_end: bool,
    /// Bytes that are no whole record: a torn tail, or damage in between.
    pub torn: u64,
}

/// What follows in a file.
enum Next {
    Whole(Box<Notice>),
    /// A record whose content is not what was written: passed over.
    Damaged,
    /// No record: the end, or a torn tail.
    End,
}

/// Reads whole records from `offset` on, at most `limit`.
pub(super) fn read(path: &Path, offset: u64, limit: usize) -> std::io::Result<Found> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut found = Found { offset: offset.min(length), ..Found::default() };
    file.seek(SeekFrom::Start(found.offset))?;
    let mut reader = BufReader::new(file);
    while found.notices.len() < limit {
        let (next, bytes) = next(&mut reader, length - found.offset)?;
        match next {
            Next::Whole(notice) => found.notices.push(*notice),
            Next::Damaged => found.torn += bytes,
            Next::End => {
                found.is_end = true;
                found.torn += length - found.offset;
                break;
            }
        }
        found.offset += bytes;
    }
    found.is_end |= found.offset == length;
    Ok(found)
}

/// What follows, and its length in the file.
fn next(reader: &mut impl Read, left: u64) -> std::io::Result<(Next, u64)> {
    if left < HEAD_BYTES {
        return Ok((Next::End, 0));
    }
    let mut word = [0; 4];
    reader.read_exact(&mut word)?;
    let length = u32::from_le_bytes(word);
    reader.read_exact(&mut word)?;
    let checksum = u32::from_le_bytes(word);
    let bytes = u64::from(length) + HEAD_BYTES;
    if length > RECORD_BYTES_MAX || bytes > left {
        return Ok((Next::End, 0));
    }
    let mut body = vec![0; length as usize];
    reader.read_exact(&mut body)?;
    let is_whole = crc32c::crc32c(&body) == checksum;
    let notice = is_whole.then(|| serde_json::from_slice(&body).ok()).flatten();
    Ok((notice.map_or(Next::Damaged, Next::Whole), bytes))
}

/// The file behind a name: another after it was written anew.
pub(super) fn inode(path: &Path) -> std::io::Result<u64> {
    Ok(std::fs::metadata(path)?.ino())
}
