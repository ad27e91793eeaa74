//! An encoder that was let in: its messages become tracks and packets, at the pace they are asked for.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::adapters::rtmp::amf::Value;
use crate::adapters::rtmp::chunks::{Broken, Message};
use crate::adapters::rtmp::flv::{self, Held, Size};
use crate::adapters::rtmp::kind;
use crate::adapters::rtmp::knock::{Line, READ_BYTES, WINDOW_BYTES, number, values};
use crate::domain::ids::CameraId;
use crate::domain::live::track::{Kind, TICKS_PER_S, Track};
use crate::ports::ingest::{Encoder, Leave, PACKET_BYTES_MAX, Packet, Sent};

/// An encoder that says nothing for so long is gone.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Longest goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// Answers that an encoder does not take, in bytes; one that lets so many wait is broken.
const ANSWERS_BYTES_MAX: usize = 64 * 1024;
const TICKS_PER_MS: i64 = TICKS_PER_S / 1_000;
/// Events of user control messages (RTMP 1.0, 7.1.7).
const PING: u16 = 6;
const PONG: u16 = 7;

/// An encoder on its connection.
pub(super) struct RtmpEncoder {
    line: Line,
    camera: CameraId,
    peer: SocketAddr,
    pending: VecDeque<Sent>,
    clock: Clock,
    /// The size it told of besides.
    size: Size,
    tracks: Vec<Track>,
    /// Bytes after which it wants to hear how many came, and how many it heard of.
    window: u64,
    acknowledged: u64,
    last_read: Instant,
}

/// Undoes the wrap of 32 bits of milliseconds.
#[derive(Debug, Default)]
struct Clock {
    last: Option<(u32, i64)>,
}

impl Clock {
    fn ms(&mut self, timestamp: u32) -> i64 {
        let ms = match self.last {
            // Nearer than half the range, before or after.
            Some((told, ms)) => ms + i64::from(timestamp.wrapping_sub(told).cast_signed()),
            None => i64::from(timestamp),
        };
        self.last = Some((timestamp, ms));
        ms
    }
}

impl RtmpEncoder {
    pub(super) fn new(mut line: Line, camera: CameraId, peer: SocketAddr) -> Self {
        line.reader.allow(PACKET_BYTES_MAX);
        Self {
            line,
            camera,
            peer,
            pending: VecDeque::new(),
            clock: Clock::default(),
            size: None,
            tracks: Vec::new(),
            window: u64::from(WINDOW_BYTES),
            acknowledged: 0,
            last_read: Instant::now(),
        }
    }

