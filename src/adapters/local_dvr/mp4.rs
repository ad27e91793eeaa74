//! Fragmented MP4, written by hand (ISO/IEC 14496-12; AVC, HEVC and AAC as in 14496-15 and -14, AV1 and Opus as their own
//! bindings say): a head, then parts that can each be read alone. The recorder calls no media library.
//!
//! A part is `prft` (when it arrived), `moof`, `mdat`, and a `free` box with a CRC-32C of the three: after a power cut,
//! blocks of a part may be missing in its midst although its length is right. Decode times count from the beginning of the
//! *recording*, so that the parts of all its files follow each other after one head.

use bytes::{BufMut, Bytes};
use uuid::Uuid;

use crate::domain::ids::{CameraId, RecordingId};
use crate::domain::live::part::{Part, Run};
use crate::domain::live::track::{Codec, Form, Kind, TICKS_PER_S, Track};

/// Our private box in the head: camera, recording, number of the file.
pub(super) const BOX_ID: Uuid = Uuid::from_u128(0x7370_6172_6b2d_4456_922d_6669_6c65_0001);
/// Numbers of the tracks in our files.
pub(super) const PICTURE_ID: u32 = 1;
pub(super) const SOUND_ID: u32 = 2;
/// The box at a part's end: size, `free`, checksum.
pub(super) const SEAL_BYTES: usize = 12;
/// Seconds from 1900, where NTP counts from, to 1970.
const NTP_S: i64 = 2_208_988_800;
const NS_PER_S: i64 = 1_000_000_000;
/// Sample flags: a key frame depends on nothing; others depend and are no sync samples.
const KEY_FLAGS: u32 = 0x0200_0000;
const DELTA_FLAGS: u32 = 0x0101_0000;
/// The identity matrix of a header.
const MATRIX: [u32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) camera: CameraId,
    pub(super) recording: RecordingId,
    pub(super) file: u32,
}

/// A box of this kind around what `fill` writes.
fn boxed(out: &mut Vec<u8>, kind: [u8; 4], fill: impl FnOnce(&mut Vec<u8>)) {
    let begins = out.len();
    out.put_u32(0);
    out.put_slice(&kind);
    fill(out);
    let size = (out.len() - begins) as u32;
    out[begins..begins + 4].copy_from_slice(&size.to_be_bytes());
}

/// A box with version and flags.
fn full(
    out: &mut Vec<u8>,
    kind: [u8; 4],
    version: u8,
    flags: u32,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    boxed(out, kind, |out| {
        out.put_u32(u32::from(version) << 24 | flags);
        fill(out);
    });
}

/// The head of a file.
pub(super) fn head(name: Name, tracks: &[Track]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2_048);
    boxed(&mut out, *b"ftyp", |out| {
        out.put_slice(b"iso6");
        out.put_u32(1);
        out.put_slice(b"iso6mp41dash");
    });
    boxed(&mut out, *b"moov", |out| {
        full(out, *b"mvhd", 0, 0, |out| {
            out.put_u64(0);
            out.put_u32(TICKS_PER_S as u32);
            out.put_u32(0);
            out.put_u32(0x0001_0000);
            out.put_u16(0x0100);
            out.put_bytes(0, 10);
            matrix(out);
            out.put_bytes(0, 24);
            out.put_u32(SOUND_ID + 1);
        });
        for track in tracks {
            boxed(out, *b"trak", |out| trak(out, track));
        }
        boxed(out, *b"mvex", |out| {
            for track in tracks {
                full(out, *b"trex", 0, 0, |out| {
                    out.put_u32(id_of(track.kind()));
                    out.put_u32(1);
                    out.put_bytes(0, 12);
                });
            }
        });
        boxed(out, *b"uuid", |out| {
            out.put_slice(BOX_ID.as_bytes());
            out.put_slice(name.camera.as_uuid().as_bytes());
            out.put_slice(name.recording.as_uuid().as_bytes());
            out.put_u32(name.file);
        });
    });
    out
}

pub(super) const fn id_of(kind: Kind) -> u32 {
    match kind {
        Kind::Picture => PICTURE_ID,
        Kind::Sound => SOUND_ID,
    }
}

fn matrix(out: &mut Vec<u8>) {
    for word in MATRIX {
        out.put_u32(word);
    }
}

/// Units a second of a track's clock.
pub(super) const fn timescale(track: &Track) -> u32 {
    match track.form {
        Form::Picture { .. } => TICKS_PER_S as u32,
        Form::Sound { rate, .. } => rate,
    }
}

