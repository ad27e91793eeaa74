//! From the greeting to a stream key that opens: whoever did not get here gets little memory and little time.

use std::io;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::adapters::rtmp::amf::{self, Value};
use crate::adapters::rtmp::chunks::{Broken, Message, Reader, Writer};
use crate::adapters::rtmp::{handshake, kind};
use crate::domain::ids::CameraId;
use crate::ports::ingest::Gate;

/// Longest message before a key was shown, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Messages before a key was shown; encoders send about eight.
const MESSAGES_MAX: usize = 64;
/// Our window and the size of our chunks, in bytes.
pub(super) const WINDOW_BYTES: u32 = 2_500_000;
const CHUNK_BYTES: u32 = 4_096;
/// Bytes read at once.
pub(super) const READ_BYTES: usize = 64 * 1024;
/// The message stream that a publisher gets.
pub(super) const STREAM: u32 = 1;
/// Chunk streams that we write on.
const CONTROL_ID: u8 = 2;
const COMMAND_ID: u8 = 3;

/// Why nobody was let in.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("its key opens nothing")]
    Key,
    #[error("it wants to play, not to publish")]
    Plays,
    #[error("what came is no RTMP: {0}")]
    Malformed(String),
    #[error("the connection broke")]
    Io(#[from] io::Error),
}

impl From<Broken> for Refused {
    fn from(broken: Broken) -> Self {
        Self::Malformed(broken.to_string())
    }
}

/// A connection with its two halves of the chunk stream.
pub(super) struct Line {
    pub(super) stream: TcpStream,
    pub(super) buf: BytesMut,
    pub(super) reader: Reader,
    writer: Writer,
    /// What is still to be written.
    pub(super) out: BytesMut,
    /// Bytes that came since the greeting.
    pub(super) received: u64,
}

impl Line {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buf: BytesMut::with_capacity(READ_BYTES),
            reader: Reader::new(MESSAGE_BYTES_MAX),
            writer: Writer::default(),
            out: BytesMut::new(),
            received: 0,
        }
    }

    /// Puts a message of the connection's own behind what is still to be written.
    pub(super) fn control(&mut self, kind: u8, payload: Bytes) {
        let message = Message { kind, stream: 0, timestamp: 0, payload };
        self.writer.write(&mut self.out, CONTROL_ID, &message);
    }

    fn number(&mut self, kind: u8, number: u32) {
        self.control(kind, Bytes::copy_from_slice(&number.to_be_bytes()));
    }

    fn command(&mut self, stream: u32, values: &[Value]) {
        let payload = amf::encode(values);
        let message = Message { kind: kind::COMMAND, stream, timestamp: 0, payload };
        self.writer.write(&mut self.out, COMMAND_ID, &message);
    }

    /// Tells a publisher how its stream stands.
    pub(super) fn status(&mut self, level: &str, code: &str, description: &str) {
        let status = object(&[("level", level), ("code", code), ("description", description)]);
        self.command(STREAM, &[Value::text("onStatus"), Value::Number(0.0), Value::Null, status]);
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all_buf(&mut self.out).await
    }

    async fn message(&mut self) -> Result<Message, Refused> {
        loop {
            if let Some(message) = self.reader.read(&mut self.buf)? {
                return Ok(message);
            }
            let read = self.stream.read_buf(&mut self.buf).await?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.received += read as u64;
        }
    }
}

fn object(fields: &[(&str, &str)]) -> Value {
    let fields = fields.iter().map(|(name, text)| ((*name).to_owned(), Value::text(text)));
    Value::Object(fields.collect())
}

/// Values of a command; those that come as AMF3 begin with a byte that says AMF0.
pub(super) fn values(message: &Message) -> Result<Vec<Value>, amf::AmfError> {
    let is_amf3 = matches!(message.kind, kind::COMMAND_AMF3 | kind::DATA_AMF3);
    let skipped = usize::from(is_amf3 && message.payload.first() == Some(&0));
    amf::decode(message.payload.slice(skipped..))
}

