//! The client: publishes to a platform, or to ourselves, what it is given as it is. A line that takes no byte, or whose far
//! end says no more that bytes arrive, is dead, however green its socket.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_native_tls::native_tls;
use tokio_util::task::AbortOnDropHandle;

use crate::adapters::rtmp::amf::{self, Value};
use crate::adapters::rtmp::chunks::{Message, Reader, Writer};
use crate::adapters::rtmp::knock::{READ_BYTES, number, values};
use crate::adapters::rtmp::target::Target;
use crate::adapters::rtmp::{handshake, kind, tags};
use crate::domain::live::track::{Codec, Kind, Track};
use crate::ports::ingest::Packet;
use crate::ports::relay::{Publication, PublishError, Publisher, RelayOrder};

/// How long name, connection and TLS may take; how long the talk until leave is given.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const TALK_MAX: Duration = Duration::from_secs(10);
/// A line that makes no progress for so long, although it should, is dead.
const STUCK_MAX: Duration = Duration::from_secs(8);
/// How long the goodbye may take.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
/// After so many bytes we want to hear that they arrived; servers say so at a distance of their own. One that used to and lets
/// four times its distance pass without a word is dead.
const WINDOW_BYTES: u32 = 250_000;
const UNHEARD_WORDS_MAX: u64 = 4;
/// Size of our chunks, and what the system may hold of ours before it is on its way: little, so that a dead line shows.
const CHUNK_BYTES: u32 = 16 * 1024;
const SEND_BUFFER_BYTES: usize = 512 * 1024;
/// Longest message of a server that is believed, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Chunk streams that we write on.
const CONTROL_ID: u8 = 2;
const COMMAND_ID: u8 = 3;
const MEDIA_ID: u8 = 4;
/// Numbers of our commands; what is answered names them.
const CONNECT: f64 = 1.0;
const RELEASE_STREAM: f64 = 2.0;
const FC_PUBLISH: f64 = 3.0;
const CREATE_STREAM: f64 = 4.0;
const PUBLISH: f64 = 5.0;
const GOODBYE: f64 = 6.0;
/// Events of user control messages (RTMP 1.0, 7.1.7).
const PING: u16 = 6;
const PONG: u16 = 7;

/// Publishes over RTMP and RTMPS.
#[derive(Debug, Clone, Copy, Default)]
pub struct RtmpPublisher;

/// A socket, in clear or not.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

#[async_trait]
impl Publisher for RtmpPublisher {
    fn check(&self, order: &RelayOrder) -> Result<(), PublishError> {
        Target::of(order).map(drop)
    }

    async fn open(&self, order: &RelayOrder) -> Result<Box<dyn Publication>, PublishError> {
        let target = Target::of(order)?;
        let socket = timeout(CONNECT_MAX, connect(&target))
            .await
            .map_err(|_| PublishError::Late("connexion"))??;
        let talk = Talk::begin(socket, target);
        let publication =
            timeout(TALK_MAX, talk).await.map_err(|_| PublishError::Late("publication"))??;
        Ok(Box::new(publication))
    }
}

async fn connect(target: &Target) -> Result<Box<dyn Socket>, PublishError> {
    let unreachable = |error: io::Error| PublishError::Unreachable(error.to_string());
    let stream =
        TcpStream::connect((target.host.as_str(), target.port)).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    // What the system refuses here only makes a dead line show later.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES);
    if !target.is_tls {
        return Ok(Box::new(stream));
    }
    let tls = |error: native_tls::Error| PublishError::Unreachable(error.to_string());
    let connector = native_tls::TlsConnector::new().map_err(tls)?;
    let connector = tokio_native_tls::TlsConnector::from(connector);
    Ok(Box::new(connector.connect(&target.host, stream).await.map_err(tls)?))
}

/// The conversation up to the leave to publish.
struct Talk {
    socket: Box<dyn Socket>,
    reader: Reader,
    buf: BytesMut,
    out: Out,
    target: Target,
}

/// What is still to be written.
#[derive(Default)]
struct Out {
    writer: Writer,
    bytes: BytesMut,
}

impl Out {
    fn number(&mut self, kind: u8, number: u32) {
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        let message = Message { kind, stream: 0, timestamp: 0, payload };
        self.writer.write(&mut self.bytes, CONTROL_ID, &message);
    }

