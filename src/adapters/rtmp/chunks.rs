//! The chunk stream: messages cut into chunks, several at a time (RTMP 1.0, 5.3). No IO, no clock.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Chunk streams that may be open at once. Encoders use four to six.
const STREAMS_MAX: usize = 64;
/// Bytes of a chunk before somebody says otherwise.
const CHUNK_BYTES: usize = 128;
/// Largest chunk that is believed, in bytes: the longest message there can be.
const CHUNK_BYTES_MAX: usize = 0x00ff_ffff;
/// Where a timestamp no longer fits in three bytes.
const EXTENDED: u32 = 0x00ff_ffff;

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: u8,
    /// The message stream it belongs to; 0 is the connection itself.
    pub stream: u32,
    /// Milliseconds, from an instant of the sender's; wraps after 49.7 days.
    pub timestamp: u32,
    pub payload: Bytes,
}

/// What came is no chunk stream, or too much of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("a message of {bytes} bytes; {max} are taken")]
    TooLong { bytes: usize, max: usize },
    #[error("more than {STREAMS_MAX} chunk streams")]
    TooManyStreams,
    #[error("messages that are not finished hold {bytes} bytes; {max} are taken")]
    TooMuchHeld { bytes: usize, max: usize },
    #[error("a chunk that goes on where nothing was begun")]
    NoBeginning,
    #[error("a chunk size of {0}")]
    ChunkSize(u32),
}

/// Puts messages together. Memory grows with what has come, never with what was announced.
#[derive(Debug)]
pub struct Reader {
    chunk_bytes: usize,
    message_bytes_max: usize,
    streams: BTreeMap<u32, Stream>,
    held: usize,
    /// The chunk whose data is being taken: its stream, and how much of it is missing.
    open: Option<(u32, usize)>,
}

#[derive(Debug, Default)]
struct Stream {
    timestamp: u32,
    /// What the last header said, absolute or not: a header of type 3 says it again.
    field: u32,
    is_extended: bool,
    length: usize,
    kind: u8,
    belongs_to: u32,
    partial: BytesMut,
    is_begun: bool,
}

/// A chunk's header, as far as it was read.
struct Header {
    format: u8,
    id: u32,
    bytes: usize,
}

impl Reader {
    /// Takes messages up to this length, in bytes.
    pub fn new(message_bytes_max: usize) -> Self {
        Self {
            chunk_bytes: CHUNK_BYTES,
            message_bytes_max,
            streams: BTreeMap::new(),
            held: 0,
            open: None,
        }
    }

    /// Takes longer messages from now on.
    pub fn allow(&mut self, message_bytes_max: usize) {
        self.message_bytes_max = message_bytes_max;
    }

    /// The sender's chunks have another size from now on.
    pub fn set_chunk_bytes(&mut self, bytes: u32) -> Result<(), Broken> {
        if bytes == 0 || bytes >> 31 != 0 {
            return Err(Broken::ChunkSize(bytes));
        }
        self.chunk_bytes = (bytes as usize).min(CHUNK_BYTES_MAX);
        Ok(())
    }

    /// The sender gave up the message it had begun on a chunk stream.
    pub fn abort(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            self.held -= stream.partial.len();
            stream.partial = BytesMut::new();
            stream.is_begun = false;
        }
    }

    /// The next whole message in what came; `None` when more has to come. Call it until it says so.
    pub fn read(&mut self, buf: &mut BytesMut) -> Result<Option<Message>, Broken> {
        loop {
            if let Some((id, missing)) = self.open {
                let Some(stream) = self.streams.get_mut(&id) else {
                    return Err(Broken::NoBeginning);
                };
                let taken = missing.min(buf.len());
                stream.partial.extend_from_slice(&buf[..taken]);
                buf.advance(taken);
                self.held += taken;
                let max = self.message_bytes_max * 2;
                if self.held > max {
                    return Err(Broken::TooMuchHeld { bytes: self.held, max });
                }
                if taken < missing {
                    self.open = Some((id, missing - taken));
                    return Ok(None);
                }
                self.open = None;
                if stream.partial.len() == stream.length {
                    self.held -= stream.length;
                    stream.is_begun = false;
                    return Ok(Some(Message {
                        kind: stream.kind,
                        stream: stream.belongs_to,
                        timestamp: stream.timestamp,
                        payload: std::mem::take(&mut stream.partial).freeze(),
                    }));
                }
            }
            if !self.begin_chunk(buf)? {
                return Ok(None);
            }
        }
    }

    /// Reads a chunk's header, all of it or nothing. Says whether it was there.
    fn begin_chunk(&mut self, buf: &mut BytesMut) -> Result<bool, Broken> {
        let Some(header) = basic(buf) else { return Ok(false) };
        let fields = [11, 7, 3, 0][usize::from(header.format)];
        if buf.len() < header.bytes + fields {
            return Ok(false);
        }
        if !self.streams.contains_key(&header.id) {
            if header.format == 3 {
                return Err(Broken::NoBeginning);
            }
            if self.streams.len() >= STREAMS_MAX {
                return Err(Broken::TooManyStreams);
            }
        }
        let stream = self.streams.entry(header.id).or_default();
        let told = &buf[header.bytes..header.bytes + fields];
        let field = if fields == 0 { stream.field } else { three(told) };
        let is_extended = if fields == 0 { stream.is_extended } else { field == EXTENDED };
        let mut bytes = header.bytes + fields;
        let mut extended = None;
        if is_extended {
            let Some(next) = buf.get(bytes..bytes + 4) else { return Ok(false) };
            let told = u32::from_be_bytes([next[0], next[1], next[2], next[3]]);
            // Some encoders leave it out where a message goes on: there it is what it was, or it is data.
            if fields > 0 || told == stream.field {
                extended = Some(told);
                bytes += 4;
            }
        }
        let field = extended.unwrap_or(field);
        let goes_on = stream.is_begun;
        if fields >= 7 && !goes_on {
            stream.length = three(&told[3..]) as usize;
            stream.kind = told[6];
        }
        if fields == 11 && !goes_on {
            stream.belongs_to = u32::from_le_bytes([told[7], told[8], told[9], told[10]]);
        }
        if !goes_on {
            stream.timestamp =
                if header.format == 0 { field } else { stream.timestamp.wrapping_add(field) };
            stream.field = field;
            stream.is_extended = is_extended;
            stream.is_begun = true;
            let (bytes, max) = (stream.length, self.message_bytes_max);
            if bytes > max {
                return Err(Broken::TooLong { bytes, max });
            }
        }
        let missing = stream.length.saturating_sub(stream.partial.len()).min(self.chunk_bytes);
        buf.advance(bytes);
        self.open = Some((header.id, missing));
        Ok(true)
    }
}

