//! Reading our own files back: which parts are whole, without trusting the index.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use uuid::Uuid;

use crate::adapters::local_dvr::mp4::{BOX_ID, Name, PICTURE_ID, SEAL_BYTES, SOUND_ID, utc_ns};
use crate::domain::ids::{CameraId, RecordingId};
use crate::domain::live::track::TICKS_PER_S;
use crate::ports::dvr::PartPlace;

/// Longest head that is believed, in bytes; parameter sets are a few hundred.
const HEAD_BYTES_MAX: u64 = 1 << 20;
/// Longest part that is believed, in bytes.
const PART_BYTES_MAX: u64 = 256 << 20;

/// The head of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) name: Name,
    /// Where the first part begins.
    pub(super) bytes: u64,
    rate: u32,
    has_picture: bool,
}

/// What was found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) parts: Vec<PartPlace>,
    /// Where the last whole part ends.
    pub(super) ends: u64,
}

/// A box: its kind, where its content begins and where it ends.
type Boxed<'a> = (&'a [u8], &'a [u8]);

/// The boxes of a stretch of memory, up to the first that is not whole.
fn boxes(bytes: &[u8]) -> impl Iterator<Item = Boxed<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let size = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        if size < 8 || size > rest.len() {
            return None;
        }
        let (this, after) = rest.split_at(size);
        rest = after;
        Some((&this[4..8], &this[8..]))
    })
}