    fn command(&mut self, stream: u32, name: &str, ticket: f64, values: Vec<Value>) {
        let mut all = vec![Value::text(name), Value::Number(ticket)];
        all.extend(values);
        let payload = amf::encode(&all);
        let message = Message { kind: kind::COMMAND, stream, timestamp: 0, payload };
        self.writer.write(&mut self.bytes, COMMAND_ID, &message);
    }
}

impl Talk {
    async fn begin(
        mut socket: Box<dyn Socket>,
        target: Target,
    ) -> Result<RtmpPublication, PublishError> {
        handshake::introduce(&mut socket).await.map_err(broke)?;
        let mut talk = Self {
            socket,
            reader: Reader::new(MESSAGE_BYTES_MAX),
            buf: BytesMut::with_capacity(READ_BYTES),
            out: Out::default(),
            target,
        };
        let stream = talk.ask().await?;
        let Self { socket, reader, buf, out, target } = talk;
        let heard = Arc::new(Heard::new(target));
        let (read, write) = tokio::io::split(socket);
        let reading = tokio::spawn(listen(read, reader, buf, heard.clone()));
        Ok(RtmpPublication {
            write,
            out,
            heard,
            _reading: AbortOnDropHandle::new(reading),
            stream,
            tracks: Vec::new(),
            timestamp: 0,
            written: 0,
        })
    }

    async fn ask(&mut self) -> Result<u32, PublishError> {
        let key = || Value::text(self.target.stream.expose());
        let (release, publish) = (vec![Value::Null, key()], vec![Value::Null, key()]);
        let wanted = vec![Value::Null, key(), Value::text("live")];
        self.out.number(kind::CHUNK_SIZE, CHUNK_BYTES);
        self.out.writer.set_chunk_bytes(CHUNK_BYTES as usize);
        self.out.number(kind::WINDOW, WINDOW_BYTES);
        let connection = vec![connection(&self.target)];
        self.out.command(0, "connect", CONNECT, connection);
        self.answer_to(CONNECT).await?;
        self.out.command(0, "releaseStream", RELEASE_STREAM, release);
        self.out.command(0, "FCPublish", FC_PUBLISH, publish);
        self.out.command(0, "createStream", CREATE_STREAM, vec![Value::Null]);
        let created = self.answer_to(CREATE_STREAM).await?;
        let stream = created.get(3).and_then(Value::as_number).unwrap_or(1.0) as u32;
        self.out.command(stream, "publish", PUBLISH, wanted);
        loop {
            let message = self.message().await?;
            if heed(&message, &self.target)?.as_deref() == Some("NetStream.Publish.Start") {
                return Ok(stream);
            }
        }
    }

    async fn answer_to(&mut self, ticket: f64) -> Result<Vec<Value>, PublishError> {
        loop {
            let message = self.message().await?;
            heed(&message, &self.target)?;
            if matches!(message.kind, kind::COMMAND | kind::COMMAND_AMF3) {
                let values = values(&message).map_err(malformed)?;
                let name = values.first().and_then(Value::as_text);
                let told = values.get(1).and_then(Value::as_number).unwrap_or_default();
                // Small whole numbers, told back as they were sent.
                if name == Some("_result") && (told - ticket).abs() < 0.5 {
                    return Ok(values);
                }
            }
        }
    }

    async fn message(&mut self) -> Result<Message, PublishError> {
        self.socket.write_all_buf(&mut self.out.bytes).await.map_err(broke)?;
        loop {
            if let Some(message) = self.reader.read(&mut self.buf).map_err(malformed)? {
                if message.kind == kind::CHUNK_SIZE {
                    let size = number(&message.payload).unwrap_or(0);
                    self.reader.set_chunk_bytes(size).map_err(malformed)?;
                }
                return Ok(message);
            }
            if self.socket.read_buf(&mut self.buf).await.map_err(broke)? == 0 {
                return Err(PublishError::Gone);
            }
        }
    }
}