/// Greets, listens to what is wanted, and lets in who shows a key that the gate knows. The caller limits the time.
pub(super) async fn answer(
    mut stream: TcpStream,
    gate: &Arc<dyn Gate>,
) -> Result<(Line, CameraId), Refused> {
    if !handshake::greet(&mut stream).await? {
        return Err(Refused::Malformed("another greeting".to_owned()));
    }
    let mut line = Line::new(stream);
    let mut app = String::new();
    for _ in 0..MESSAGES_MAX {
        let message = line.message().await?;
        match message.kind {
            kind::CHUNK_SIZE => {
                let size = number(&message.payload).unwrap_or(0);
                line.reader.set_chunk_bytes(size)?;
            }
            kind::ABORT => line.reader.abort(number(&message.payload).unwrap_or(0)),
            kind::COMMAND | kind::COMMAND_AMF3 => {
                let values = values(&message).map_err(|e| Refused::Malformed(e.to_string()))?;
                if let Some(camera) = command(&mut line, &values, &mut app, gate).await? {
                    line.flush().await?;
                    return Ok((line, camera));
                }
                line.flush().await?;
            }
            // Windows, bandwidths, pings: nothing before a key.
            _ => {}
        }
    }
    Err(Refused::Malformed("much talk and no key".to_owned()))
}

pub(super) fn number(payload: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(payload.get(..4)?.try_into().ok()?))
}

async fn command(
    line: &mut Line,
    values: &[Value],
    app: &mut String,
    gate: &Arc<dyn Gate>,
) -> Result<Option<CameraId>, Refused> {
    let name = values.first().and_then(Value::as_text).unwrap_or_default();
    let ticket = Value::Number(values.get(1).and_then(Value::as_number).unwrap_or(0.0));
    match name {
        "connect" => {
            let told = values.get(2).and_then(|it| it.get("app")).and_then(Value::as_text);
            told.unwrap_or_default().clone_into(app);
            line.number(kind::WINDOW, WINDOW_BYTES);
            let mut bandwidth = BytesMut::new();
            bandwidth.put_u32(WINDOW_BYTES);
            bandwidth.put_u8(2);
            line.control(kind::BANDWIDTH, bandwidth.freeze());
            line.number(kind::CHUNK_SIZE, CHUNK_BYTES);
            line.writer.set_chunk_bytes(CHUNK_BYTES as usize);
            line.command(0, &[Value::text("_result"), ticket, server(), connected()]);
        }
        "createStream" => {
            let stream = Value::Number(f64::from(STREAM));
            line.command(0, &[Value::text("_result"), ticket, Value::Null, stream]);
        }
        "releaseStream" | "FCPublish" => {
            line.command(0, &[Value::text("_result"), ticket, Value::Null, Value::Null]);
        }
        "publish" => {
            let told = values.get(3).and_then(Value::as_text).unwrap_or_default();
            let Some(camera) = gate.camera(key(app, told)) else {
                line.status("error", "NetStream.Publish.BadName", "this stream key opens nothing");
                line.flush().await?;
                return Err(Refused::Key);
            };
            line.status("status", "NetStream.Publish.Start", "recording");
            return Ok(Some(camera));
        }
        "play" => {
            line.status("error", "NetStream.Play.Failed", "nothing is played here");
            line.flush().await?;
            return Err(Refused::Plays);
        }
        _ => {}
    }
    Ok(None)
}

/// The stream key: the name that is published, or the end of the address where somebody wrote it there.
fn key<'a>(app: &'a str, name: &'a str) -> &'a str {
    let bare = |text: &'a str| text.split('?').next().unwrap_or_default().trim_matches('/');
    match bare(name) {
        "" => bare(app).rsplit('/').next().unwrap_or_default(),
        name => name.rsplit('/').next().unwrap_or_default(),
    }
}

fn server() -> Value {
    let codecs = ["avc1", "hvc1", "av01", "mp4a", "Opus"].map(Value::text).to_vec();
    Value::Object(vec![
        ("fmsVer".to_owned(), Value::text("FMS/3,0,1,123")),
        ("capabilities".to_owned(), Value::Number(31.0)),
        ("fourCcList".to_owned(), Value::List(codecs)),
    ])
}

fn connected() -> Value {
    let mut status = object(&[
        ("level", "status"),
        ("code", "NetConnection.Connect.Success"),
        ("description", "come in"),
    ]);
    if let Value::Object(fields) = &mut status {
        fields.push(("objectEncoding".to_owned(), Value::Number(0.0)));
    }
    status
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn the_key_is_the_published_name_or_the_end_of_the_address() {
        assert_eq!(key("live", "abc"), "abc");
        assert_eq!(key("live", "abc?bandwidthtest=true"), "abc");
        assert_eq!(key("live/abc", ""), "abc");
        assert_eq!(key("live/", "villa/abc/"), "abc");
        assert_eq!(key("", ""), "");
    }
}
