//! The thread that reads all callers: it asks libsrt what there is and hands it on, and never waits for anybody.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::adapters::srt::ffi::{Epoll, Received, Socket, Stats};
use crate::adapters::srt::server::Porch;
use crate::domain::ids::CameraId;
use crate::ports::ingest::{Leave, LineGauge, LineReading};

/// Longest look at the sockets: so late is noticed who was sent away.
const LOOK_MAX: Duration = Duration::from_millis(50);
/// The same while a caller's last packets are awaited.
const LOOK_WHILE_ENDING: Duration = Duration::from_millis(10);
/// What a caller's last packets may take beyond the latency of its line.
const LAST_PACKETS_MARGIN: Duration = Duration::from_millis(100);
/// Bytes of one caller that may wait to be taken apart: half a minute of a usual feed. Over SRT nobody can be asked to wait.
pub(super) const WAITING_BYTES_MAX: usize = 24 << 20;
/// Bytes read of one caller before it is the next one's turn, and of one message at most (SRT's own limit).
const TURN_BYTES: usize = 64 * 1024;
const MESSAGE_BYTES_MAX: usize = 1_456;

/// What the thread and an encoder know of one line.
#[derive(Default)]
pub(super) struct Line {
    /// Bytes that wait to be taken apart.
    waiting: AtomicUsize,
    /// Bytes that came at all.
    came: AtomicU64,
    /// Why nothing comes any more.
    left: OnceLock<Leave>,
    /// How it was when it was looked at last.
    reading: Mutex<Option<LineReading>>,
}

impl LineGauge for Line {
    fn read(&self) -> Option<LineReading> {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    pub(super) fn taken(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }

    pub(super) fn left(&self) -> Option<Leave> {
        self.left.get().cloned()
    }
}

/// A caller that was let in, before what it sends is taken apart.
pub(super) struct Arrival {
    pub camera: CameraId,
    pub peer: SocketAddr,
    pub line: Arc<Line>,
    pub pieces: mpsc::UnboundedReceiver<Bytes>,
}

struct Caller {
    socket: Socket,
    camera: CameraId,
    peer: SocketAddr,
    line: Arc<Line>,
    pieces: mpsc::UnboundedSender<Bytes>,
    /// It is gone; what is still held back for its turn comes until then.
    ends: Option<Instant>,
    stats: Stats,
}

/// What the thread works with.
pub(super) struct Reader {
    pub listener: Socket,
    pub epoll: Epoll,
    pub porch: Arc<Porch>,
    pub arrivals: mpsc::Sender<Arrival>,
    pub stop: Arc<AtomicBool>,
}

impl Reader {
    /// Reads until it is stopped; then everybody's line is closed.
    pub(super) fn run(self) {
        let mut callers: BTreeMap<i32, Caller> = BTreeMap::new();
        let mut buf = vec![0; TURN_BYTES];
        while !self.stop.load(Ordering::Relaxed) {
            let is_ending = callers.values().any(|caller| caller.ends.is_some());
            for (number, is_broken) in
                self.epoll.look(if is_ending { LOOK_WHILE_ENDING } else { LOOK_MAX })
            {
                if number == self.listener.number() {
                    self.accept(&mut callers);
                } else if let Some(caller) = callers.get_mut(&number)
                    && (!caller.read(&mut buf) || is_broken)
                {
                    // It would be told for ever: what is left is asked for below.
                    self.epoll.remove(&caller.socket);
                    caller.begin_to_end();
                }
            }
            let now = Instant::now();
            callers.retain(|_, caller| !caller.is_over(now, &mut buf));
            self.porch.forget_who_did_not_come(now);
            self.porch.callers.store(callers.len(), Ordering::Relaxed);
        }
    }

    fn accept(&self, callers: &mut BTreeMap<i32, Caller>) {
        while let Some((socket, peer)) = self.listener.accept() {
            let Some(camera) = self.porch.camera_of(socket.number()) else { continue };
            let (pieces, of_pieces) = mpsc::unbounded_channel();
            let line = Arc::new(Line::default());
            let arrival = Arrival { camera, peer, line: line.clone(), pieces: of_pieces };
            if self.epoll.add(&socket).is_err() || self.arrivals.try_send(arrival).is_err() {
                self.porch.count_crowd();
                tracing::warn!(%peer, "an encoder came while too many wait to be taken");
                continue;
            }
            let number = socket.number();
            let stats = Stats::default();
            let caller = Caller { socket, camera, peer, line, pieces, ends: None, stats };
            callers.insert(number, caller);
        }
    }
}

impl Caller {
    /// Hands on what there is now; `false` when the line is broken.
    fn read(&mut self, buf: &mut [u8]) -> bool {
        let mut filled = 0;
        let mut is_whole = true;
        while buf.len() - filled >= MESSAGE_BYTES_MAX {
            match self.socket.receive(&mut buf[filled..]) {
                Received::Bytes(read) => filled += read,
                Received::NothingNow => break,
                Received::Broken => {
                    is_whole = false;
                    break;
                }
            }
        }
        if filled > 0 {
            self.line.came.fetch_add(filled as u64, Ordering::Relaxed);
            let waiting = self.line.waiting.fetch_add(filled, Ordering::Relaxed) + filled;
            if waiting > WAITING_BYTES_MAX {
                let limit = format!("{} MB that wait to be taken apart", waiting >> 20);
                let _ = self.line.left.set(Leave::TooMuch { limit });
            }
            // Nobody there any more is noticed below.
            let _ = self.pieces.send(Bytes::copy_from_slice(&buf[..filled]));
        }
        is_whole
    }

    fn begin_to_end(&mut self) {
        let last = self.socket.latency() + LAST_PACKETS_MARGIN;
        self.ends.get_or_insert_with(|| Instant::now() + last);
    }

    /// Whether nothing more is to come, or nobody takes it any more; tells how the line was.
    fn is_over(&mut self, now: Instant, buf: &mut [u8]) -> bool {
        if let Some(stats) = self.socket.stats() {
            self.stats = stats;
            let mut reading = self.line.reading.lock().unwrap_or_else(PoisonError::into_inner);
            *reading = Some(reading_of(&stats));
        }
        if let Some(ends) = self.ends {
            self.read(buf);
            if now >= ends {
                let _ = self.line.left.set(Leave::Gone);
            }
        }
        if self.line.left.get().is_none() && !self.pieces.is_closed() {
            return false;
        }
        let Stats { rtt_ms, packets, lost, retransmitted, dropped, bytes } = self.stats;
        let (camera, peer) = (self.camera, self.peer);
        tracing::info!(
            %camera, %peer, rtt_ms, packets, lost, retransmitted, dropped, bytes,
            "an SRT line closed"
        );
        true
    }
}

fn reading_of(stats: &Stats) -> LineReading {
    // Counters of libsrt are signed; they never go below zero.
    let count = |packets: i64| u64::try_from(packets).unwrap_or(0);
    LineReading {
        rtt_ms: stats.rtt_ms,
        packets: count(stats.packets),
        lost: count(stats.lost),
        retransmitted: count(stats.retransmitted),
        dropped: count(stats.dropped),
    }
}
