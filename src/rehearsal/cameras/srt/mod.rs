//! The line of a pretend camera over SRT: a transport stream in messages, and some of it wrong on purpose.

mod ffi;

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::film::{Film, Tag};
use super::ts::{PACKET_BYTES, TransportStream};
use super::{CameraError, Manners};
use ffi::{Caller, Sent, Terms, Unconnected};

/// Bytes of a message: seven packets, what SRT puts into one datagram.
const MESSAGE_BYTES: usize = 7 * PACKET_BYTES;
/// How long the other side shall wait for packets that come late: of a machine that is busy with tests, too.
const LATENCY_MS: i32 = 500;
/// How long there may be no room for a message, and how often that is looked at.
const NO_ROOM_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long the other side may take to acknowledge everything before a goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(10);
/// Pause between messages of noise: 2 Mbit/s.
const NOISE_EVERY: Duration = Duration::from_millis(5);
/// Codes of a refusal that another try would meet again: a wrong passphrase, none, what the server said no to.
const BAD_SECRET: i32 = 10;
const UNSECURE: i32 = 11;
const REFUSED: std::ops::Range<i32> = 1_400..1_500;
/// Too many are there: another try may find room.
const OVERLOAD: i32 = 1_402;

/// A line on which a film is sent.
pub(super) struct Line {
    caller: Caller,
    stream: TransportStream,
    out: Vec<u8>,
}

impl Line {
    /// Calls with the key as stream id, in the form with fields.
    pub(super) async fn begin(
        host: &str,
        manners: &Manners,
        film: &Film,
    ) -> Result<Self, CameraError> {
        let stream = TransportStream::of(film)?;
        let address = tokio::net::lookup_host(host).await?.next();
        let address = address.ok_or_else(|| io::Error::other("a host without an address"))?;
        let stream_id = format!("#!::r={},m=publish", manners.key);
        let passphrase = manners.passphrase.clone();
        let calling = tokio::task::spawn_blocking(move || {
            let passphrase = passphrase.as_deref();
            let terms = Terms { stream_id: &stream_id, passphrase, latency_ms: LATENCY_MS };
            Caller::call(address, &terms)
        });
        let caller = calling.await.map_err(io::Error::other)?.map_err(unconnected)?;
        Ok(Self { caller, stream, out: Vec::new() })
    }

    /// Sends a tag of a film.
    pub(super) async fn tag(&mut self, ms: u64, tag: &Tag) -> io::Result<()> {
        self.stream.put(tag, ms, &mut self.out);
        self.flush().await
    }

    /// Waits until the other side has everything; hanging up says the rest.
    pub(super) async fn goodbye(&mut self) -> io::Result<()> {
        let until = Instant::now() + GOODBYE_MAX;
        loop {
            match self.caller.waiting() {
                Some(0) => return Ok(()),
                None => return Err(io::ErrorKind::ConnectionReset.into()),
                Some(_) if Instant::now() >= until => return Err(io::ErrorKind::TimedOut.into()),
                Some(_) => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Sends a tag up to the middle of one of its packets.
    pub(super) async fn half(&mut self, ms: u64, tag: &Tag) -> io::Result<()> {
        self.stream.put(tag, ms, &mut self.out);
        let packets = self.out.len() / PACKET_BYTES;
        self.out.truncate(packets / 2 * PACKET_BYTES + PACKET_BYTES / 2);
        self.flush().await
    }

    /// Sends bytes that mean nothing until the line breaks, or for so long.
    pub(super) async fn noise(&mut self, at_most: Duration) {
        let until = Instant::now() + at_most;
        let mut state = 0x9e37_79b9_u32;
        let mut message = [0; MESSAGE_BYTES];
        while Instant::now() < until {
            for byte in &mut message {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (state >> 24) as u8;
            }
            if self.say(&message).await.is_err() {
                return;
            }
            sleep(NOISE_EVERY).await;
        }
    }

    /// Waits until the other end closes.
    pub(super) async fn wait_for_end(&mut self, at_most: Duration) {
        let until = Instant::now() + at_most;
        while self.caller.is_there() && Instant::now() < until {
            sleep(LOOK_EVERY).await;
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        for message in self.out.chunks(MESSAGE_BYTES) {
            self.say(message).await?;
        }
        self.out.clear();
        Ok(())
    }

    async fn say(&self, message: &[u8]) -> io::Result<()> {
        let until = Instant::now() + NO_ROOM_MAX;
        loop {
            match self.caller.send(message) {
                Sent::Taken => return Ok(()),
                Sent::Broken(error) => return Err(error),
                Sent::NotNow if Instant::now() >= until => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Sent::NotNow => sleep(LOOK_EVERY).await,
            }
        }
    }
}

fn unconnected(why: Unconnected) -> CameraError {
    match why {
        Unconnected::Rejected(BAD_SECRET | UNSECURE) => {
            CameraError::Refused("its passphrase is another one".to_owned())
        }
        Unconnected::Rejected(code) if REFUSED.contains(&code) && code != OVERLOAD => {
            CameraError::Refused(format!("code {code}"))
        }
        Unconnected::Rejected(code) => {
            CameraError::Broke(io::Error::other(format!("nobody was let in: code {code}")))
        }
        Unconnected::Broke(error) => CameraError::Broke(error),
    }
}
