//! A film as a transport stream (ISO/IEC 13818-1): pictures of H.264 with start codes, sound of AAC with heads of its own.
//!
//! Written from the specification, like the other protocols here: the house reads transport streams with libav.

use bytes::BufMut;

use super::film::{Content, Film, FilmError, Tag};

/// Bytes of a packet, and of what it carries at most.
pub(super) const PACKET_BYTES: usize = 188;
const ROOM_BYTES: usize = PACKET_BYTES - 4;
/// Which packets hold what.
const PROGRAMMES_PID: u16 = 0;
const STREAMS_PID: u16 = 0x1000;
const PICTURE_PID: u16 = 0x100;
const SOUND_PID: u16 = 0x101;
/// The one programme.
const PROGRAMME: u16 = 1;
/// Types of streams (table 2-34), and how their packets name themselves (table 2-22).
const H264: u8 = 0x1b;
const ADTS: u8 = 0x0f;
const PICTURE_ID: u8 = 0xe0;
const SOUND_ID: u8 = 0xc0;
/// Ticks of times in a millisecond, and how many there are before they start over.
const TICKS_PER_MS: u64 = 90;
const WRAP: u64 = 1 << 33;
/// A picture is sent so long before it is decoded, by the stream's own clock, in milliseconds.
const AHEAD_MS: u64 = 700;
/// How often the tables are told, in milliseconds.
const TABLES_EVERY_MS: u64 = 100;
/// Longest payload whose length is told; longer ones end where the next begins.
const LENGTH_MAX: usize = 0xffff;
/// Longest frame of AAC with its head, in bytes: 13 bits of length.
const FRAME_BYTES_MAX: usize = 0x1fff;

/// Makes a transport stream of a film's tags.
#[derive(Debug)]
pub struct TransportStream {
    pictures: PictureParameters,
    sound: Option<SoundParameters>,
    /// Packets so far of programmes, streams, pictures and sound; the lowest four bits are told.
    counts: [u8; 4],
    /// When the tables were told last.
    tables_ms: Option<u64>,
    unit: Vec<u8>,
}

/// What a decoder of H.264 needs: its parameter sets, and how long the lengths before units are.
#[derive(Debug)]
struct PictureParameters {
    sets: Vec<Vec<u8>>,
    length_bytes: usize,
}

/// What a decoder of AAC needs, as heads of frames tell it.
#[derive(Debug)]
struct SoundParameters {
    profile: u8,
    rate: u8,
    channels: u8,
}

impl TransportStream {
    /// Of a film whose pictures are H.264 and whose sound, if any, is AAC that a head of seven bytes can tell.
    pub fn of(film: &Film) -> Result<Self, FilmError> {
        let (mut pictures, mut sound) = (None, None);
        for tag in film.headers() {
            match tag.content() {
                Content::PictureParameters(config) => pictures = PictureParameters::read(config),
                Content::SoundParameters(config) => {
                    sound = Some(SoundParameters::read(config).ok_or(FilmError::OtherSound)?);
                }
                _ => {}
            }
        }
        let has_other = |tag: &Tag| tag.is_sound() && !matches!(tag.content(), Content::Sound(_));
        if film.tags().iter().any(has_other) {
            return Err(FilmError::OtherSound);
        }
        let pictures = pictures.ok_or(FilmError::NoPicture)?;
        Ok(Self { pictures, sound, counts: [0; 4], tables_ms: None, unit: Vec::new() })
    }