fn trak(out: &mut Vec<u8>, track: &Track) {
    let (width, height, volume) = match track.form {
        Form::Picture { width, height } => (width, height, 0),
        Form::Sound { .. } => (0, 0, 0x0100),
    };
    // In the presentation, enabled.
    full(out, *b"tkhd", 0, 3, |out| {
        out.put_u64(0);
        out.put_u32(id_of(track.kind()));
        out.put_bytes(0, 16);
        out.put_u32(u32::from(track.kind() == Kind::Sound));
        out.put_u16(volume);
        out.put_u16(0);
        matrix(out);
        out.put_u32(width << 16);
        out.put_u32(height << 16);
    });
    boxed(out, *b"mdia", |out| {
        full(out, *b"mdhd", 0, 0, |out| {
            out.put_u64(0);
            out.put_u32(timescale(track));
            out.put_u32(0);
            // Undetermined language.
            out.put_u16(0x55c4);
            out.put_u16(0);
        });
        let (handler, name) = match track.kind() {
            Kind::Picture => (b"vide", b"picture\0".as_slice()),
            Kind::Sound => (b"soun", b"sound\0".as_slice()),
        };
        full(out, *b"hdlr", 0, 0, |out| {
            out.put_u32(0);
            out.put_slice(handler);
            out.put_bytes(0, 12);
            out.put_slice(name);
        });
        boxed(out, *b"minf", |out| {
            match track.kind() {
                Kind::Picture => full(out, *b"vmhd", 0, 1, |out| out.put_bytes(0, 8)),
                Kind::Sound => full(out, *b"smhd", 0, 0, |out| out.put_bytes(0, 4)),
            }
            boxed(out, *b"dinf", |out| {
                full(out, *b"dref", 0, 0, |out| {
                    out.put_u32(1);
                    full(out, *b"url ", 0, 1, |_| {});
                });
            });
            boxed(out, *b"stbl", |out| {
                full(out, *b"stsd", 0, 0, |out| {
                    out.put_u32(1);
                    entry(out, track);
                });
                full(out, *b"stts", 0, 0, |out| out.put_u32(0));
                full(out, *b"stsc", 0, 0, |out| out.put_u32(0));
                full(out, *b"stsz", 0, 0, |out| out.put_u64(0));
                full(out, *b"stco", 0, 0, |out| out.put_u32(0));
            });
        });
    });
}

/// The sample entry: what decodes this track.
fn entry(out: &mut Vec<u8>, track: &Track) {
    let (kind, config) = match track.codec {
        Codec::H264 => (*b"avc1", *b"avcC"),
        Codec::Hevc => (*b"hvc1", *b"hvcC"),
        Codec::Av1 => (*b"av01", *b"av1C"),
        Codec::Aac => (*b"mp4a", *b"esds"),
        Codec::Opus => (*b"Opus", *b"dOps"),
    };
    boxed(out, kind, |out| {
        out.put_bytes(0, 6);
        out.put_u16(1);
        match track.form {
            Form::Picture { width, height } => {
                out.put_bytes(0, 16);
                out.put_u16(width as u16);
                out.put_u16(height as u16);
                out.put_u32(0x0048_0000);
                out.put_u32(0x0048_0000);
                out.put_u32(0);
                out.put_u16(1);
                out.put_bytes(0, 32);
                out.put_u16(24);
                out.put_u16(0xffff);
            }
            Form::Sound { rate, channels } => {
                out.put_bytes(0, 8);
                out.put_u16(u16::from(channels));
                out.put_u16(16);
                out.put_u32(0);
                // 16.16; a rate that does not fit is told by the configuration.
                out.put_u32(if rate > 0xffff { 0 } else { rate << 16 });
            }
        }
        if track.codec == Codec::Aac {
            full(out, config, 0, 0, |out| esds(out, &track.config));
        } else {
            boxed(out, config, |out| out.put_slice(&track.config));
        }
    });
}

/// The elementary stream descriptor around an AudioSpecificConfig (ISO/IEC 14496-1, 7.2.6).
fn esds(out: &mut Vec<u8>, config: &[u8]) {
    let config = &config[..config.len().min(64)];
    let decoder = 13 + 2 + config.len();
    // Every length fits in one byte.
    out.put_slice(&[0x03, (3 + 2 + decoder + 3) as u8, 0, SOUND_ID as u8, 0]);
    // MPEG-4 audio, an audio stream; buffer and bitrates are not told.
    out.put_slice(&[0x04, decoder as u8, 0x40, 0x15]);
    out.put_bytes(0, 11);
    out.put_slice(&[0x05, config.len() as u8]);
    out.put_slice(config);
    out.put_slice(&[0x06, 1, 2]);
}

