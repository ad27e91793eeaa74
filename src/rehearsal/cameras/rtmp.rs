//! The line of a pretend camera over RTMP, as a publisher speaks it, no more of it than is needed, and some of it wrong on purpose.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::CameraError;

/// Size of our chunks, in bytes.
const CHUNK: usize = 4_096;
/// Length of a handshake's packet.
const HANDSHAKE: usize = 1_536;
/// Chunk streams: control, commands, media.
const CONTROL_ID: u8 = 2;
const COMMAND_ID: u8 = 3;
const MEDIA_ID: u8 = 6;
/// Types of messages.
const SET_CHUNK_SIZE: u8 = 1;
const COMMAND: u8 = 20;
/// Most of what a server says before it gives leave, in bytes.
const TALK_BYTES_MAX: usize = 64 * 1024;
/// How long the other end is waited for after a goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
/// Where a time is too long for 24 bits.
const EXTENDED: u32 = 0x00ff_ffff;

/// Asks for leave to publish.
pub(super) struct Talk;

/// A line on which a film is sent.
pub(super) struct Line {
    stream: TcpStream,
    out: BytesMut,
    heard: [u8; 4_096],
}

impl Talk {
    /// Shakes hands, connects, publishes.
    pub(super) async fn begin(
        mut stream: TcpStream,
        app: &str,
        url: &str,
        key: &str,
    ) -> Result<Line, CameraError> {
        let mut hello = vec![0; 1 + HANDSHAKE];
        hello[0] = 3;
        // Anything; it comes back.
        hello[9..].iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * 7 % 251) as u8);
        stream.write_all(&hello).await?;
        let mut answer = vec![0; 1 + 2 * HANDSHAKE];
        stream.read_exact(&mut answer).await?;
        stream.write_all(&answer[1..=HANDSHAKE]).await?;

        let mut line = Line { stream, out: BytesMut::new(), heard: [0; 4_096] };
        let size = (CHUNK as u32).to_be_bytes();
        line.put(CONTROL_ID, 0, SET_CHUNK_SIZE, 0, &size, size.len());
        line.command(0, |out| {
            text(out, "connect");
            number(out, 1.0);
            out.put_u8(3);
            for (name, value) in [("app", app), ("type", "nonprivate"), ("tcUrl", url)] {
                property(out, name);
                text(out, value);
            }
            out.put_slice(&[0, 0, 9]);
        });
        line.command(0, |out| {
            text(out, "createStream");
            number(out, 2.0);
            out.put_u8(5);
        });
        line.command(1, |out| {
            text(out, "publish");
            number(out, 3.0);
            out.put_u8(5);
            text(out, key);
            text(out, "live");
        });
        line.flush().await?;
        line.wait_for_leave().await?;
        Ok(line)
    }
}

impl Line {
    /// What the server says goes through chunks; of its words only leave and refusal matter.
    async fn wait_for_leave(&mut self) -> Result<(), CameraError> {
        let mut heard = Vec::new();
        while heard.len() < TALK_BYTES_MAX {
            let read = self.stream.read(&mut self.heard).await?;
            heard.extend_from_slice(&self.heard[..read]);
            let says = |word: &str| heard.windows(word.len()).any(|it| it == word.as_bytes());
            if says("NetStream.Publish.Start") {
                return Ok(());
            }
            if let Some(code) =
                ["NetStream.Publish.BadName", "NetConnection.Connect.Rejected", "_error"]
                    .into_iter()
                    .find(|code| says(code))
            {
                return Err(CameraError::Refused(code.to_owned()));
            }
            if read == 0 {
                return Err(CameraError::Refused("it closed the line".to_owned()));
            }
        }
        Err(CameraError::Refused("it talks without end".to_owned()))
    }

    /// Sends a tag of a film.
    pub(super) async fn tag(&mut self, ms: u32, kind: u8, payload: &[u8]) -> std::io::Result<()> {
        self.put(MEDIA_ID, ms, kind, 1, payload, payload.len());
        self.flush().await
    }

    /// Ends the stream as an encoder does that was stopped, and waits a moment for the other end to close.
    pub(super) async fn goodbye(&mut self) -> std::io::Result<()> {
        self.command(0, |out| {
            text(out, "deleteStream");
            number(out, 4.0);
            out.put_u8(5);
            number(out, 1.0);
        });
        self.flush().await?;
        self.stream.shutdown().await?;
        self.wait_for_end(GOODBYE_MAX).await;
        Ok(())
    }

    /// Sends the first half of a chunk.
    pub(super) async fn half(&mut self, ms: u32, payload: &[u8]) -> std::io::Result<()> {
        self.put(MEDIA_ID, ms, 9, 1, payload, payload.len());
        let half = self.out.len().min(CHUNK) / 2;
        self.out.truncate(half.max(1));
        self.flush().await
    }

    /// Sends a message whose header claims another length than it has.
    pub(super) async fn claiming(
        &mut self,
        ms: u32,
        payload: &[u8],
        claimed: usize,
    ) -> std::io::Result<()> {
        self.put(MEDIA_ID, ms, 9, 1, payload, claimed);
        self.flush().await
    }

    /// Waits until the other end closes.
    pub(super) async fn wait_for_end(&mut self, at_most: Duration) {
        let ended = async { while matches!(self.stream.read(&mut self.heard).await, Ok(1..)) {} };
        let _ = tokio::time::timeout(at_most, ended).await;
    }

    fn command(&mut self, stream: u32, fill: impl FnOnce(&mut BytesMut)) {
        let mut payload = BytesMut::new();
        fill(&mut payload);
        let long = payload.len();
        self.put(COMMAND_ID, 0, COMMAND, stream, &payload, long);
    }

    /// One message in chunks, each with all it needs to be read.
    fn put(&mut self, id: u8, ms: u32, kind: u8, stream: u32, payload: &[u8], claimed: usize) {
        let is_extended = ms >= EXTENDED;
        for (at, chunk) in payload.chunks(CHUNK).enumerate() {
            if at == 0 {
                self.out.put_u8(id);
                self.out.put_uint(u64::from(ms.min(EXTENDED)), 3);
                self.out.put_uint(claimed as u64 & 0x00ff_ffff, 3);
                self.out.put_u8(kind);
                self.out.put_u32_le(stream);
            } else {
                self.out.put_u8(0xc0 | id);
            }
            if is_extended {
                self.out.put_u32(ms);
            }
            self.out.put_slice(chunk);
        }
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        self.stream.write_all(&self.out).await?;
        self.out.clear();
        // Acknowledgements pile up otherwise.
        while matches!(self.stream.try_read(&mut self.heard), Ok(1..)) {}
        Ok(())
    }
}

fn text(out: &mut BytesMut, text: &str) {
    out.put_u8(2);
    property(out, text);
}

fn property(out: &mut BytesMut, name: &str) {
    out.put_u16(name.len() as u16);
    out.put_slice(name.as_bytes());
}

fn number(out: &mut BytesMut, number: f64) {
    out.put_u8(0);
    out.put_f64(number);
}
