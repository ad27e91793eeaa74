//! The readers: live pages on real connections, each with what it was shown, counted, and how late every line was.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::bench::audience::sent_at;

/// Readers that come from one address: a house lets 256 connections of one in.
const READERS_PER_ADDRESS: usize = 128;
/// Longest wait until all readers have their first frame.
const JOIN_MAX: Duration = Duration::from_mins(1);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Read at once at most, in bytes.
const READ_BYTES_MAX: usize = 16 * 1024;
/// Longest frame that is believed, in bytes.
const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Width of a step of the lateness, and how many there are: up to ten seconds.
const STEP_US: u64 = 250;
const STEPS: usize = 40_000;

/// How late lines were.
pub(super) struct Lateness(Vec<AtomicU32>);

impl Default for Lateness {
    fn default() -> Self {
        Self((0..STEPS).map(|_| AtomicU32::new(0)).collect())
    }
}

impl Lateness {
    fn note(&self, late: Duration) {
        let step = (late.as_micros() as u64 / STEP_US).min(STEPS as u64 - 1);
        self.0[step as usize].fetch_add(1, Relaxed);
    }

    /// Lines noted.
    pub(super) fn lines(&self) -> u64 {
        self.0.iter().map(|step| u64::from(step.load(Relaxed))).sum()
    }

    /// The lateness that this share of all lines stays within, in milliseconds.
    pub(super) fn share_ms(&self, share: f64) -> f64 {
        let wanted = (self.lines() as f64 * share).ceil() as u64;
        let mut so_far = 0;
        let step = self.0.iter().position(|step| {
            so_far += u64::from(step.load(Relaxed));
            so_far >= wanted
        });
        (step.unwrap_or(STEPS) + 1) as f64 * STEP_US as f64 / 1e3
    }
}

/// What all readers saw together.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) lateness: Lateness,
    pub(super) frames: AtomicU64,
    pub(super) bytes: AtomicU64,
}

/// One reader.
pub(super) struct Reader {
    /// Its channel's index.
    pub(super) channel: usize,
    own: Arc<Own>,
}

/// What one reader saw.
#[derive(Default)]
struct Own {
    has_begun: AtomicBool,
    has_ended: AtomicBool,
    shown: AtomicU64,
    counted: AtomicU64,
}

impl Reader {
    /// Lines that this page was shown, since its first frame.
    pub(super) fn shown(&self) -> u64 {
        self.own.shown.load(Relaxed)
    }

    /// Messages that reached this page, shown or only counted, since its first frame.
    pub(super) fn reached(&self) -> u64 {
        self.shown() + self.own.counted.load(Relaxed)
    }

    /// Whether its connection is gone.
    pub(super) fn has_ended(&self) -> bool {
        self.own.has_ended.load(Relaxed)
    }
}

/// All readers; their connections end with this value.
pub(super) struct Readers {
    pub(super) seen: Arc<Seen>,
    pub(super) each: Vec<Reader>,
    _connections: JoinSet<()>,
}

impl Readers {
    /// Opens so many live pages, on all channels in turn, and waits until each has its first frame. `begun` is what the
    /// instants in the messages count from.
    pub(super) async fn open(
        house: SocketAddr,
        cookie: &str,
        channels: &[String],
        count: usize,
        begun: Instant,
    ) -> io::Result<Self> {
        let seen = Arc::new(Seen::default());
        let (mut each, mut connections) = (Vec::with_capacity(count), JoinSet::new());
        for index in 0..count {
            let channel = index % channels.len();
            let stream = connect(house, cookie, &channels[channel], index).await?;
            let own = Arc::new(Own::default());
            each.push(Reader { channel, own: own.clone() });
            let seen = seen.clone();
            connections.spawn(async move {
                let page = Page { own: &own, seen: &seen, begun };
                // Whatever ended it: it is told as ended.
                let _ = page.read(stream).await;
                own.has_ended.store(true, Relaxed);
            });
        }
        let asked = Instant::now();
        while !each.iter().all(|reader| reader.own.has_begun.load(Relaxed)) {
            if asked.elapsed() > JOIN_MAX {
                return Err(io::Error::other("not every live page had its first frame in time"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(Self { seen, each, _connections: connections })
    }
}

pub(super) async fn connect(
    house: SocketAddr,
    cookie: &str,
    channel: &str,
    index: usize,
) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let neighbour = 1 + index / READERS_PER_ADDRESS;
    socket.bind((Ipv4Addr::new(127, 0, 0, neighbour.min(254) as u8), 0).into())?;
    let mut stream = socket.connect(house).await?;
    let asked = format!(
        "GET /direct/{channel}/flux HTTP/1.1\r\nhost: {house}\r\ncookie: {cookie}\r\n\
         accept: text/event-stream\r\n\r\n"
    );
    stream.write_all(asked.as_bytes()).await?;
    Ok(stream)
}

/// The part of a frame that is looked at.
#[derive(Deserialize)]
struct Frame {
    whole: bool,
    lines: Vec<Line>,
    more: u64,
}

#[derive(Deserialize)]
struct Line {
    text: String,
}

/// A page at work.
struct Page<'a> {
    own: &'a Own,
    seen: &'a Seen,
    begun: Instant,
}

impl Page<'_> {
    async fn read(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut held = Vec::with_capacity(READ_BYTES_MAX);
        loop {
            held.reserve(READ_BYTES_MAX);
            let read = stream.read_buf(&mut held).await?;
            if read == 0 || held.len() > FRAME_BYTES_MAX {
                return Ok(());
            }
            let now = self.begun.elapsed();
            self.seen.bytes.fetch_add(read as u64, Relaxed);
            // Heads and lengths of chunks stand on lines of their own, an event's data on one.
            let Some(end) = held.iter().rposition(|byte| *byte == b'\n') else { continue };
            for line in held[..end].split(|byte| *byte == b'\n') {
                if let Some(data) = line.strip_prefix(b"data: ") {
                    self.apply(&serde_json::from_slice(data)?, now);
                }
            }
            held.drain(..=end);
        }
    }

    fn apply(&self, frame: &Frame, now: Duration) {
        self.seen.frames.fetch_add(1, Relaxed);
        if frame.whole {
            // What was said before this page was opened is not late.
            self.own.has_begun.store(true, Relaxed);
            return;
        }
        self.own.shown.fetch_add(frame.lines.len() as u64, Relaxed);
        self.own.counted.fetch_add(frame.more, Relaxed);
        for sent in frame.lines.iter().filter_map(|line| sent_at(&line.text)) {
            self.seen.lateness.note(now.saturating_sub(sent));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_lateness() {
        let lateness = Lateness::default();
        for late in 1..=100 {
            lateness.note(Duration::from_millis(late));
        }
        assert_eq!(lateness.lines(), 100);
        assert!((lateness.share_ms(0.5) - 50.25).abs() < 0.01, "{}", lateness.share_ms(0.5));
        assert!((lateness.share_ms(0.99) - 99.25).abs() < 0.01, "{}", lateness.share_ms(0.99));
        lateness.note(Duration::from_hours(1));
        assert!(lateness.share_ms(1.0) >= 10_000.0);
    }
}
