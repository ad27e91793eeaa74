//! The door: libsrt asks for each caller, in the middle of its handshake, whether it may come in.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::adapters::srt::encoder::SrtEncoder;
use crate::adapters::srt::ffi::{Epoll, Flag, Hook, Knock, Rejection, Socket};
use crate::adapters::srt::knock::{Refused, key};
use crate::adapters::srt::reader::{Arrival, Reader};
use crate::domain::ids::CameraId;
use crate::ports::PortError;
use crate::ports::demux::Demuxer;
use crate::ports::ingest::{Encoder, Gate, Ingest};
use crate::ports::vault::Secret;

/// Callers at once.
const CALLERS_MAX: usize = 64;
/// Callers that were let in and have not finished their handshake.
const COMING_MAX: usize = 64;
/// A handshake that is not finished by then failed: its passphrase was another one.
const COMING_TIME_MAX: Duration = Duration::from_secs(2);
/// Encoders that wait to be taken.
const READY_MAX: usize = 16;
/// Bytes of a passphrase, and of the key that is made from it (AES-128).
const PASSPHRASE_BYTES: std::ops::RangeInclusive<usize> = 10..=79;
const KEY_BYTES: i32 = 16;
/// How long packets may be held back for those that come late.
const LATENCY_MS: std::ops::RangeInclusive<u128> = 20..=8_000;
/// Bytes that libsrt keeps of a caller: eight seconds of 24 Mbit/s.
const RECEIVE_BYTES: i32 = 24 << 20;

/// How the door is set up.
#[derive(Debug, Clone)]
pub struct SrtSettings {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Encrypts every line; who does not have it is not let in.
    pub passphrase: Option<Secret>,
    /// How long packets are held back for those that come late; a caller may ask for longer.
    pub latency: Duration,
}

/// Why the door does not open.
#[derive(Debug, thiserror::Error)]
pub enum SrtError {
    #[error("the passphrase has {bytes} characters; SRT takes 10 to 79")]
    Passphrase { bytes: usize },
    #[error("a latency of {ms} ms; SRT is of use with 20 to 8,000")]
    Latency { ms: u128 },
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
}

/// An SRT server for publishers.
pub struct SrtIngest {
    address: SocketAddr,
    porch: Arc<Porch>,
    ready: Mutex<mpsc::Receiver<SrtEncoder>>,
    _greeting: AbortOnDropHandle<()>,
    stop: Arc<AtomicBool>,
    reading: Option<thread::JoinHandle<()>>,
}

/// Who comes, and who did not.
pub(super) struct Porch {
    gate: Arc<dyn Gate>,
    coming: StdMutex<BTreeMap<i32, Coming>>,
    pub(super) callers: AtomicUsize,
    key: AtomicU64,
    malformed: AtomicU64,
    crowd: AtomicU64,
}

/// A caller with a key that opens, in the middle of its handshake.
struct Coming {
    camera: CameraId,
    peer: SocketAddr,
    since: Instant,
}