    /// Puts a tag into whole packets behind what is there; `ms` is when it is decoded, and may run over or leap.
    pub fn put(&mut self, tag: &Tag, ms: u64, out: &mut Vec<u8>) {
        let decoded = (ms + AHEAD_MS) * TICKS_PER_MS;
        match tag.content() {
            Content::Picture { is_key, delay_ms, units } => {
                let is_due = self.tables_ms.is_none_or(|at| at.abs_diff(ms) >= TABLES_EVERY_MS);
                if is_key || is_due {
                    self.put_tables(out);
                    self.tables_ms = Some(ms);
                }
                let shown = decoded.wrapping_add_signed(i64::from(delay_ms) * TICKS_PER_MS as i64);
                let clock = ms * TICKS_PER_MS;
                let mut unit = std::mem::take(&mut self.unit);
                begin_packet(&mut unit, PICTURE_ID, shown, Some(decoded));
                self.pictures.put_unit(is_key, units, &mut unit);
                end_packet(&mut unit);
                let first = First { clock: Some(clock), is_key };
                put_packets(PICTURE_PID, &mut self.counts[2], Some(first), &unit, out);
                self.unit = unit;
            }
            Content::Sound(frame) => {
                let Some(sound) = &self.sound else { return };
                let mut unit = std::mem::take(&mut self.unit);
                begin_packet(&mut unit, SOUND_ID, decoded, None);
                sound.put_frame(frame, &mut unit);
                end_packet(&mut unit);
                let first = First { clock: None, is_key: true };
                put_packets(SOUND_PID, &mut self.counts[3], Some(first), &unit, out);
                self.unit = unit;
            }
            Content::PictureParameters(_) | Content::SoundParameters(_) | Content::Other => {}
        }
    }

    /// Which programmes there are (2.4.4.3), and of which streams the one there is consists (2.4.4.8).
    fn put_tables(&mut self, out: &mut Vec<u8>) {
        let mut programmes = Vec::new();
        programmes.put_u16(PROGRAMME);
        programmes.put_u16(0xe000 | STREAMS_PID);
        put_table(0, &programmes, PROGRAMMES_PID, &mut self.counts[0], out);
        let mut streams = Vec::new();
        // Pictures carry the clock; nothing is said of the programme.
        streams.put_u16(0xe000 | PICTURE_PID);
        streams.put_u16(0xf000);
        let sound = self.sound.as_ref().map(|_| (ADTS, SOUND_PID));
        for (kind, pid) in std::iter::once((H264, PICTURE_PID)).chain(sound) {
            streams.put_u8(kind);
            streams.put_u16(0xe000 | pid);
            streams.put_u16(0xf000);
        }
        put_table(2, &streams, STREAMS_PID, &mut self.counts[1], out);
    }
}

impl PictureParameters {
    /// Reads an `avcC` (ISO/IEC 14496-15, 5.3.3.1); `None` when it is none.
    fn read(config: &[u8]) -> Option<Self> {
        let length_bytes = usize::from(config.get(4)? & 3) + 1;
        let (mut sets, mut rest) = (Vec::new(), config.get(5..)?);
        for mask in [0x1f, 0xff] {
            let (count, behind) = rest.split_first()?;
            rest = behind;
            for _ in 0..count & mask {
                let (length, behind) = rest.split_first_chunk::<2>()?;
                let (set, behind) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
                sets.push(set.to_vec());
                rest = behind;
            }
        }
        Some(Self { sets, length_bytes })
    }

    /// Units with start codes (ITU-T H.264, annex B), a delimiter before them, and before a key picture the parameter sets.
    fn put_unit(&self, is_key: bool, units: &[u8], out: &mut Vec<u8>) {
        // A delimiter that says that any kind of slice may follow (7.3.2.4).
        put_nal(&[9, 0xf0], out);
        if is_key {
            self.sets.iter().for_each(|set| put_nal(set, out));
        }
        let mut rest = units;
        while let Some((length, behind)) = rest.split_at_checked(self.length_bytes) {
            let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            let (nal, behind) = behind.split_at(length.min(behind.len()));
            rest = behind;
            // Parameter sets and delimiters of its own would be told twice.
            if nal.first().is_some_and(|first| !matches!(first & 0x1f, 7..=9)) {
                put_nal(nal, out);
            }
        }
    }
}

fn put_nal(nal: &[u8], out: &mut Vec<u8>) {
    out.extend([0, 0, 0, 1]);
    out.extend(nal);
}

impl SoundParameters {
    /// Reads an `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1); `None` of what a head of seven bytes cannot tell.
    fn read(config: &[u8]) -> Option<Self> {
        let (first, second) = (*config.first()?, *config.get(1)?);
        let (object, rate) = (first >> 3, (first & 7) << 1 | second >> 7);
        let channels = second >> 3 & 0x0f;
        let is_told = (1..=4).contains(&object) && rate < 13 && (1..=7).contains(&channels);
        is_told.then(|| Self { profile: object - 1, rate, channels })
    }