fn find(bytes: &[u8], kind: [u8; 4]) -> Option<&[u8]> {
    boxes(bytes).find(|(it, _)| *it == kind).map(|(_, content)| content)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Reads so many bytes, fewer at the end of the file.
fn read_at(file: &File, at: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut out = vec![0; bytes as usize];
    let mut filled = 0;
    while filled < out.len() {
        match file.read_at(&mut out[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    out.truncate(filled);
    Ok(out)
}

/// Reads the head; `None` when it is not whole, or no head of ours.
pub(super) fn head(file: &File) -> io::Result<Option<Head>> {
    let length = file.metadata()?.len();
    let bytes = read_at(file, 0, length.min(HEAD_BYTES_MAX))?;
    Ok(parse_head(&bytes))
}

/// The head's own bytes.
pub(super) fn head_bytes(file: &File) -> io::Result<Option<Vec<u8>>> {
    let Some(head) = head(file)? else { return Ok(None) };
    read_at(file, 0, head.bytes).map(Some)
}

fn parse_head(bytes: &[u8]) -> Option<Head> {
    let mut ends = 0;
    let mut moov = None;
    for (kind, content) in boxes(bytes).take(2) {
        ends += content.len() as u64 + 8;
        if kind == b"moov" {
            moov = Some(content);
        }
    }
    let moov = moov?;
    let ours = find(moov, *b"uuid")?;
    if ours.get(..16)? != BOX_ID.as_bytes() {
        return None;
    }
    let id = |at: usize| Uuid::from_slice(ours.get(at..at + 16)?).ok();
    let name = Name {
        camera: CameraId::from_uuid(id(16)?),
        recording: RecordingId::from_uuid(id(32)?),
        file: word(ours, 48)?,
    };
    let (mut rate, mut has_picture) = (1, false);
    for (_, trak) in boxes(moov).filter(|(kind, _)| kind == b"trak") {
        // Version, flags, two times, then the track's number; in `mdhd` the units a second stand there.
        let number = word(find(trak, *b"tkhd")?, 12)?;
        let timescale = word(find(find(trak, *b"mdia")?, *b"mdhd")?, 12)?;
        match number {
            PICTURE_ID => has_picture = true,
            SOUND_ID => rate = timescale.max(1),
            _ => return None,
        }
    }
    Some(Head { name, bytes: ends, rate, has_picture })
}

/// Looks for every whole part of a file, behind what is broken as well.
pub(super) fn parts(file: &File, head: &Head) -> io::Result<Found> {
    let length = file.metadata()?.len();
    let mut found = Found { parts: Vec::new(), ends: head.bytes };
    let mut at = head.bytes;
    while at < length {
        let part = match part_bytes(file, at, length)? {
            Some(bytes) => read_at(file, at, bytes)?,
            None => Vec::new(),
        };
        if let Some(place) = parse_part(&part, at, head) {
            at += part.len() as u64;
            found.ends = at;
            found.parts.push(place);
        } else if let Some(next) = next_part(file, at + 1, length)? {
            at = next;
        } else {
            break;
        }
    }
    Ok(found)
}

/// How long the part that begins here says it is, if its four boxes follow each other.
fn part_bytes(file: &File, at: u64, length: u64) -> io::Result<Option<u64>> {
    let mut bytes = 0;
    for kind in [b"prft", b"moof", b"mdat", b"free"] {
        let head = read_at(file, at + bytes, 8)?;
        let size = word(&head, 0).map_or(0, u64::from);
        if head.get(4..8) != Some(kind) || size < 8 {
            return Ok(None);
        }
        bytes += size;
        if bytes > PART_BYTES_MAX || at + bytes > length {
            return Ok(None);
        }
    }
    Ok(Some(bytes))
}

/// Where the next thing begins that looks like a part.
fn next_part(file: &File, from: u64, length: u64) -> io::Result<Option<u64>> {
    const WINDOW: u64 = 1 << 20;
    let mut at = from;
    while at < length {
        let window = read_at(file, at, WINDOW + 8)?;
        let hits = window.windows(4).enumerate().filter(|(_, it)| *it == b"prft");
        for (hit, _) in hits {
            let Some(begins) = (at + hit as u64).checked_sub(4).filter(|it| *it >= from) else {
                continue;
            };
            if part_bytes(file, begins, length)?.is_some() {
                return Ok(Some(begins));
            }
        }
        at += WINDOW;
    }
    Ok(None)
}

/// A whole part: its seal fits, its numbers can be read.
fn parse_part(bytes: &[u8], offset: u64, head: &Head) -> Option<PartPlace> {
    let sealed = bytes.len().checked_sub(SEAL_BYTES)?;
    if word(bytes, sealed + 8)? != crc32c::crc32c(&bytes[..sealed]) {
        return None;
    }
    let prft = find(bytes, *b"prft")?;
    let moof = find(bytes, *b"moof")?;
    let number = word(find(moof, *b"mfhd")?, 4)?;
    let mut place = PartPlace {
        camera: head.name.camera,
        recording: head.name.recording,
        file: head.name.file,
        number,
        offset,
        bytes: bytes.len() as u32,
        dts: 0,
        ticks: 0,
        utc_ns: utc_ns(long(prft, 8)?),
        is_key: !head.has_picture,
    };
    let mut clock = None;
    for (_, traf) in boxes(moof).filter(|(kind, _)| kind == b"traf") {
        let id = word(find(traf, *b"tfhd")?, 4)?;
        let start = long(find(traf, *b"tfdt")?, 4)? as i64;
        let (duration, is_key) = run(find(traf, *b"trun")?)?;
        if id == PICTURE_ID {
            clock = Some((start, duration));
            place.is_key = is_key;
        } else if clock.is_none() {
            clock = Some((ticks(start, head.rate), ticks(duration, head.rate)));
        }
    }
    (place.dts, place.ticks) = clock?;
    Some(place)
}

/// Samples of sound in ticks.
pub(super) fn ticks(samples: i64, rate: u32) -> i64 {
    samples * TICKS_PER_S / i64::from(rate)
}

/// Of a run: how long it lasts, and whether its first sample depends on nothing.
fn run(trun: &[u8]) -> Option<(i64, bool)> {
    let flags = word(trun, 0)? & 0x00ff_ffff;
    let step = if flags & 0x800 == 0 { 12 } else { 16 };
    let samples = word(trun, 4)? as usize;
    let mut duration = 0;
    for n in 0..samples {
        duration += i64::from(word(trun, 12 + n * step)?);
    }
    // Bit 16 of the flags: no sync sample.
    let is_key = word(trun, 12 + 8)? & 0x0001_0000 == 0;
    Some((duration, is_key))
}
