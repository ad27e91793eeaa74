//! libsrt, and the one unsafe module of this adapter. A socket is a number that libsrt looks up under its own locks: a
//! wrong one is an error it tells, never a wild pointer. Every buffer lent to it is lent for one call.
#![expect(unsafe_code, reason = "libsrt is a C library, and no crate wraps it")]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

type RawHook = extern "C" fn(*mut c_void, c_int, c_int, *const SockAddr, *const c_char) -> c_int;

#[link(name = "srt-gnutls")]
unsafe extern "C" {
    fn srt_startup() -> c_int;
    fn srt_getversion() -> u32;
    fn srt_setloglevel(level: c_int);
    fn srt_create_socket() -> c_int;
    fn srt_close(socket: c_int) -> c_int;
    fn srt_bind(socket: c_int, name: *const SockAddr, length: c_int) -> c_int;
    fn srt_listen(socket: c_int, backlog: c_int) -> c_int;
    fn srt_listen_callback(socket: c_int, hook: RawHook, opaque: *mut c_void) -> c_int;
    fn srt_accept(socket: c_int, name: *mut SockAddr, length: *mut c_int) -> c_int;
    fn srt_getsockname(socket: c_int, name: *mut SockAddr, length: *mut c_int) -> c_int;
    fn srt_setsockflag(socket: c_int, flag: c_int, value: *const c_void, length: c_int) -> c_int;
    fn srt_getsockflag(socket: c_int, flag: c_int, value: *mut c_void, length: *mut c_int)
    -> c_int;
    fn srt_recv(socket: c_int, buf: *mut c_char, length: c_int) -> c_int;
    fn srt_setrejectreason(socket: c_int, reason: c_int) -> c_int;
    fn srt_getlasterror(system: *mut c_int) -> c_int;
    fn srt_getlasterror_str() -> *const c_char;
    fn srt_bstats(socket: c_int, stats: *mut RawStats, clear: c_int) -> c_int;
    fn srt_epoll_create() -> c_int;
    fn srt_epoll_add_usock(epoll: c_int, socket: c_int, events: *const c_int) -> c_int;
    fn srt_epoll_remove_usock(epoll: c_int, socket: c_int) -> c_int;
    fn srt_epoll_uwait(epoll: c_int, events: *mut Event, length: c_int, wait_ms: i64) -> c_int;
    fn srt_epoll_release(epoll: c_int) -> c_int;
}

/// `SRT_EASYNCRCV`: nothing to read now.
const NOTHING_NOW: c_int = 6_002;
/// `SRT_EPOLL_IN` and `SRT_EPOLL_ERR`.
const READABLE: c_int = 1;
const BROKEN: c_int = 8;
/// Only what is critical is written to stderr by libsrt itself (`LOG_CRIT`).
const LOG_LEVEL: c_int = 2;
/// Families of addresses on Linux.
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Sockets told by one look.
const EVENTS_MAX: usize = 64;

/// Options of a socket (`SRT_SOCKOPT`).
#[derive(Debug, Clone, Copy)]
pub(super) enum Flag {
    ReceiveWaits = 2,
    ReceiveBytes = 6,
    Passphrase = 26,
    KeyBytes = 27,
    ReceiveLatency = 43,
    OnlyIpv6 = 54,
}

/// A `sockaddr_in` or a `sockaddr_in6`: the larger of the two.
#[repr(C, align(4))]
#[derive(Clone, Copy)]
struct SockAddr([u8; 28]);

impl SockAddr {
    const EMPTY: Self = Self([0; 28]);
    const LENGTH: c_int = 28;
    const LENGTH_V4: c_int = 16;

    fn of(address: SocketAddr) -> (Self, c_int) {
        let mut bytes = [0; 28];
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let (family, length) = match address {
            SocketAddr::V4(address) => {
                bytes[4..8].copy_from_slice(&address.ip().octets());
                (AF_INET, Self::LENGTH_V4)
            }
            SocketAddr::V6(address) => {
                bytes[4..8].copy_from_slice(&address.flowinfo().to_be_bytes());
                bytes[8..24].copy_from_slice(&address.ip().octets());
                bytes[24..].copy_from_slice(&address.scope_id().to_ne_bytes());
                (AF_INET6, Self::LENGTH)
            }
        };
        bytes[..2].copy_from_slice(&family.to_ne_bytes());
        (Self(bytes), length)
    }

    fn read(&self) -> Option<SocketAddr> {
        let bytes = &self.0;
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        let ip = match u16::from_ne_bytes([bytes[0], bytes[1]]) {
            AF_INET => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[4..8]).ok()?)),
            AF_INET6 => {
                let ip = Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[8..24]).ok()?);
                ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }
}

