//! Pretend cameras: encoders that publish a film over RTMP, again and again, as it was encoded: they cost next to nothing. Their
//! clocks drift, their lines are cut, and they can misbehave in every way a door has to stand.
//!
//! The protocol is written here a second time, from the specification (Adobe RTMP 1.0), so that a mistake of the house's own
//! layers does not agree with itself.

mod film;
mod wire;

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

pub use film::{Film, FilmError};
use wire::{Line, Talk};

/// How long connecting and asking for leave may take.
const TALK_MAX: Duration = Duration::from_secs(10);
/// Pause before a camera that lost its line comes back.
const AGAIN_AFTER: Duration = Duration::from_millis(700);
/// How long a line that fell silent on purpose is held.
const SILENT_FOR: Duration = Duration::from_mins(1);

/// What a pretend camera is like.
#[derive(Debug, Clone, PartialEq)]
pub struct Manners {
    /// `rtmp://host:port/app`.
    pub url: String,
    pub key: String,
    /// Its clock runs so many millionths fast; negative, slow.
    pub drift_ppm: f64,
    /// Its line is cut for so long, every so often.
    pub cut: Option<(Duration, Duration)>,
    /// It says goodbye after so much of its film; without it, it goes on.
    pub lasts: Option<Duration>,
    pub fault: Option<Fault>,
}

/// A way to misbehave; each begins ten seconds after the camera came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Stops in the middle of a chunk and says nothing more.
    StopsMidChunk,
    /// Its times leap ten seconds ahead, then ten back.
    Jumps,
    /// Its times begin a little before 24 bits of milliseconds end, where the extended time begins.
    Wraps24,
    /// The same with 32 bits, where it starts over.
    Wraps32,
    /// Claims a message of sixteen megabytes and sends a little of it.
    LiesLong,
    /// Sends more than a message claims to hold.
    LiesShort,
    /// Falls silent, its line open.
    FallsSilent,
}

impl Fault {
    /// All there are, by the word they are asked for with.
    pub const ALL: [(&'static str, Self); 7] = [
        ("stops-mid-chunk", Self::StopsMidChunk),
        ("jumps", Self::Jumps),
        ("wraps-24", Self::Wraps24),
        ("wraps-32", Self::Wraps32),
        ("lies-long", Self::LiesLong),
        ("lies-short", Self::LiesShort),
        ("falls-silent", Self::FallsSilent),
    ];

    const fn starts_at_ms(self) -> u32 {
        match self {
            // Five seconds before.
            Self::Wraps24 => 0x00ff_ffff - 5_000,
            Self::Wraps32 => u32::MAX - 5_000,
            _ => 0,
        }
    }
}

/// When a fault begins, in milliseconds of what was sent.
const FAULT_AT_MS: u64 = 10_000;
const JUMP_MS: u32 = 10_000;

/// Why a camera stopped publishing.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    #[error("`{0}` is no address: write rtmp://host:port/app")]
    Address(String),
    #[error("the server refused: {0}")]
    Refused(String),
    #[error("the server did not answer in time")]
    Late,
    #[error("the line broke")]
    Broke(#[from] std::io::Error),
}

/// What a camera sent so far, over all its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    pub pictures: u64,
    pub sounds: u64,
    pub bytes: u64,
    pub lines: u64,
    /// The fault really happened.
    pub faults: u64,
}

/// A camera that publishes a film in its own time.
pub struct PretendCamera {
    film: Film,
    manners: Manners,
    counted: tokio::sync::watch::Sender<Counted>,
}

/// How a line ended.
enum Ended {
    /// It was cut for this long.
    Cut(Duration),
    /// It said goodbye, or a fault ends its part.
    Done,
}

impl PretendCamera {
    pub fn new(film: Film, manners: Manners) -> Self {
        Self { film, manners, counted: tokio::sync::watch::Sender::default() }
    }

    /// Follows what it sends.
    pub fn counted(&self) -> tokio::sync::watch::Receiver<Counted> {
        self.counted.subscribe()
    }