/// The first one to three bytes: the header's type and the chunk stream.
fn basic(buf: &[u8]) -> Option<Header> {
    let first = *buf.first()?;
    let (id, bytes) = match first & 0x3f {
        0 => (64 + u32::from(*buf.get(1)?), 2),
        1 => (64 + u32::from(*buf.get(1)?) + 256 * u32::from(*buf.get(2)?), 3),
        id => (u32::from(id), 1),
    };
    Some(Header { format: first >> 6, id, bytes })
}

fn three(bytes: &[u8]) -> u32 {
    u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 8 | u32::from(bytes[2])
}

/// Cuts messages into chunks. Each begins with a whole header: a few bytes more, and nothing to get out of step.
#[derive(Debug)]
pub struct Writer {
    chunk_bytes: usize,
}

impl Default for Writer {
    fn default() -> Self {
        Self { chunk_bytes: CHUNK_BYTES }
    }
}

impl Writer {
    /// Our chunks have this size from now on; the other side was told.
    pub fn set_chunk_bytes(&mut self, bytes: usize) {
        self.chunk_bytes = bytes.clamp(1, CHUNK_BYTES_MAX);
    }

    /// Adds a message on chunk stream `id` (2 to 63).
    pub fn write(&self, out: &mut BytesMut, id: u8, message: &Message) {
        let extended = (message.timestamp >= EXTENDED).then_some(message.timestamp);
        out.put_u8(id & 0x3f);
        out.put_uint(u64::from(message.timestamp.min(EXTENDED)), 3);
        out.put_uint(message.payload.len() as u64, 3);
        out.put_u8(message.kind);
        out.put_u32_le(message.stream);
        let mut chunks = message.payload.chunks(self.chunk_bytes);
        if let Some(extended) = extended {
            out.put_u32(extended);
        }
        out.put_slice(chunks.next().unwrap_or_default());
        for chunk in chunks {
            out.put_u8(0xc0 | (id & 0x3f));
            if let Some(extended) = extended {
                out.put_u32(extended);
            }
            out.put_slice(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 1 << 20;

    fn message(kind: u8, timestamp: u32, payload: Vec<u8>) -> Message {
        Message { kind, stream: 1, timestamp, payload: payload.into() }
    }

    fn read_all(reader: &mut Reader, bytes: &[u8]) -> Result<Vec<Message>, Broken> {
        let mut buf = BytesMut::from(bytes);
        let mut out = Vec::new();
        while let Some(message) = reader.read(&mut buf)? {
            out.push(message);
        }
        Ok(out)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_however_it_is_split(
            messages in prop::collection::vec((any::<u8>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..2_000)), 1..6),
            chunk in 1..3_000_usize,
            splits in prop::collection::vec(1..700_usize, 1..20),
        ) {
            let mut writer = Writer::default();
            let mut reader = Reader::new(MAX);
            writer.set_chunk_bytes(chunk);
            reader.set_chunk_bytes(chunk as u32).unwrap();
            let messages: Vec<Message> =
                messages.into_iter().map(|(kind, at, payload)| message(kind, at, payload)).collect();
            let mut wire = BytesMut::new();
            for (n, message) in messages.iter().enumerate() {
                writer.write(&mut wire, 3 + n as u8 % 4, message);
            }
            let (mut buf, mut read, mut at) = (BytesMut::new(), Vec::new(), 0);
            for split in splits.iter().cycle() {
                let end = (at + split).min(wire.len());
                buf.extend_from_slice(&wire[at..end]);
                while let Some(message) = reader.read(&mut buf).unwrap() {
                    read.push(message);
                }
                at = end;
                if at == wire.len() { break; }
            }
            prop_assert_eq!(read, messages);
            prop_assert_eq!(reader.held, 0);
        }

        #[test]
        fn nothing_that_comes_breaks_it_or_makes_it_grow(bytes in prop::collection::vec(any::<u8>(), 0..4_000)) {
            let mut reader = Reader::new(10_000);
            let _ = read_all(&mut reader, &bytes);
            let held: usize = reader.streams.values().map(|stream| stream.partial.capacity()).sum();
            prop_assert!(held <= 64 * 1024, "{}", held);
        }
    }

    #[test]
    fn messages_on_several_chunk_streams_come_apart_again() {
        let (one, two) = (message(9, 40, vec![1; 300]), message(8, 41, vec![2; 300]));
        let writer = Writer::default();
        let cut = |id: u8, it: &Message| {
            let mut out = BytesMut::new();
            writer.write(&mut out, id, it);
            out.split_to(12 + 128).to_vec().into_iter().chain(out).collect::<Vec<u8>>()
        };
        let (a, b) = (cut(4, &one), cut(6, &two));
        // First chunks, then the others in turn.
        let mut wire = a[..140].to_vec();
        wire.extend(&b[..140]);
        wire.extend(&a[140..269]);
        wire.extend(&b[140..]);
        wire.extend(&a[269..]);
        let mut reader = Reader::new(MAX);
        assert_eq!(read_all(&mut reader, &wire).unwrap(), [two, one]);
    }

    #[test]
    fn times_are_absolute_then_told_by_their_distance() {
        let mut wire = vec![0x04, 0, 0, 100, 0, 0, 1, 9, 1, 0, 0, 0, 0xaa];
        wire.extend([0x44, 0, 0, 33, 0, 0, 2, 9, 0xbb, 0xbb]);
        wire.extend([0x84, 0, 0, 34, 0xcc, 0xcc]);
        wire.extend([0xc4, 0xdd, 0xdd]);
        let read = read_all(&mut Reader::new(MAX), &wire).unwrap();
        let told: Vec<_> = read.iter().map(|it| (it.timestamp, it.payload.len())).collect();
        assert_eq!(told, [(100, 1), (133, 2), (167, 2), (201, 2)]);
    }

    #[test]
    fn times_beyond_three_bytes_and_their_wrap() {
        for at in [0x00ff_fffe, 0x00ff_ffff, 0x0100_0000, u32::MAX] {
            let sent = message(9, at, vec![7; 300]);
            let mut wire = BytesMut::new();
            Writer::default().write(&mut wire, 4, &sent);
            assert_eq!(read_all(&mut Reader::new(MAX), &wire).unwrap(), [sent]);
        }
        // A distance that is told in four bytes, below what three could say, and over the wrap.
        let mut wire = vec![0x04, 0xff, 0xff, 0xff, 0, 0, 1, 9, 1, 0, 0, 0];
        wire.extend((u32::MAX - 9).to_be_bytes());
        wire.push(1);
        wire.extend([0x84, 0xff, 0xff, 0xff, 0, 0, 0, 30, 2]);
        let read = read_all(&mut Reader::new(MAX), &wire).unwrap();
        assert_eq!((read[0].timestamp, read[1].timestamp), (u32::MAX - 9, 20));
    }

    #[test]
    fn an_extended_time_that_is_left_out_in_the_midst_is_no_trouble() {
        let mut wire = vec![0x04, 0xff, 0xff, 0xff, 0, 0, 200, 9, 1, 0, 0, 0];
        wire.extend(0x0200_0000_u32.to_be_bytes());
        wire.extend([5; 128]);
        wire.push(0xc4);
        wire.extend([5; 72]);
        let read = read_all(&mut Reader::new(MAX), &wire).unwrap();
        assert_eq!((read[0].timestamp, read[0].payload.len()), (0x0200_0000, 200));
    }

    #[test]
    fn limits_are_held() {
        let read = |wire: &[u8]| read_all(&mut Reader::new(1_000), wire);
        let long = [0x04, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0];
        assert_eq!(read(&long), Err(Broken::TooLong { bytes: 0x00ff_ffff, max: 1_000 }));
        assert_eq!(read(&[0xc4]), Err(Broken::NoBeginning));
        let mut many = Vec::new();
        for id in 0..=64 {
            many.extend([0, id, 0, 0, 0, 0, 0, 200, 9, 1, 0, 0, 0]);
            many.extend([0; 128]);
        }
        let refused = read(&many).unwrap_err();
        assert!(matches!(refused, Broken::TooMuchHeld { max: 2_000, .. }), "{refused:?}");
        let empty: Vec<u8> =
            (0..=64).flat_map(|id| [0, id, 0, 0, 0, 0, 0, 0, 9, 1, 0, 0, 0]).collect();
        assert_eq!(read(&empty), Err(Broken::TooManyStreams));
        assert_eq!(Reader::new(1).set_chunk_bytes(0), Err(Broken::ChunkSize(0)));
    }
}
