//! A client's socket with deadlines: on the first byte and the first head (hyper's look at the protocol version has none),
//! and on a client that stops reading.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::web::server::ServerLimits;

pub(super) struct Socket {
    stream: TcpStream,
    limits: ServerLimits,
    connected: Instant,
    has_spoken: bool,
    /// Set when a first request has come in whole; from then on hyper keeps the time.
    heard: Arc<AtomicBool>,
    head_due: Pin<Box<Sleep>>,
    /// Armed while the client takes nothing.
    write_due: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, limits: ServerLimits, heard: Arc<AtomicBool>) -> Self {
        let connected = Instant::now();
        let head_due = Box::pin(sleep_until(connected + limits.first_byte));
        Self { stream, limits, connected, has_spoken: false, heard, head_due, write_due: None }
    }

    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        wrote: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.write_due = None;
            return wrote;
        }
        let stall = self.limits.write_stall;
        let due =
            self.write_due.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + stall)));
        ready!(due.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading")))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.heard.load(Ordering::Relaxed) && this.head_due.as_mut().poll(cx).is_ready() {
            let late = io::Error::new(io::ErrorKind::TimedOut, "no request in time");
            return Poll::Ready(Err(late));
        }
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if read.is_ready() && !this.has_spoken {
            this.has_spoken = true;
            this.head_due.as_mut().reset(this.connected + this.limits.head);
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.written(cx, wrote)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.written(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