    /// A frame with its head (ISO/IEC 13818-7, 6.2).
    fn put_frame(&self, frame: &[u8], out: &mut Vec<u8>) {
        let length = (frame.len() + 7).min(FRAME_BYTES_MAX);
        let Self { profile, rate, channels } = self;
        out.extend([0xff, 0xf1, profile << 6 | rate << 2 | channels >> 2]);
        out.extend([(channels & 3) << 6 | (length >> 11) as u8, (length >> 3) as u8]);
        out.extend([(length as u8 & 7) << 5 | 0x1f, 0xfc]);
        out.extend(&frame[..length - 7]);
    }
}

/// The head of a packet of a stream (2.4.3.6), its length open.
fn begin_packet(out: &mut Vec<u8>, id: u8, shown: u64, decoded: Option<u64>) {
    out.clear();
    out.extend([0, 0, 1, id, 0, 0]);
    // What follows begins with a whole picture or frame.
    out.put_u8(0x84);
    match decoded.filter(|it| it % WRAP != shown % WRAP) {
        None => {
            out.extend([0x80, 5]);
            put_time(2, shown, out);
        }
        Some(decoded) => {
            out.extend([0xc0, 10]);
            put_time(3, shown, out);
            put_time(1, decoded, out);
        }
    }
}

/// Its length, if it can be told.
fn end_packet(packet: &mut [u8]) {
    let length = packet.len() - 6;
    let told = if length > LENGTH_MAX { 0 } else { length as u16 };
    packet[4..6].copy_from_slice(&told.to_be_bytes());
}

/// 33 bits of time in five bytes, each part with a mark behind it.
fn put_time(kind: u8, ticks: u64, out: &mut Vec<u8>) {
    let ticks = ticks % WRAP;
    out.put_u8(kind << 4 | ((ticks >> 30) as u8) << 1 | 1);
    out.put_u16((ticks >> 15 << 1) as u16 | 1);
    out.put_u16((ticks << 1) as u16 | 1);
}

/// What the first packet of something tells besides (2.4.3.4).
#[derive(Clone, Copy)]
struct First {
    /// What the stream's clock says, in ticks.
    clock: Option<u64>,
    is_key: bool,
}

impl First {
    fn fields(self) -> Vec<u8> {
        let mut fields = Vec::new();
        let flags = u8::from(self.is_key) << 6 | u8::from(self.clock.is_some()) << 4;
        if flags != 0 {
            fields.put_u8(flags);
        }
        if let Some(clock) = self.clock {
            // Six bits that are kept for later, and nothing between two ticks.
            fields.put_uint((clock % WRAP) << 15 | 0x3f << 9, 6);
        }
        fields
    }
}

/// Whole packets with these bytes; the last is filled up.
fn put_packets(pid: u16, count: &mut u8, first: Option<First>, bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    let mut fields = first.map(First::fields).unwrap_or_default();
    let mut start = 0x40;
    while !rest.is_empty() {
        let told = if fields.is_empty() { 0 } else { 1 + fields.len() };
        let take = rest.len().min(ROOM_BYTES - told);
        let fill = ROOM_BYTES - take;
        out.extend([0x47, start | (pid >> 8) as u8, pid as u8]);
        out.put_u8(if fill > 0 { 0x30 } else { 0x10 } | *count & 0x0f);
        *count = count.wrapping_add(1);
        if fill > 0 {
            let ends = out.len() + fill;
            out.put_u8(fill as u8 - 1);
            if fill > 1 {
                if fields.is_empty() {
                    out.put_u8(0);
                }
                out.extend(&fields);
            }
            out.resize(ends, 0xff);
        }
        out.extend(&rest[..take]);
        rest = &rest[take..];
        fields.clear();
        start = 0;
    }
}