    /// Publishes until it is dropped, refused, or done; comes back after its line broke.
    pub async fn run(&self) -> Result<(), CameraError> {
        loop {
            match self.publish().await {
                Ok(Ended::Cut(pause)) => tokio::time::sleep(pause).await,
                Ok(Ended::Done) => return Ok(()),
                Err(error @ (CameraError::Refused(_) | CameraError::Address(_))) => {
                    return Err(error);
                }
                // Its line broke.
                Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    }

    async fn publish(&self) -> Result<Ended, CameraError> {
        let (host, app) = split(&self.manners.url)?;
        let talk = async {
            let stream = TcpStream::connect(host).await?;
            stream.set_nodelay(true)?;
            Talk::begin(stream, app, &self.manners.url, &self.manners.key).await
        };
        let mut line = timeout(TALK_MAX, talk).await.map_err(|_| CameraError::Late)??;
        self.counted.send_modify(|counted| counted.lines += 1);
        let began = Instant::now();
        let starts_at = self.manners.fault.map_or(0, Fault::starts_at_ms);
        // Headers are sent once a line; a film that begins anew goes on in time.
        for tag in self.film.headers() {
            line.tag(starts_at, tag.kind, &tag.payload).await?;
        }
        for lap in 0_u64.. {
            for tag in self.film.tags() {
                let ms = lap * u64::from(self.film.lasts_ms()) + u64::from(tag.ms);
                if let Some((every, pause)) = self.manners.cut
                    && Duration::from_millis(ms) >= every
                {
                    return Ok(Ended::Cut(pause));
                }
                if self.manners.lasts.is_some_and(|lasts| Duration::from_millis(ms) >= lasts) {
                    line.goodbye().await?;
                    return Ok(Ended::Done);
                }
                // A fast clock says that more time went by than did.
                let real_ms = ms as f64 / (1.0 + self.manners.drift_ppm / 1e6);
                sleep_until(began + Duration::from_secs_f64(real_ms / 1_000.0)).await;
                let is_due = ms >= FAULT_AT_MS;
                let mut told = starts_at.wrapping_add(ms as u32);
                match self.manners.fault.filter(|_| is_due) {
                    None => {}
                    Some(Fault::Jumps) => {
                        let is_ahead = ms / FAULT_AT_MS % 2 == 1;
                        told = if is_ahead { told.wrapping_add(JUMP_MS) } else { told };
                        self.happened();
                    }
                    Some(Fault::Wraps24 | Fault::Wraps32) => self.happened(),
                    Some(fault) => {
                        self.happened();
                        misbehave(&mut line, fault, told, &tag.payload).await?;
                        return Ok(Ended::Done);
                    }
                }
                line.tag(told, tag.kind, &tag.payload).await?;
                self.counted.send_modify(|counted| {
                    counted.bytes += tag.payload.len() as u64;
                    if tag.is_picture() { counted.pictures += 1 } else { counted.sounds += 1 }
                });
            }
        }
        Ok(Ended::Done)
    }

    fn happened(&self) {
        self.counted.send_modify(|counted| counted.faults += 1);
    }
}

async fn misbehave(
    line: &mut Line,
    fault: Fault,
    ms: u32,
    payload: &[u8],
) -> Result<(), CameraError> {
    const CLAIMED: usize = 0x00ff_ffff;
    match fault {
        Fault::StopsMidChunk => line.half(ms, payload).await?,
        Fault::LiesLong => line.claiming(ms, payload, CLAIMED).await?,
        Fault::LiesShort => line.claiming(ms, payload, payload.len() / 2).await?,
        Fault::Jumps | Fault::Wraps24 | Fault::Wraps32 | Fault::FallsSilent => {}
    }
    // Whoever is at the other end has to notice.
    line.wait_for_end(SILENT_FOR).await;
    Ok(())
}

/// `host:port` and `app`.
fn split(url: &str) -> Result<(String, &str), CameraError> {
    let wrong = || CameraError::Address(url.to_owned());
    let rest = url.strip_prefix("rtmp://").ok_or_else(wrong)?;
    let (host, app) = rest.split_once('/').ok_or_else(wrong)?;
    let app = app.trim_end_matches('/');
    if host.is_empty() || app.is_empty() {
        return Err(wrong());
    }
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:1935") };
    Ok((host, app))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn an_address_has_a_host_and_an_application() {
        assert_eq!(split("rtmp://a/live").unwrap(), ("a:1935".to_owned(), "live"));
        assert_eq!(split("rtmp://a:7/live/").unwrap(), ("a:7".to_owned(), "live"));
        for wrong in ["a/live", "rtmp://", "rtmp://a", "rtmp:///live", "rtmps://a/live"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }
}