fn connection(target: &Target) -> Value {
    let codecs = ["hvc1", "av01", "Opus"].map(Value::text).to_vec();
    Value::Object(vec![
        ("app".to_owned(), Value::text(&target.app)),
        ("type".to_owned(), Value::text("nonprivate")),
        ("flashVer".to_owned(), Value::text("FMLE/3.0 (compatible; SPARK)")),
        ("tcUrl".to_owned(), Value::Text(target.url())),
        ("fourCcList".to_owned(), Value::List(codecs)),
    ])
}

/// The code of a status, if the message is one. A status of the level « error » is an error.
fn heed(message: &Message, target: &Target) -> Result<Option<String>, PublishError> {
    if !matches!(message.kind, kind::COMMAND | kind::COMMAND_AMF3) {
        return Ok(None);
    }
    let values = values(message).map_err(malformed)?;
    let ticket = values.get(1).and_then(Value::as_number).unwrap_or_default();
    let is_error = match values.first().and_then(Value::as_text) {
        Some("onStatus") => false,
        // Some servers know no `releaseStream` and no `FCPublish`, and take the stream all the same.
        Some("_error") => !(RELEASE_STREAM..=FC_PUBLISH).contains(&ticket),
        Some("close") => return Err(PublishError::Gone),
        _ => return Ok(None),
    };
    let about = values.iter().skip(2).find(|value| matches!(value, Value::Object(_)));
    let field = |name: &str| {
        let text = about.and_then(|about| about.get(name)).and_then(Value::as_text);
        target.redacted(text.unwrap_or_default())
    };
    if is_error || field("level") == "error" {
        return Err(PublishError::Refused { code: field("code"), reason: field("description") });
    }
    Ok(Some(field("code")))
}

/// What the server says while it is published to.
struct Heard {
    target: Target,
    /// Bytes it says it received, modulo 2³², and when it said so last.
    acknowledged: AtomicU64,
    /// The most bytes between two words of that, as far as known.
    apart: AtomicU64,
    told_at: Mutex<Option<Instant>>,
    /// Pings that wait for their answer.
    pings: Mutex<Vec<[u8; 4]>>,
    ended: Mutex<Option<PublishError>>,
}

impl Heard {
    fn new(target: Target) -> Self {
        Self {
            target,
            acknowledged: AtomicU64::new(0),
            apart: AtomicU64::new(WINDOW_BYTES.into()),
            told_at: Mutex::default(),
            pings: Mutex::default(),
            ended: Mutex::default(),
        }
    }

    fn hear(&self, message: &Message) -> Result<(), PublishError> {
        match message.kind {
            kind::ACKNOWLEDGEMENT => {
                let bytes = number(&message.payload).unwrap_or_default();
                let before = self.acknowledged.swap(bytes.into(), Relaxed) as u32;
                self.apart.fetch_max(bytes.wrapping_sub(before).into(), Relaxed);
                *hold(&self.told_at) = Some(Instant::now());
            }
            kind::USER_CONTROL => {
                let event = message.payload.get(..2).map(|it| u16::from_be_bytes([it[0], it[1]]));
                let stamp = message.payload.get(2..6).and_then(|it| it.try_into().ok());
                if let (Some(PING), Some(stamp)) = (event, stamp) {
                    hold(&self.pings).push(stamp);
                }
            }
            _ => {
                heed(message, &self.target)?;
            }
        }
        Ok(())
    }
}

fn hold<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hears the server until it ends.
async fn listen(
    mut read: ReadHalf<Box<dyn Socket>>,
    mut reader: Reader,
    mut buf: BytesMut,
    heard: Arc<Heard>,
) {
    let ended = async {
        loop {
            while let Some(message) = reader.read(&mut buf).map_err(malformed)? {
                if message.kind == kind::CHUNK_SIZE {
                    let size = number(&message.payload).unwrap_or(0);
                    reader.set_chunk_bytes(size).map_err(malformed)?;
                }
                heard.hear(&message)?;
            }
            if read.read_buf(&mut buf).await.map_err(broke)? == 0 {
                return Err::<(), _>(PublishError::Gone);
            }
        }
    };
    if let Err(error) = ended.await {
        hold(&heard.ended).get_or_insert(error);
    }
}

/// A stream that a server takes.
struct RtmpPublication {
    write: WriteHalf<Box<dyn Socket>>,
    out: Out,
    heard: Arc<Heard>,
    _reading: AbortOnDropHandle<()>,
    stream: u32,
    tracks: Vec<Track>,
    /// That of the last packet.
    timestamp: u32,
    written: u64,
}

