//! What a demuxing child says: frames on its stdout, each a kind, a length and so many bytes. Numbers are big-endian.
//!
//! The child may have been taken over by what it read. Whatever it writes costs its own caller at most: every field is
//! checked, and memory grows with what has come.

use std::io;
use std::time::Instant;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::domain::live::parameters;
use crate::domain::live::track::{Codec, Form, Kind, Track};
use crate::ports::ingest::{Leave, PACKET_BYTES_MAX, Packet};

/// Longest frame, in bytes: a packet with its times.
const FRAME_BYTES_MAX: usize = PACKET_BYTES_MAX + 64;
/// Longest configuration of a decoder, in bytes.
pub(super) const CONFIG_BYTES_MAX: usize = 64 * 1024;
/// Longest sentence, in bytes.
const SENTENCE_BYTES_MAX: usize = 1_024;
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// Times beyond this are nobody's, in ticks: a hundred thousand years.
const TICKS_MAX: i64 = 1 << 58;
/// Samples a frame of sound may have.
const SAMPLES_MAX: u32 = 5_760;

mod tag {
    pub(super) const PICTURE_TRACK: u8 = 1;
    pub(super) const SOUND_TRACK: u8 = 2;
    pub(super) const PICTURE: u8 = 3;
    pub(super) const SOUND: u8 = 4;
    pub(super) const MALFORMED: u8 = 5;
    pub(super) const UNFIT: u8 = 6;
    pub(super) const TOO_MUCH: u8 = 7;
}

const CODECS: [(u8, Codec); 3] = [(1, Codec::H264), (2, Codec::Hevc), (3, Codec::Aac)];

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Track(Track),
    /// When it came is not written: whoever reads it says so.
    Packet(Packet),
    /// Why the child gives up; the last it says.
    Leave(Leave),
}

/// What no child of ours writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Garbage {
    #[error("a frame of {0} bytes")]
    Long(usize),
    #[error("a frame of kind {0}")]
    Kind(u8),
    #[error("a frame whose fields cannot be")]
    Fields,
    #[error("an end in the middle of a frame")]
    Torn,
}

/// Puts a frame behind what is to be written. What no child says is not written: a leave that is the other side's to know.
pub fn encode(frame: &Frame, out: &mut Vec<u8>) {
    let begun = out.len();
    out.put_u8(0);
    out.put_u32(0);
    let kind = match frame {
        Frame::Track(Track { codec, config, form }) => {
            let number = CODECS.iter().find(|(_, it)| it == codec).map_or(0, |(number, _)| *number);
            out.put_u8(number);
            let kind = match form {
                Form::Picture { width, height } => {
                    out.put_u32(*width);
                    out.put_u32(*height);
                    tag::PICTURE_TRACK
                }
                Form::Sound { rate, channels } => {
                    out.put_u32(*rate);
                    out.put_u32(u32::from(*channels));
                    tag::SOUND_TRACK
                }
            };
            out.put_slice(config);
            kind
        }
        Frame::Packet(packet) => {
            out.put_i64(packet.dts);
            out.put_i64(packet.pts);
            out.put_u32(packet.samples);
            out.put_u8(u8::from(packet.is_key));
            out.put_slice(&packet.data);
            if packet.kind == Kind::Picture { tag::PICTURE } else { tag::SOUND }
        }
        Frame::Leave(leave) => {
            let (kind, words) = match leave {
                Leave::Unfit { reason } => (tag::UNFIT, reason),
                Leave::TooMuch { limit } => (tag::TOO_MUCH, limit),
                Leave::Malformed { reason } => (tag::MALFORMED, reason),
                other => (tag::MALFORMED, &other.to_string()),
            };
            let mut words = words.as_str();
            while words.len() > SENTENCE_BYTES_MAX {
                words = &words[..words.len() - words.chars().next_back().map_or(1, char::len_utf8)];
            }
            out.put_slice(words.as_bytes());
            kind
        }
    };
    out[begun] = kind;
    let length = (out.len() - begun - 5) as u32;
    out[begun + 1..begun + 5].copy_from_slice(&length.to_be_bytes());
}

/// Takes the next frame off what has come; none while it is not whole.
pub fn decode(buf: &mut BytesMut, arrived: Instant) -> Result<Option<Frame>, Garbage> {
    let Some(head) = buf.get(..5) else { return Ok(None) };
    let kind = head[0];
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let most = match kind {
        tag::PICTURE_TRACK | tag::SOUND_TRACK => CONFIG_BYTES_MAX + 64,
        tag::PICTURE | tag::SOUND => FRAME_BYTES_MAX,
        tag::MALFORMED | tag::UNFIT | tag::TOO_MUCH => SENTENCE_BYTES_MAX,
        _ => return Err(Garbage::Kind(kind)),
    };
    if length > most {
        return Err(Garbage::Long(length));
    }
    if buf.len() < 5 + length {
        return Ok(None);
    }
    buf.advance(5);
    let body = buf.split_to(length).freeze();
    let frame = match kind {
        tag::PICTURE_TRACK | tag::SOUND_TRACK => track(kind, body),
        tag::PICTURE | tag::SOUND => packet(kind, body, arrived),
        _ => leave(kind, &body),
    };
    frame.ok_or(Garbage::Fields).map(Some)
}

