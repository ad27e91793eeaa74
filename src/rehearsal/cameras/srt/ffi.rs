//! libsrt as a caller has it, and the one unsafe module of the rehearsal. A socket is a number that libsrt looks up under
//! its own locks: a wrong one is an error it tells, never a wild pointer. Every buffer lent to it is lent for one call.
#![expect(unsafe_code, reason = "libsrt is a C library, and no crate wraps it")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::net::SocketAddr;
use std::sync::Once;

#[link(name = "srt-gnutls")]
unsafe extern "C" {
    fn srt_startup() -> c_int;
    fn srt_setloglevel(level: c_int);
    fn srt_create_socket() -> c_int;
    fn srt_close(socket: c_int) -> c_int;
    fn srt_connect(socket: c_int, name: *const SockAddr, length: c_int) -> c_int;
    fn srt_setsockflag(socket: c_int, flag: c_int, value: *const c_void, length: c_int) -> c_int;
    fn srt_send(socket: c_int, buf: *const c_char, length: c_int) -> c_int;
    fn srt_getsndbuffer(socket: c_int, blocks: *mut usize, bytes: *mut usize) -> c_int;
    fn srt_getsockstate(socket: c_int) -> c_int;
    fn srt_getrejectreason(socket: c_int) -> c_int;
    fn srt_getlasterror(system: *mut c_int) -> c_int;
    fn srt_getlasterror_str() -> *const c_char;
}

/// `SRT_EASYNCSND`: no room to take more now. `SRT_ECONNREJ`: the other side let nobody in.
const NO_ROOM_NOW: c_int = 6_001;
const REJECTED: c_int = 1_002;
/// `SRTS_CONNECTED`.
const CONNECTED: c_int = 5;
/// Only what is critical is written to stderr by libsrt itself (`LOG_CRIT`).
const LOG_LEVEL: c_int = 2;
/// Families of addresses on Linux.
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Options of a socket (`SRT_SOCKOPT`).
#[derive(Debug, Clone, Copy)]
enum Flag {
    SendWaits = 1,
    Passphrase = 26,
    DropsAfter = 32,
    PeerLatency = 44,
    StreamId = 46,
}

/// A `sockaddr_in` or a `sockaddr_in6`: the larger of the two.
#[repr(C, align(4))]
#[derive(Clone, Copy)]
struct SockAddr([u8; 28]);

impl SockAddr {
    fn of(address: SocketAddr) -> (Self, c_int) {
        let mut bytes = [0; 28];
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let (family, length) = match address {
            SocketAddr::V4(address) => {
                bytes[4..8].copy_from_slice(&address.ip().octets());
                (AF_INET, 16)
            }
            SocketAddr::V6(address) => {
                bytes[4..8].copy_from_slice(&address.flowinfo().to_be_bytes());
                bytes[8..24].copy_from_slice(&address.ip().octets());
                bytes[24..].copy_from_slice(&address.scope_id().to_ne_bytes());
                (AF_INET6, 28)
            }
        };
        bytes[..2].copy_from_slice(&family.to_ne_bytes());
        (Self(bytes), length)
    }
}

/// What a caller says of itself, and how it wants to be heard.
pub(super) struct Terms<'a> {
    pub stream_id: &'a str,
    pub passphrase: Option<&'a str>,
    /// How long the other side shall hold packets back for those that come late, at least.
    pub latency_ms: i32,
}

/// Why nobody is on the line.
#[derive(Debug)]
pub(super) enum Unconnected {
    /// The other side said no, with this code: below 1,000 libsrt's own, above it as HTTP has them.
    Rejected(i32),
    Broke(io::Error),
}

impl From<io::Error> for Unconnected {
    fn from(error: io::Error) -> Self {
        Self::Broke(error)
    }
}

/// What became of a message.
pub(super) enum Sent {
    Taken,
    /// There is no room for it now.
    NotNow,
    Broken(io::Error),
}

/// A caller on its line; dropped, it hangs up, and what was not sent is lost.
pub(super) struct Caller(c_int);