    fn hear(&mut self, message: &Message) -> Result<(), Leave> {
        let malformed = |reason: String| Leave::Malformed { reason };
        match message.kind {
            kind::CHUNK_SIZE => {
                let size = number(&message.payload).unwrap_or(0);
                self.line.reader.set_chunk_bytes(size).map_err(|e| malformed(e.to_string()))?;
            }
            kind::ABORT => self.line.reader.abort(number(&message.payload).unwrap_or(0)),
            kind::WINDOW => {
                let window = number(&message.payload).unwrap_or(0);
                self.window = u64::from(window.clamp(64 * 1024, 64 << 20));
            }
            kind::USER_CONTROL => self.control(&message.payload),
            kind::SOUND => self.take(message, flv::sound(message.payload.clone()))?,
            kind::PICTURE => {
                self.take(message, flv::picture(message.payload.clone(), self.size))?;
            }
            kind::DATA | kind::DATA_AMF3 => {
                let values = values(message).map_err(|e| malformed(e.to_string()))?;
                let names = values.iter().take(2).filter_map(Value::as_text);
                if names.into_iter().any(|name| name == "onMetaData")
                    && let Some(data) = values.iter().find(|it| matches!(it, Value::Object(_)))
                {
                    let (about, size) = flv::about(data);
                    self.size = size.or(self.size);
                    self.pending.push_back(Sent::About(about));
                }
            }
            kind::COMMAND | kind::COMMAND_AMF3 => {
                let values = values(message).map_err(|e| malformed(e.to_string()))?;
                let name = values.first().and_then(Value::as_text);
                if matches!(name, Some("FCUnpublish" | "deleteStream" | "closeStream")) {
                    return Err(Leave::Ended);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn take(&mut self, message: &Message, held: Held) -> Result<(), Leave> {
        let (kind, is_key, offset_ms, samples, data) = match held {
            Held::Track(track) => {
                if !self.tracks.contains(&track) {
                    self.tracks.retain(|other| other.kind() != track.kind());
                    self.tracks.push(track.clone());
                    self.pending.push_back(Sent::Track(track));
                }
                return Ok(());
            }
            Held::Picture { is_key, offset_ms, data } => {
                (Kind::Picture, is_key, offset_ms, 0, data)
            }
            Held::Sound { samples, data } => (Kind::Sound, true, 0, samples, data),
            Held::Nothing => return Ok(()),
            Held::Unfit(reason) => {
                self.line.status("error", "NetStream.Publish.Rejected", &reason);
                return Err(Leave::Unfit { reason });
            }
        };
        let ms = self.clock.ms(message.timestamp);
        // What no parameters were told for cannot be decoded by anybody.
        if !self.tracks.iter().any(|track| track.kind() == kind) {
            return Ok(());
        }
        self.pending.push_back(Sent::Packet(Packet {
            kind,
            dts: ms * TICKS_PER_MS,
            pts: (ms + i64::from(offset_ms)) * TICKS_PER_MS,
            samples,
            is_key,
            data,
            arrived: self.last_read,
        }));
        Ok(())
    }

    fn control(&mut self, payload: &[u8]) {
        let event = payload.get(..2).map(|it| u16::from_be_bytes([it[0], it[1]]));
        if event == Some(PING) {
            let mut answer = BytesMut::with_capacity(6);
            answer.put_u16(PONG);
            answer.put_slice(payload.get(2..6).unwrap_or(&[0; 4]));
            self.line.control(kind::USER_CONTROL, answer.freeze());
        }
    }

    /// Says how many bytes came, when that is due.
    fn acknowledge(&mut self) {
        if self.line.received - self.acknowledged >= self.window / 2 {
            self.acknowledged = self.line.received;
            // It wraps, as the protocol has it.
            let bytes = (self.line.received as u32).to_be_bytes();
            self.line.control(kind::ACKNOWLEDGEMENT, Bytes::copy_from_slice(&bytes));
        }
    }

    /// Writes what can be written without waiting.
    fn answer(&mut self) -> Result<(), Leave> {
        while !self.line.out.is_empty() {
            match self.line.stream.try_write(&self.line.out) {
                Ok(written) => drop(self.line.out.split_to(written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Err(Leave::Gone),
            }
        }
        if self.line.out.len() > ANSWERS_BYTES_MAX {
            return Err(Leave::TooMuch { limit: "answers that nobody reads".to_owned() });
        }
        Ok(())
    }
}

#[async_trait]
impl Encoder for RtmpEncoder {
    fn camera(&self) -> CameraId {
        self.camera
    }

    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn protocol(&self) -> &'static str {
        "rtmp"
    }

    async fn next(&mut self) -> Result<Sent, Leave> {
        loop {
            if let Some(sent) = self.pending.pop_front() {
                return Ok(sent);
            }
            match self.line.reader.read(&mut self.line.buf) {
                Ok(Some(message)) => {
                    self.hear(&message)?;
                    continue;
                }
                Ok(None) => {}
                Err(broken @ (Broken::TooLong { .. } | Broken::TooMuchHeld { .. })) => {
                    return Err(Leave::TooMuch { limit: broken.to_string() });
                }
                Err(broken) => return Err(Leave::Malformed { reason: broken.to_string() }),
            }
            self.acknowledge();
            self.answer()?;
            self.line.buf.reserve(READ_BYTES);
            let deadline = tokio::time::Instant::from_std(self.last_read + SILENCE_MAX);
            let read = self.line.stream.read_buf(&mut self.line.buf);
            match tokio::time::timeout_at(deadline, read).await {
                Err(_) => return Err(Leave::Silent { seconds: SILENCE_MAX.as_secs() }),
                Ok(Ok(0) | Err(_)) => return Err(Leave::Gone),
                Ok(Ok(read)) => {
                    self.line.received += read as u64;
                    self.last_read = Instant::now();
                }
            }
        }
    }

    async fn dismiss(mut self: Box<Self>, why: &str) {
        self.line.status("error", "NetStream.Unpublish.Success", why);
        let goodbye = async {
            self.line.flush().await?;
            self.line.stream.shutdown().await
        };
        // Who is gone already hears nothing.
        let _ = tokio::time::timeout(GOODBYE_MAX, goodbye).await;
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn a_clock_of_32_bits_goes_on_after_its_wrap() {
        let mut clock = Clock::default();
        let mut told = |at: u32| clock.ms(at);
        assert_eq!(told(u32::MAX - 10), i64::from(u32::MAX) - 10);
        assert_eq!(told(9), i64::from(u32::MAX) + 10);
        assert_eq!(told(u32::MAX), i64::from(u32::MAX), "sound may lag behind pictures");
        assert_eq!(told(40), i64::from(u32::MAX) + 41);
    }
}