impl RtmpPublication {
    fn media(&mut self, kind: u8, payload: Bytes) {
        let (stream, timestamp) = (self.stream, self.timestamp);
        let message = Message { kind, stream, timestamp, payload };
        self.out.writer.write(&mut self.out.bytes, MEDIA_ID, &message);
    }

    fn codec(&self, kind: Kind) -> Option<Codec> {
        self.tracks.iter().map(|track| track.codec).find(|codec| codec.kind() == kind)
    }

    async fn flush(&mut self) -> Result<(), PublishError> {
        if let Some(ended) = hold(&self.heard.ended).take() {
            return Err(ended);
        }
        for stamp in std::mem::take(&mut *hold(&self.heard.pings)) {
            let mut payload = BytesMut::with_capacity(6);
            payload.put_u16(PONG);
            payload.put_slice(&stamp);
            let (kind, payload) = (kind::USER_CONTROL, payload.freeze());
            let message = Message { kind, stream: 0, timestamp: 0, payload };
            self.out.writer.write(&mut self.out.bytes, CONTROL_ID, &message);
        }
        let stuck = || PublishError::Stuck { seconds: STUCK_MAX.as_secs() };
        while !self.out.bytes.is_empty() {
            let written = timeout(STUCK_MAX, self.write.write_buf(&mut self.out.bytes));
            let written = written.await.map_err(|_| stuck())?.map_err(broke)?;
            self.written += written as u64;
        }
        timeout(STUCK_MAX, self.write.flush()).await.map_err(|_| stuck())?.map_err(broke)?;
        if self.is_unheard() { Err(stuck()) } else { Ok(()) }
    }

    /// Whether a server that used to say what it received has let much pass in silence.
    fn is_unheard(&self) -> bool {
        let Some(told_at) = *hold(&self.heard.told_at) else { return false };
        let acknowledged = self.heard.acknowledged.load(Relaxed) as u32;
        let missing = (self.written as u32).wrapping_sub(acknowledged);
        // What is counted since the greeting may differ by as much as that is long.
        u64::from(missing) > UNHEARD_WORDS_MAX * self.heard.apart.load(Relaxed)
            && missing < u32::MAX / 2
            && told_at.elapsed() > STUCK_MAX
    }
}

#[async_trait]
impl Publication for RtmpPublication {
    async fn track(&mut self, track: &Track, dts: i64) -> Result<(), PublishError> {
        self.timestamp = tags::milliseconds(dts);
        self.tracks.retain(|known| known.kind() != track.kind());
        self.tracks.push(track.clone());
        let payload = amf::encode(&tags::metadata(&self.tracks));
        self.media(kind::DATA, payload);
        self.media(tags::message_kind(track.kind()), tags::track(track));
        self.flush().await
    }

    async fn send(&mut self, packet: &Packet) -> Result<(), PublishError> {
        // What no parameters were told for cannot be decoded by anybody.
        let Some(codec) = self.codec(packet.kind) else { return Ok(()) };
        self.timestamp = tags::milliseconds(packet.dts);
        self.media(tags::message_kind(packet.kind), tags::packet(codec, packet));
        self.flush().await
    }

    fn sent_bytes(&self) -> u64 {
        self.written
    }

    async fn finish(mut self: Box<Self>) {
        let key = Value::text(self.heard.target.stream.expose());
        self.out.command(0, "FCUnpublish", GOODBYE, vec![Value::Null, key]);
        let number = Value::Number(self.stream.into());
        self.out.command(0, "deleteStream", GOODBYE, vec![Value::Null, number]);
        let goodbye = async {
            self.flush().await?;
            self.write.shutdown().await.map_err(broke)
        };
        // Who is gone already hears nothing.
        let _ = timeout(GOODBYE_MAX, goodbye).await;
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where an error is turned into ours")]
fn broke(error: io::Error) -> PublishError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => PublishError::Gone,
        _ => PublishError::Broke(error.to_string()),
    }
}

fn malformed(error: impl std::fmt::Display) -> PublishError {
    PublishError::Malformed(error.to_string())
}