/// A table in a packet of its own.
fn put_table(id: u8, body: &[u8], pid: u16, count: &mut u8, out: &mut Vec<u8>) {
    let mut table = vec![id];
    // From its number to its check: the first of one, in force, unchanged.
    table.put_u16(0xb000 | (body.len() + 9) as u16);
    table.put_u16(PROGRAMME);
    table.extend([0xc1, 0, 0]);
    table.extend(body);
    let check = crc(&table);
    table.put_u32(check);
    let begins = out.len();
    out.extend([0x47, 0x40 | (pid >> 8) as u8, pid as u8, 0x10 | *count & 0x0f, 0]);
    *count = count.wrapping_add(1);
    out.extend(&table);
    out.resize(begins + PACKET_BYTES, 0xff);
}

/// The check of tables (annex A).
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_checked_as_the_standard_has_it() {
        assert_eq!(crc(b"123456789"), 0x0376_e6e7);
    }

    #[test]
    fn times_of_33_bits_start_over() {
        let time = |ticks| {
            let mut out = Vec::new();
            put_time(2, ticks, &mut out);
            out
        };
        assert_eq!(time(0), [0x21, 0, 1, 0, 1]);
        assert_eq!(time(WRAP - 1), [0x2f, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(time(WRAP + 5), time(5));
        assert_eq!(time(1 << 30), [0x23, 0, 1, 0, 1]);
        assert_eq!(time(1 << 15), [0x21, 0, 3, 0, 1]);
    }

    #[test]
    fn whatever_its_length_it_fills_whole_packets_and_counts_them() {
        for length in 1..600 {
            let bytes = vec![7; length];
            for first in [
                None,
                Some(First { clock: None, is_key: true }),
                Some(First { clock: Some(WRAP + 9), is_key: false }),
            ] {
                let (mut out, mut count) = (Vec::new(), 14);
                put_packets(PICTURE_PID, &mut count, first, &bytes, &mut out);
                let mut carried: Vec<u8> = Vec::new();
                for (n, packet) in out.chunks(PACKET_BYTES).enumerate() {
                    assert_eq!((packet.len(), packet[0]), (PACKET_BYTES, 0x47));
                    assert_eq!(packet[1] & 0x40 != 0, n == 0, "only the first begins something");
                    assert_eq!(usize::from(packet[3] & 0x0f), (14 + n) % 16);
                    let skip = if packet[3] & 0x20 == 0 { 4 } else { 5 + usize::from(packet[4]) };
                    carried.extend(&packet[skip..]);
                }
                assert_eq!(carried, bytes, "{length}");
            }
        }
    }

    #[test]
    fn a_frame_of_sound_gets_the_head_that_its_parameters_tell() {
        // 48 kHz, stereo, LC.
        let sound = SoundParameters::read(&[0x11, 0x90]).unwrap();
        let mut out = Vec::new();
        sound.put_frame(&[7, 8], &mut out);
        assert_eq!(out, [0xff, 0xf1, 0x4c, 0x80, 0x01, 0x3f, 0xfc, 7, 8]);
        assert!(SoundParameters::read(&[0x2b, 0x90]).is_none(), "spectral band replication");
    }

    #[test]
    fn a_key_picture_comes_with_its_parameters_and_one_delimiter() {
        let config = [1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 2, 0x67, 1, 1, 0, 2, 0x68, 2];
        let parameters = PictureParameters::read(&config).unwrap();
        let (mut key, mut other) = (Vec::new(), Vec::new());
        let units = [0, 0, 0, 2, 9, 0xf0, 0, 0, 0, 3, 0x65, 3, 4];
        parameters.put_unit(true, &units, &mut key);
        parameters.put_unit(false, &[0, 0, 0, 2, 0x41, 5], &mut other);
        let nals: [&[u8]; 4] = [&[9, 0xf0], &[0x67, 1], &[0x68, 2], &[0x65, 3, 4]];
        let expected: Vec<u8> =
            nals.iter().flat_map(|nal| [&[0, 0, 0, 1][..], nal].concat()).collect();
        assert_eq!(key, expected);
        assert_eq!(other, [0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x41, 5]);
        assert!(PictureParameters::read(&config[..9]).is_none());
    }
}