impl Caller {
    /// Calls, and waits for the answer: at most three seconds, libsrt's own limit.
    pub(super) fn call(address: SocketAddr, terms: &Terms<'_>) -> Result<Self, Unconnected> {
        start();
        // SAFETY: takes nothing, returns a number.
        let number = unsafe { srt_create_socket() };
        done(number)?;
        let caller = Self(number);
        // What it counts, it sends: nothing is left out because it waited for long.
        caller.set(Flag::DropsAfter, -1)?;
        caller.set(Flag::PeerLatency, terms.latency_ms)?;
        caller.set_text(Flag::StreamId, terms.stream_id)?;
        if let Some(passphrase) = terms.passphrase {
            caller.set_text(Flag::Passphrase, passphrase)?;
        }
        let (name, length) = SockAddr::of(address);
        // SAFETY: `name` holds an address of that length, read during the call.
        if unsafe { srt_connect(number, &raw const name, length) } < 0 {
            let broke = last_error();
            // SAFETY: no system error is asked for; the other takes a number.
            let (code, reason) =
                unsafe { (srt_getlasterror(std::ptr::null_mut()), srt_getrejectreason(number)) };
            return Err(if code == REJECTED {
                Unconnected::Rejected(reason)
            } else {
                Unconnected::Broke(broke)
            });
        }
        caller.set(Flag::SendWaits, 0)?;
        Ok(caller)
    }

    /// Hands a message over, of 1,316 bytes at most; waits for nothing.
    pub(super) fn send(&self, message: &[u8]) -> Sent {
        let length = c_int::try_from(message.len()).unwrap_or(c_int::MAX);
        // SAFETY: the message has that length and is copied during the call.
        if unsafe { srt_send(self.0, message.as_ptr().cast(), length) } >= 0 {
            return Sent::Taken;
        }
        let error = last_error();
        // SAFETY: no system error is asked for.
        if unsafe { srt_getlasterror(std::ptr::null_mut()) } == NO_ROOM_NOW {
            Sent::NotNow
        } else {
            Sent::Broken(error)
        }
    }

    /// Bytes the other side has not acknowledged; `None` when the line broke.
    pub(super) fn waiting(&self) -> Option<usize> {
        let (mut blocks, mut bytes) = (0, 0);
        // SAFETY: both are ours and are written during the call.
        let code = unsafe { srt_getsndbuffer(self.0, &raw mut blocks, &raw mut bytes) };
        (code >= 0 && self.is_there()).then_some(bytes.max(blocks))
    }

    /// Whether the other side is still there.
    pub(super) fn is_there(&self) -> bool {
        // SAFETY: takes a number.
        unsafe { srt_getsockstate(self.0) == CONNECTED }
    }

    fn set(&self, flag: Flag, value: i32) -> io::Result<()> {
        let length = size_of::<i32>() as c_int;
        // SAFETY: `value` is an int of that length, read during the call.
        done(unsafe { srt_setsockflag(self.0, flag as c_int, (&raw const value).cast(), length) })
    }

    fn set_text(&self, flag: Flag, text: &str) -> io::Result<()> {
        let length = c_int::try_from(text.len()).unwrap_or(c_int::MAX);
        // SAFETY: the text has that length and is copied during the call.
        done(unsafe { srt_setsockflag(self.0, flag as c_int, text.as_ptr().cast(), length) })
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // SAFETY: takes a number that is this value's alone.
        unsafe { srt_close(self.0) };
    }
}

fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // SAFETY: both may be called at any time; libsrt counts its starts and ends itself with the process.
        unsafe {
            srt_startup();
            srt_setloglevel(LOG_LEVEL);
        }
    });
}

/// What libsrt says of the last call of this thread.
fn last_error() -> io::Error {
    // SAFETY: the text is a C string that stays until this thread's next call; it is copied before.
    let text = unsafe { CStr::from_ptr(srt_getlasterror_str()) };
    io::Error::other(text.to_string_lossy().into_owned())
}

fn done(code: c_int) -> io::Result<()> {
    if code < 0 { Err(last_error()) } else { Ok(()) }
}