fn track(kind: u8, mut body: Bytes) -> Option<Frame> {
    let number = body.try_get_u8().ok()?;
    let codec = CODECS.iter().find(|(it, _)| *it == number).map(|(_, codec)| *codec)?;
    let (first, second) = (body.try_get_u32().ok()?, body.try_get_u32().ok()?);
    let form = match (kind, codec.kind()) {
        (tag::PICTURE_TRACK, Kind::Picture) => {
            let (width, height) = parameters::sized(first, second)?;
            Form::Picture { width, height }
        }
        (tag::SOUND_TRACK, Kind::Sound) => {
            let channels = u8::try_from(second).ok().filter(|it| (1..=8).contains(it))?;
            let rate = Some(first).filter(|rate| (4_000..=192_000).contains(rate))?;
            Form::Sound { rate, channels }
        }
        _ => return None,
    };
    let is_told = !body.is_empty() && body.len() <= CONFIG_BYTES_MAX;
    is_told.then(|| Frame::Track(Track { codec, config: body.to_vec(), form }))
}

fn packet(kind: u8, mut body: Bytes, arrived: Instant) -> Option<Frame> {
    let (dts, pts) = (body.try_get_i64().ok()?, body.try_get_i64().ok()?);
    let (samples, is_key) = (body.try_get_u32().ok()?, body.try_get_u8().ok()? != 0);
    let is_time = |ticks: i64| (-TICKS_MAX..TICKS_MAX).contains(&ticks);
    let (kind, is_whole) = match kind {
        tag::PICTURE => (Kind::Picture, samples == 0),
        _ => (Kind::Sound, (1..=SAMPLES_MAX).contains(&samples)),
    };
    let fits = is_time(dts) && is_time(pts) && is_whole;
    let data = body;
    (fits && !data.is_empty() && data.len() <= PACKET_BYTES_MAX).then(|| {
        let is_key = is_key || kind == Kind::Sound;
        Frame::Packet(Packet { kind, dts, pts, samples, is_key, data, arrived })
    })
}

fn leave(kind: u8, body: &[u8]) -> Option<Frame> {
    let words = std::str::from_utf8(body).ok()?.to_owned();
    Some(Frame::Leave(match kind {
        tag::UNFIT => Leave::Unfit { reason: words },
        tag::TOO_MUCH => Leave::TooMuch { limit: words },
        _ => Leave::Malformed { reason: words },
    }))
}

/// The frames of a child, as they come.
pub(super) struct Frames<R> {
    from: R,
    buf: BytesMut,
    last_read: Instant,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, buf: BytesMut::new(), last_read: Instant::now() }
    }

    /// The next frame; none at the end. Losing the future loses no bytes.
    pub(super) async fn next(&mut self) -> io::Result<Result<Option<Frame>, Garbage>> {
        loop {
            match decode(&mut self.buf, self.last_read) {
                Ok(None) => {}
                told => return Ok(told),
            }
            self.buf.reserve(READ_BYTES);
            if self.from.read_buf(&mut self.buf).await? == 0 {
                return Ok(if self.buf.is_empty() { Ok(None) } else { Err(Garbage::Torn) });
            }
            self.last_read = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_were_written() {
        let arrived = Instant::now();
        let picture = Form::Picture { width: 1_920, height: 1_080 };
        let sound = Form::Sound { rate: 48_000, channels: 2 };
        let packet = |kind, samples, is_key| {
            let data = Bytes::from(vec![7; 3_000]);
            Frame::Packet(Packet { kind, dts: -5, pts: 1 << 40, samples, is_key, data, arrived })
        };
        let frames = [
            Frame::Track(Track { codec: Codec::Hevc, config: vec![1; 90], form: picture }),
            Frame::Track(Track { codec: Codec::Aac, config: vec![0x11, 0x90], form: sound }),
            packet(Kind::Picture, 0, true),
            packet(Kind::Picture, 0, false),
            packet(Kind::Sound, 1_024, true),
            Frame::Leave(Leave::Unfit { reason: "MP2 sound".to_owned() }),
        ];
        let mut wire = Vec::new();
        for frame in &frames {
            encode(frame, &mut wire);
        }
        let (mut buf, mut read) = (BytesMut::new(), Vec::new());
        for piece in wire.chunks(11) {
            buf.extend_from_slice(piece);
            while let Some(frame) = decode(&mut buf, arrived).unwrap() {
                read.push(frame);
            }
        }
        assert_eq!((read, buf.len()), (frames.to_vec(), 0));
    }

    #[test]
    fn what_no_child_writes_is_garbage() {
        let told = |bytes: &[u8]| decode(&mut bytes.into(), Instant::now());
        assert_eq!(told(b"HTTP/1.1"), Err(Garbage::Kind(b'H')));
        assert_eq!(told(&[3, 0xff, 0, 0, 0]), Err(Garbage::Long(0xff00_0000)));
        assert_eq!(told(&[5, 0, 0, 4, 1]), Err(Garbage::Long(1_025)));
        assert_eq!(told(&[1, 0, 0, 0, 1, 9]), Err(Garbage::Fields));
        let mut sentence = Vec::new();
        encode(&Frame::Leave(Leave::Malformed { reason: "é".repeat(900) }), &mut sentence);
        assert!(matches!(told(&sentence), Ok(Some(Frame::Leave(_)))), "cut, not refused");
    }
}