/// One `SRT_EPOLL_EVENT`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Event {
    socket: c_int,
    events: c_int,
}

/// The beginning of `CBytePerfMon` (libsrt 1.5, `srt.h`), and room for what follows: later versions append to it.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawStats {
    timestamp_ms: i64,
    sent_total: i64,
    received_total: i64,
    send_lost_total: c_int,
    lost_total: c_int,
    retransmitted_total: c_int,
    acks: [c_int; 4],
    send_duration_us: i64,
    send_dropped_total: c_int,
    dropped_total: c_int,
    undecrypted_total: c_int,
    bytes_sent_total: u64,
    bytes_received_total: u64,
    bytes: [u64; 5],
    sent: i64,
    received: i64,
    losses: [c_int; 3],
    received_again: c_int,
    acks_now: [c_int; 4],
    mbits: [f64; 2],
    send_duration_now_us: i64,
    reorder_distance: c_int,
    belated_ms: f64,
    belated: i64,
    dropped: [c_int; 3],
    bytes_now: [u64; 7],
    send_period_us: f64,
    windows: [c_int; 3],
    rtt_ms: f64,
    rest: [u64; 256],
}

/// How a line was, from the connection on.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Stats {
    pub rtt_ms: f64,
    pub packets: i64,
    /// Packets that did not come the first time.
    pub lost: i64,
    /// Packets that came a second time.
    pub retransmitted: i64,
    /// Packets that never came in time.
    pub dropped: i64,
    pub bytes: u64,
}

/// Who knocks.
pub(super) struct Knock<'a> {
    /// The number that the caller's socket will have once it is accepted.
    pub socket: i32,
    pub peer: SocketAddr,
    pub stream_id: &'a [u8],
}

/// Why somebody is not let in, as SRT's codes have it (`access_control.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejection {
    BadRequest = 1_400,
    Unauthorized = 1_401,
    Overload = 1_402,
    BadMode = 1_405,
    Internal = 1_500,
}