/// A part, sealed.
pub(super) fn part(part: &Part<Bytes>) -> Vec<u8> {
    let runs = [(Kind::Picture, &part.picture), (Kind::Sound, &part.sound)];
    let runs: Vec<_> = runs.into_iter().filter(|(_, run)| !run.samples.is_empty()).collect();
    let bytes: usize = runs.iter().flat_map(|(_, run)| &run.samples).map(|it| it.data.len()).sum();
    let samples: usize = runs.iter().map(|(_, run)| run.samples.len()).sum();
    let mut out = Vec::with_capacity(bytes + samples * 16 + 256);
    let (first, start) = runs.first().map_or((Kind::Picture, 0), |(kind, run)| (*kind, run.start));
    full(&mut out, *b"prft", 1, 0, |out| {
        out.put_u32(id_of(first));
        out.put_u64(ntp(part.utc_ns));
        out.put_u64(start as u64);
    });
    let moof = out.len();
    let mut holes = Vec::new();
    boxed(&mut out, *b"moof", |out| {
        full(out, *b"mfhd", 0, 0, |out| out.put_u32(part.number));
        for (kind, run) in &runs {
            boxed(out, *b"traf", |out| holes.push(traf(out, *kind, run)));
        }
    });
    // Where each run's bytes begin, from the `moof` on.
    let mut at = out.len() - moof + 8;
    for (hole, (_, run)) in holes.into_iter().zip(&runs) {
        out[hole..hole + 4].copy_from_slice(&(at as u32).to_be_bytes());
        at += run.samples.iter().map(|sample| sample.data.len()).sum::<usize>();
    }
    boxed(&mut out, *b"mdat", |out| {
        for sample in runs.iter().flat_map(|(_, run)| &run.samples) {
            out.put_slice(&sample.data);
        }
    });
    let seal = crc32c::crc32c(&out);
    boxed(&mut out, *b"free", |out| out.put_u32(seal));
    out
}

/// One track of a part. Says where the offset of its data is to be written.
fn traf(out: &mut Vec<u8>, kind: Kind, run: &Run<Bytes>) -> usize {
    // Offsets count from the `moof`.
    full(out, *b"tfhd", 0, 0x02_0000, |out| out.put_u32(id_of(kind)));
    full(out, *b"tfdt", 1, 0, |out| out.put_u64(run.start as u64));
    let mut hole = 0;
    // Data offset; of each sample: duration, size, flags, and for pictures a signed composition offset.
    let flags = if kind == Kind::Picture { 0x0f01 } else { 0x0701 };
    full(out, *b"trun", 1, flags, |out| {
        out.put_u32(run.samples.len() as u32);
        hole = out.len();
        out.put_u32(0);
        for sample in &run.samples {
            out.put_u32(sample.duration);
            out.put_u32(sample.data.len() as u32);
            out.put_u32(if sample.is_key { KEY_FLAGS } else { DELTA_FLAGS });
            if kind == Kind::Picture {
                out.put_i32(sample.offset);
            }
        }
    });
    hole
}

/// Nanoseconds since 1970 as NTP writes an instant: seconds since 1900 and a binary fraction.
pub(super) fn ntp(utc_ns: i64) -> u64 {
    let seconds = (utc_ns.div_euclid(NS_PER_S) + NTP_S) as u64;
    let fraction = ((utc_ns.rem_euclid(NS_PER_S) as u128) << 32).div_ceil(NS_PER_S as u128) as u64;
    (seconds << 32) + fraction
}

/// The reverse of [`ntp`], to the nanosecond.
pub(super) const fn utc_ns(ntp: u64) -> i64 {
    let seconds = (ntp >> 32) as i64 - NTP_S;
    seconds * NS_PER_S + (((ntp & 0xffff_ffff) as u128 * NS_PER_S as u128) >> 32) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_to_the_nanosecond() {
        for ns in [0, 1, 999_999_999, 1_795_000_000_123_456_789, 1_795_000_000_000_000_001] {
            assert_eq!(utc_ns(ntp(ns)), ns);
        }
    }
}
