//! Accepts connections with limits on everything a client could draw out: the first byte, the head, a stalled read, how
//! many connections and streams. (axum's own server sets no timer, so hyper's header limit stays off there.)

mod socket;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::web::guard::Peer;
use crate::web::server::socket::Socket;
use crate::web::throttle::network;

/// How much a client may draw out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// From the connection to its first byte.
    pub first_byte: Duration,
    /// From the connection to a whole first head, and for each head after that.
    pub head: Duration,
    /// A client that takes nothing of a response for this long is let go. A paused player asks again by range.
    pub write_stall: Duration,
    /// Connections of one address (IPv6: of one /64). Raise it behind a proxy, where all come from one.
    pub connections_per_address: usize,
    /// Connections of everybody together.
    pub connections: usize,
    /// HTTP/2 streams of one connection.
    pub streams_per_connection: u32,
    /// From the request to stop until what is still under way is cut off.
    pub stop: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(5),
            head: Duration::from_secs(10),
            write_stall: Duration::from_mins(2),
            connections_per_address: 256,
            connections: 8_192,
            streams_per_connection: 64,
            stop: Duration::from_secs(10),
        }
    }
}

/// Pause after the system refused a connection for want of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often an idle HTTP/2 connection is asked whether it lives, and how long its answer may take.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_ANSWER_MAX: Duration = Duration::from_secs(10);
/// Largest head of an HTTP/2 request, in bytes.
const HEAD_BYTES_MAX: u32 = 16 * 1024;
/// Most header lines of an HTTP/1 request.
const HEADER_LINES_MAX: usize = 64;
/// Read buffer of an HTTP/1 connection, and so its largest head, in bytes.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Serves until `stop`, then finishes what is under way within its limit.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ServerLimits,
    stop: CancellationToken,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    tracing::info!(%address, "listening on {address}");
    let line = Arc::new(Line { router, limits, protocol: protocol(limits) });
    let room = Arc::new(Semaphore::new(limits.connections));
    let seats = Seats::default();
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            place = room.clone().acquire_owned() => place.expect("nobody closes this semaphore"),
        };
        let accepted = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break None,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => break Some(accepted),
            }
        };
        let (stream, peer) = match accepted {
            None => break,
            Some(Ok(accepted)) => accepted,
            Some(Err(error)) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(seat) = seats.take(peer.ip(), limits.connections_per_address) else {
            tracing::debug!(%peer, "refused a connection: its address has too many");
            continue;
        };
        let (line, watcher) = (line.clone(), graceful.watcher());
        connections.spawn(async move {
            line.talk(stream, Peer(peer), watcher).await;
            drop((seat, place));
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.stop, graceful.shutdown()).await.is_err() {
        tracing::warn!(connections = connections.len(), "cut off what was still under way");
    }
    connections.shutdown().await;
    Ok(())
}

fn protocol(limits: ServerLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(HEADER_LINES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection)
        .max_header_list_size(HEAD_BYTES_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER_MAX);
    builder
}

struct Line {
    router: Router,
    limits: ServerLimits,
    protocol: Builder<TokioExecutor>,
}

impl Line {
    async fn talk(&self, stream: TcpStream, peer: Peer, watcher: Watcher) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone at once");
            return;
        }
        let heard = Arc::new(AtomicBool::new(false));
        let socket = Socket::new(stream, self.limits, heard.clone());
        let router = self.router.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            heard.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(peer);
            router.clone().call(request.map(Body::new))
        });
        let connection = self
            .protocol
            .serve_connection_with_upgrades(TokioIo::new(socket), service)
            .into_owned();
        if let Err(error) = watcher.watch(connection).await {
            // A client's doing, not ours: closed early, too slow, not HTTP.
            tracing::debug!(error, peer = %peer.0, "a connection ended early");
        }
    }
}

/// Who sits where: connections by address.
#[derive(Debug, Clone, Default)]
struct Seats(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Seats {
    fn take(&self, address: IpAddr, seats_max: usize) -> Option<Seat> {
        let address = network(address);
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = taken.entry(address).or_insert(0);
        if *here >= seats_max {
            return None;
        }
        *here += 1;
        Some(Seat { seats: self.clone(), address })
    }
}

/// One connection's place; free again when dropped.
struct Seat {
    seats: Seats,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = taken.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                taken.remove(&self.address);
            }
        }
    }
}