/// Decides in the middle of a handshake, on libsrt's own thread.
pub(super) type Hook = dyn Fn(&Knock<'_>) -> Result<(), Rejection> + Send + Sync;

/// Hooks of the listeners that are open, by the number that libsrt is given in place of a pointer: a hook that is asked for
/// too late is not found, and nobody is let in.
static HOOKS: Mutex<BTreeMap<usize, Arc<Hook>>> = Mutex::new(BTreeMap::new());
static HOOKS_MADE: AtomicUsize = AtomicUsize::new(1);

fn hooks() -> MutexGuard<'static, BTreeMap<usize, Arc<Hook>>> {
    HOOKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// libsrt's version, such as `1.5.1`.
pub fn version() -> String {
    // SAFETY: takes nothing, returns a number.
    let version = unsafe { srt_getversion() };
    format!("{}.{}.{}", version >> 16 & 0xff, version >> 8 & 0xff, version & 0xff)
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

/// A socket; dropped, it is closed.
pub(super) struct Socket {
    number: c_int,
    hook: Option<usize>,
}

/// What a read gave.
pub(super) enum Received {
    Bytes(usize),
    NothingNow,
    Broken,
}

impl Socket {
    pub(super) fn create() -> io::Result<Self> {
        start();
        // SAFETY: takes nothing, returns a number.
        let number = unsafe { srt_create_socket() };
        done(number)?;
        Ok(Self { number, hook: None })
    }

    pub(super) const fn number(&self) -> i32 {
        self.number
    }

    pub(super) fn set(&self, flag: Flag, value: i32) -> io::Result<()> {
        let length = size_of::<i32>() as c_int;
        // SAFETY: `value` is an int of that length, read during the call.
        done(unsafe {
            srt_setsockflag(self.number, flag as c_int, (&raw const value).cast(), length)
        })
    }

    pub(super) fn set_text(&self, flag: Flag, text: &str) -> io::Result<()> {
        let length = c_int::try_from(text.len()).unwrap_or(c_int::MAX);
        // SAFETY: the text has that length and is copied during the call; an int holds the length of what settings hold.
        done(unsafe { srt_setsockflag(self.number, flag as c_int, text.as_ptr().cast(), length) })
    }

    /// How long packets are held back for those that come late, as both sides agreed.
    pub(super) fn latency(&self) -> Duration {
        let (mut value, mut length) = (0_i32, size_of::<i32>() as c_int);
        let flag = Flag::ReceiveLatency as c_int;
        // SAFETY: `value` is an int, `length` says so; both are written during the call.
        let code =
            unsafe { srt_getsockflag(self.number, flag, (&raw mut value).cast(), &raw mut length) };
        let ms = if code < 0 { 0 } else { value };
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }

    pub(super) fn bind(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        let (name, length) = SockAddr::of(address);
        // SAFETY: `name` holds an address of that length, read during the call.
        done(unsafe { srt_bind(self.number, &raw const name, length) })?;
        let (mut name, mut length) = (SockAddr::EMPTY, SockAddr::LENGTH);
        // SAFETY: `name` has room for `length` bytes; both are written during the call.
        done(unsafe { srt_getsockname(self.number, &raw mut name, &raw mut length) })?;
        name.read().ok_or_else(|| io::Error::other("an address of another family"))
    }

    /// Listens; everybody who knocks is judged by `hook`.
    pub(super) fn listen(&mut self, backlog: i32, hook: Arc<Hook>) -> io::Result<()> {
        let number = HOOKS_MADE.fetch_add(1, Ordering::Relaxed);
        hooks().insert(number, hook);
        self.hook = Some(number);
        // SAFETY: what stands for a pointer is a number that nobody follows; `judge` looks it up.
        done(unsafe {
            srt_listen_callback(self.number, judge, std::ptr::without_provenance_mut(number))
        })?;
        // SAFETY: takes numbers.
        done(unsafe { srt_listen(self.number, backlog) })
    }

    /// The next caller that was let in.
    pub(super) fn accept(&self) -> Option<(Self, SocketAddr)> {
        let (mut name, mut length) = (SockAddr::EMPTY, SockAddr::LENGTH);
        // SAFETY: `name` has room for `length` bytes; both are written during the call.
        let number = unsafe { srt_accept(self.number, &raw mut name, &raw mut length) };
        if number < 0 {
            return None;
        }
        let socket = Self { number, hook: None };
        Some((socket, name.read()?))
    }

    pub(super) fn receive(&self, buf: &mut [u8]) -> Received {
        let length = c_int::try_from(buf.len()).unwrap_or(c_int::MAX);
        // SAFETY: `buf` is ours and has room for `length` bytes.
        let read = unsafe { srt_recv(self.number, buf.as_mut_ptr().cast(), length) };
        match usize::try_from(read) {
            Ok(0) => Received::Broken,
            Ok(read) => Received::Bytes(read.min(buf.len())),
            // SAFETY: no system error is asked for.
            Err(_) if unsafe { srt_getlasterror(std::ptr::null_mut()) } == NOTHING_NOW => {
                Received::NothingNow
            }
            Err(_) => Received::Broken,
        }
    }

    pub(super) fn stats(&self) -> Option<Stats> {
        // SAFETY: numbers throughout: all zeros are a value of it.
        let mut raw: RawStats = unsafe { std::mem::zeroed() };
        // SAFETY: `raw` begins as libsrt's structure does and is longer; it is written during the call.
        if unsafe { srt_bstats(self.number, &raw mut raw, 0) } < 0 {
            return None;
        }
        Some(Stats {
            rtt_ms: raw.rtt_ms,
            packets: raw.received_total,
            lost: i64::from(raw.lost_total),
            retransmitted: i64::from(raw.received_again),
            dropped: i64::from(raw.dropped_total),
            bytes: raw.bytes_received_total,
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: takes a number that is this value's alone. A listener that is closed asks its hook no more, and one that
        // asks at this very moment holds the hook itself.
        unsafe { srt_close(self.number) };
        if let Some(hook) = self.hook {
            hooks().remove(&hook);
        }
    }
}

/// What libsrt calls when somebody knocks. No panic leaves it.
extern "C" fn judge(
    opaque: *mut c_void,
    socket: c_int,
    _version: c_int,
    peer: *const SockAddr,
    stream_id: *const c_char,
) -> c_int {
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let hook = hooks().get(&opaque.addr()).cloned().ok_or(Rejection::Internal)?;
        // SAFETY: libsrt lends an address and a C string for this call, or nothing.
        let (peer, stream_id) = unsafe { (peer_of(peer), text_of(stream_id)) };
        let peer = peer.ok_or(Rejection::Internal)?;
        hook(&Knock { socket, peer, stream_id })
    }));
    match judged.unwrap_or(Err(Rejection::Internal)) {
        Ok(()) => 0,
        Err(rejection) => {
            // SAFETY: takes numbers.
            unsafe { srt_setrejectreason(socket, rejection as c_int) };
            -1
        }
    }
}

/// Reads an address.
///
/// # Safety
/// `name` is null, or points to an address as long as its family says.
unsafe fn peer_of(name: *const SockAddr) -> Option<SocketAddr> {
    if name.is_null() {
        return None;
    }
    // SAFETY: every address begins with its family.
    let family = unsafe { name.cast::<u16>().read_unaligned() };
    let length = if family == AF_INET6 { SockAddr::LENGTH } else { SockAddr::LENGTH_V4 };
    let mut copy = SockAddr::EMPTY;
    // SAFETY: an address of that family has that many bytes; `copy` has room for the longer one.
    unsafe {
        std::ptr::copy_nonoverlapping(name.cast(), copy.0.as_mut_ptr(), length as usize);
    }
    copy.read()
}

/// The bytes of a C string.
///
/// # Safety
/// `text` is null, or points to a C string that stays for `'a`.
unsafe fn text_of<'a>(text: *const c_char) -> &'a [u8] {
    if text.is_null() {
        return &[];
    }
    // SAFETY: as promised above.
    unsafe { CStr::from_ptr(text) }.to_bytes()
}

/// Looks at many sockets at once; dropped, it is released.
pub(super) struct Epoll(c_int);

impl Epoll {
    pub(super) fn create() -> io::Result<Self> {
        start();
        // SAFETY: takes nothing, returns a number.
        let number = unsafe { srt_epoll_create() };
        done(number)?;
        Ok(Self(number))
    }

    pub(super) fn add(&self, socket: &Socket) -> io::Result<()> {
        let events = READABLE | BROKEN;
        // SAFETY: `events` is an int, read during the call.
        done(unsafe { srt_epoll_add_usock(self.0, socket.number, &raw const events) })
    }

    pub(super) fn remove(&self, socket: &Socket) {
        // SAFETY: takes numbers; one that is not there is an error nobody needs.
        unsafe { srt_epoll_remove_usock(self.0, socket.number) };
    }

    /// The numbers of sockets that have something to read, or broke, waiting at most `wait`.
    pub(super) fn look(&self, wait: Duration) -> Vec<(i32, bool)> {
        let mut events = [Event { socket: 0, events: 0 }; EVENTS_MAX];
        let wait_ms = wait.as_millis() as i64;
        // SAFETY: `events` has room for so many and is written during the call.
        let count =
            unsafe { srt_epoll_uwait(self.0, events.as_mut_ptr(), EVENTS_MAX as c_int, wait_ms) };
        // It tells how many there are, which may be more than there is room for; the others are told next time.
        let count = usize::try_from(count).unwrap_or(0).min(EVENTS_MAX);
        events[..count].iter().map(|it| (it.socket, it.events & BROKEN != 0)).collect()
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        // SAFETY: takes a number that is this value's alone.
        unsafe { srt_epoll_release(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_there_and_back() {
        for text in ["127.0.0.1:9000", "[::1]:9000", "[fe80::1]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(SockAddr::of(address).0.read(), Some(address));
        }
        assert_eq!(SockAddr::EMPTY.read(), None);
    }

    #[test]
    fn a_hook_that_panics_or_is_gone_lets_nobody_in() {
        let peer = SockAddr::of(([127, 0, 0, 1], 9).into()).0;
        let ask = |number: usize| {
            judge(std::ptr::without_provenance_mut(number), -1, 5, &raw const peer, c"key".as_ptr())
        };
        hooks().insert(usize::MAX, Arc::new(|_| panic!("a hook that breaks")));
        hooks().insert(
            usize::MAX - 1,
            Arc::new(|knock| {
                assert_eq!((knock.stream_id, knock.peer.port()), (&b"key"[..], 9));
                Ok(())
            }),
        );
        assert_eq!([ask(usize::MAX), ask(usize::MAX - 1), ask(usize::MAX - 2)], [-1, 0, -1]);
    }

    #[test]
    fn what_is_read_of_a_line_lies_where_libsrt_writes_it() {
        use std::mem::offset_of;
        let places = [
            offset_of!(RawStats, received_total),
            offset_of!(RawStats, lost_total),
            offset_of!(RawStats, dropped_total),
            offset_of!(RawStats, bytes_received_total),
            offset_of!(RawStats, received_again),
            offset_of!(RawStats, rtt_ms),
        ];
        // As a C compiler tells them of libsrt 1.5.1's header, whose structure has 496 bytes.
        assert_eq!(places, [16, 28, 68, 88, 164, 328]);
        assert!(size_of::<RawStats>() > 4 * 496);
    }

    #[test]
    fn libsrt_tells_its_version_and_what_a_line_without_traffic_was() {
        assert!(version().starts_with("1."), "{}", version());
        assert!(Socket::create().unwrap().stats().is_none(), "it is not connected");
    }
}
