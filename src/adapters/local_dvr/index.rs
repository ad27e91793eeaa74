//! The index beside each file: a record a part, appended once the part itself is on the disk. It may lag or be torn; the
//! file rebuilds it.

use crate::adapters::local_dvr::mp4::Name;
use crate::ports::dvr::PartPlace;

/// Bytes of a record.
pub(super) const RECORD_BYTES: usize = 56;
/// Flags of a record.
const KEY: u32 = 1;
const CLOSED: u32 = 2;

/// What an index says of its file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) parts: Vec<PartPlace>,
    /// The file was closed in order: nothing has to be mended.
    pub(super) is_closed: bool,
}

/// A part's record.
pub(super) fn record(place: &PartPlace) -> [u8; RECORD_BYTES] {
    let flags = if place.is_key { KEY } else { 0 };
    write(place.number, flags, place.offset, place.bytes, place.dts, place.ticks, place.utc_ns)
}

/// The last record of a file that was closed: how many parts it has, and where it ends.
pub(super) fn closing(parts: usize, ends: u64) -> [u8; RECORD_BYTES] {
    write(parts as u32, CLOSED, ends, 0, 0, 0, 0)
}

fn write(
    number: u32,
    flags: u32,
    offset: u64,
    bytes: u32,
    dts: i64,
    ticks: i64,
    utc_ns: i64,
) -> [u8; RECORD_BYTES] {
    let mut out = [0; RECORD_BYTES];
    let mut at = 0;
    let mut put = |field: &[u8]| {
        out[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    };
    put(b"prt1");
    put(&number.to_le_bytes());
    put(&flags.to_le_bytes());
    put(&bytes.to_le_bytes());
    put(&offset.to_le_bytes());
    put(&dts.to_le_bytes());
    put(&ticks.to_le_bytes());
    put(&utc_ns.to_le_bytes());
    let sum = crc32c::crc32c(&out[..RECORD_BYTES - 8]);
    out[RECORD_BYTES - 8..RECORD_BYTES - 4].copy_from_slice(&sum.to_le_bytes());
    out
}

/// Reads an index up to its first record that is not whole.
pub(super) fn read(name: Name, text: &[u8]) -> Index {
    let mut index = Index::default();
    for record in text.chunks_exact(RECORD_BYTES) {
        let word = |at: usize| <[u8; 4]>::try_from(&record[at..at + 4]).map(u32::from_le_bytes);
        let long = |at: usize| <[u8; 8]>::try_from(&record[at..at + 8]).map(i64::from_le_bytes);
        let sum = crc32c::crc32c(&record[..RECORD_BYTES - 8]);
        let (Ok(number), Ok(flags), Ok(bytes), Ok(told)) =
            (word(4), word(8), word(12), word(RECORD_BYTES - 8))
        else {
            break;
        };
        let (Ok(offset), Ok(dts), Ok(ticks), Ok(utc_ns)) = (long(16), long(24), long(32), long(40))
        else {
            break;
        };
        if &record[..4] != b"prt1" || told != sum {
            break;
        }
        if flags & CLOSED != 0 {
            index.is_closed = true;
            break;
        }
        index.parts.push(PartPlace {
            camera: name.camera,
            recording: name.recording,
            file: name.file,
            number,
            offset: offset as u64,
            bytes,
            dts,
            ticks,
            utc_ns,
            is_key: flags & KEY != 0,
        });
    }
    index
}