impl SrtIngest {
    /// Listens. What callers send is taken apart by `demuxer`.
    pub fn listen(
        settings: &SrtSettings,
        gate: Arc<dyn Gate>,
        demuxer: Arc<dyn Demuxer>,
    ) -> Result<Self, SrtError> {
        let SrtSettings { address, passphrase, latency } = settings;
        if let Some(bytes) = passphrase.as_ref().map(|it| it.expose().len())
            && !PASSPHRASE_BYTES.contains(&bytes)
        {
            return Err(SrtError::Passphrase { bytes });
        }
        let ms = latency.as_millis();
        if !LATENCY_MS.contains(&ms) {
            return Err(SrtError::Latency { ms });
        }
        let porch = Arc::new(Porch {
            gate,
            coming: StdMutex::default(),
            callers: AtomicUsize::new(0),
            key: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            crowd: AtomicU64::new(0),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let (arrivals, of_arrivals) = mpsc::channel(READY_MAX);
        let listen = || {
            let judge = porch.clone();
            let hook: Arc<Hook> = Arc::new(move |knock: &Knock<'_>| judge.judge(knock));
            let (listener, bound) = open(*address, passphrase.as_ref(), ms as i32, hook)?;
            let epoll = Epoll::create()?;
            epoll.add(&listener)?;
            let reader =
                Reader { listener, epoll, porch: porch.clone(), arrivals, stop: stop.clone() };
            let reading =
                thread::Builder::new().name("srt".to_owned()).spawn(move || reader.run())?;
            io::Result::Ok((bound, reading))
        };
        let (bound, reading) =
            listen().map_err(|source| SrtError::Listen { address: *address, source })?;
        let (sender, ready) = mpsc::channel(READY_MAX);
        let greeting = AbortOnDropHandle::new(tokio::spawn(greet(of_arrivals, demuxer, sender)));
        Ok(Self {
            address: bound,
            porch,
            ready: Mutex::new(ready),
            _greeting: greeting,
            stop,
            reading: Some(reading),
        })
    }

    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for SrtIngest {
    /// Waits for the thread, some hundredths of a second: libsrt ends with the process and must not be asked any more then.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reading) = self.reading.take() {
            // What it panicked of was told when it did.
            let _ = reading.join();
        }
    }
}

fn open(
    address: SocketAddr,
    passphrase: Option<&Secret>,
    latency_ms: i32,
    hook: Arc<Hook>,
) -> io::Result<(Socket, SocketAddr)> {
    let mut listener = Socket::create()?;
    listener.set(Flag::ReceiveWaits, 0)?;
    listener.set(Flag::ReceiveLatency, latency_ms)?;
    listener.set(Flag::ReceiveBytes, RECEIVE_BYTES)?;
    if address.is_ipv6() {
        // `::` takes IPv4, too.
        listener.set(Flag::OnlyIpv6, i32::from(!address.ip().is_unspecified()))?;
    }
    if let Some(passphrase) = passphrase {
        listener.set(Flag::KeyBytes, KEY_BYTES)?;
        listener.set_text(Flag::Passphrase, passphrase.expose())?;
    }
    let bound = listener.bind(address)?;
    listener.listen(READY_MAX as i32, hook)?;
    Ok((listener, bound))
}

/// Has what each caller sends taken apart, from its first byte on.
async fn greet(
    mut arrivals: mpsc::Receiver<Arrival>,
    demuxer: Arc<dyn Demuxer>,
    ready: mpsc::Sender<SrtEncoder>,
) {
    while let Some(arrival) = arrivals.recv().await {
        let peer = arrival.peer;
        match SrtEncoder::begin(arrival, &*demuxer).await {
            // Nobody takes encoders any more: the recorder stops.
            Ok(encoder) => drop(ready.send(encoder).await),
            Err(error) => {
                tracing::error!(%peer, error = error.chain(), "an encoder cannot be taken");
            }
        }
    }
}

impl Porch {
    fn coming(&self) -> MutexGuard<'_, BTreeMap<i32, Coming>> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On libsrt's thread: it answers from memory.
    fn judge(&self, knock: &Knock<'_>) -> Result<(), Rejection> {
        let refused = match self.let_in(knock) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        let (counter, rejection) = match refused {
            Refused::Key => (&self.key, Rejection::Unauthorized),
            Refused::Plays => (&self.key, Rejection::BadMode),
            Refused::Malformed => (&self.malformed, Rejection::BadRequest),
            Refused::Crowd => (&self.crowd, Rejection::Overload),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        tracing::info!(peer = %knock.peer, %refused, "an encoder was not let in");
        Err(rejection)
    }

    fn let_in(&self, knock: &Knock<'_>) -> Result<(), Refused> {
        let camera = self.gate.camera(key(knock.stream_id)?).ok_or(Refused::Key)?;
        let mut coming = self.coming();
        if coming.len() >= COMING_MAX
            || coming.len() + self.callers.load(Ordering::Relaxed) >= CALLERS_MAX
        {
            return Err(Refused::Crowd);
        }
        let since = Instant::now();
        coming.insert(knock.socket, Coming { camera, peer: knock.peer, since });
        Ok(())
    }

    /// The camera of a caller whose handshake is done.
    pub(super) fn camera_of(&self, socket: i32) -> Option<CameraId> {
        self.coming().remove(&socket).map(|it| it.camera)
    }

    /// Counts those whose key opened and whose passphrase did not.
    pub(super) fn forget_who_did_not_come(&self, now: Instant) {
        self.coming().retain(|_, it| {
            let is_late = now.saturating_duration_since(it.since) > COMING_TIME_MAX;
            if is_late {
                self.key.fetch_add(1, Ordering::Relaxed);
                tracing::info!(peer = %it.peer, "an encoder has a key and another passphrase");
            }
            !is_late
        });
    }

    pub(super) fn count_crowd(&self) {
        self.crowd.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Ingest for SrtIngest {
    async fn accept(&self) -> Result<Box<dyn Encoder>, PortError> {
        let encoder = self.ready.lock().await.recv().await;
        let encoder = encoder.ok_or_else(|| PortError::plain("the SRT door is closed"))?;
        Ok(Box::new(encoder))
    }

    fn refused(&self) -> Vec<(&'static str, u64)> {
        let Porch { key, malformed, crowd, .. } = &*self.porch;
        [("key", key), ("malformed", malformed), ("crowd", crowd)]
            .map(|(reason, counter)| (reason, counter.load(Ordering::Relaxed)))
            .to_vec()
    }
}
