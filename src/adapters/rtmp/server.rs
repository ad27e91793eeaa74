//! The door: every peer is heard in a task of its own, for a short while, until it shows a key.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::adapters::rtmp::encoder::RtmpEncoder;
use crate::adapters::rtmp::knock::{Refused, answer};
use crate::ports::PortError;
use crate::ports::ingest::{Encoder, Gate, Ingest};

/// From the connection to a key that opens.
const KNOCK_MAX: Duration = Duration::from_secs(5);
/// Peers without a key that are heard at once.
const KNOCKERS_MAX: usize = 256;
/// Encoders that wait to be taken.
const READY_MAX: usize = 16;
/// Pause after the system gave no connection.
const FAULT_PAUSE: Duration = Duration::from_millis(100);

/// An RTMP server for publishers.
pub struct RtmpIngest {
    address: SocketAddr,
    ready: Mutex<mpsc::Receiver<RtmpEncoder>>,
    counts: Arc<Counts>,
    listening: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    key: AtomicU64,
    malformed: AtomicU64,
    slow: AtomicU64,
    crowd: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl RtmpIngest {
    /// Listens on an address; port 0 takes a free one.
    pub async fn listen(address: SocketAddr, gate: Arc<dyn Gate>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(READY_MAX);
        let counts = Arc::new(Counts::default());
        let listening = tokio::spawn(listen(listener, gate, sender, counts.clone()));
        Ok(Self { address, ready: Mutex::new(ready), counts, listening })
    }

    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for RtmpIngest {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

#[async_trait]
impl Ingest for RtmpIngest {
    async fn accept(&self) -> Result<Box<dyn Encoder>, PortError> {
        let encoder = self.ready.lock().await.recv().await;
        let encoder = encoder.ok_or_else(|| PortError::plain("the RTMP door is closed"))?;
        Ok(Box::new(encoder))
    }

    fn refused(&self) -> Vec<(&'static str, u64)> {
        let Counts { key, malformed, slow, crowd } = &*self.counts;
        [("key", key), ("malformed", malformed), ("slow", slow), ("crowd", crowd)]
            .map(|(reason, counter)| (reason, counter.load(Ordering::Relaxed)))
            .to_vec()
    }
}

async fn listen(
    listener: TcpListener,
    gate: Arc<dyn Gate>,
    ready: mpsc::Sender<RtmpEncoder>,
    counts: Arc<Counts>,
) {
    let places = Arc::new(Semaphore::new(KNOCKERS_MAX));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an encoder");
                tokio::time::sleep(FAULT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            count(&counts.crowd);
            continue;
        };
        let (gate, ready, counts) = (gate.clone(), ready.clone(), counts.clone());
        tokio::spawn(async move {
            hear(stream, peer, &gate, &ready, &counts).await;
            drop(place);
        });
    }
}

async fn hear(
    stream: TcpStream,
    peer: SocketAddr,
    gate: &Arc<dyn Gate>,
    ready: &mpsc::Sender<RtmpEncoder>,
    counts: &Counts,
) {
    // Answers are small and wanted at once.
    let _ = stream.set_nodelay(true);
    let refused = match tokio::time::timeout(KNOCK_MAX, answer(stream, gate)).await {
        Ok(Ok((line, camera))) => {
            // Nobody takes encoders any more: the recorder stops.
            let _ = ready.send(RtmpEncoder::new(line, camera, peer)).await;
            return;
        }
        Ok(Err(refused)) => refused,
        Err(_) => {
            count(&counts.slow);
            tracing::info!(%peer, "an encoder took too long to show its key");
            return;
        }
    };
    count(match refused {
        Refused::Key | Refused::Plays => &counts.key,
        Refused::Malformed(_) | Refused::Io(_) => &counts.malformed,
    });
    tracing::info!(%peer, %refused, "an encoder was not let in");
}
