//! Pretend cameras: encoders that publish a film over RTMP or SRT, again and again, as it was encoded: they cost next to
//! nothing. Their clocks drift, their lines are cut, and they can misbehave in every way a door has to stand.
//!
//! RTMP and the transport stream that SRT carries are written here a second time, from the specifications (Adobe RTMP 1.0,
//! ISO/IEC 13818-1), so that a mistake of the house's own layers does not agree with itself. SRT itself is libsrt on both
//! sides, as it is in every encoder.

mod fault;
mod film;
mod line;
mod rtmp;
mod srt;
mod ts;

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

pub use fault::{Fault, Over};
pub use film::{Film, FilmError, Tag};
use line::Line;
pub use ts::TransportStream;

/// How long connecting and asking for leave may take.
const TALK_MAX: Duration = Duration::from_secs(10);
/// Pause before a camera that lost its line comes back.
const AGAIN_AFTER: Duration = Duration::from_millis(700);
/// When a fault begins, in milliseconds of what was sent.
const FAULT_AT_MS: u64 = 10_000;
const JUMP_MS: u64 = 10_000;

/// What a pretend camera is like.
#[derive(Debug, Clone, PartialEq)]
pub struct Manners {
    /// `rtmp://host:port/app` or `srt://host:port`.
    pub url: String,
    pub key: String,
    /// Encrypts its line over SRT, 10 to 79 characters; over RTMP nobody asks for it.
    pub passphrase: Option<String>,
    /// Its clock runs so many millionths fast; negative, slow.
    pub drift_ppm: f64,
    /// Its line is cut for so long, every so often.
    pub cut: Option<(Duration, Duration)>,
    /// It says goodbye after so much of its film; without it, it goes on.
    pub lasts: Option<Duration>,
    pub fault: Option<Fault>,
}

/// Why a camera stopped publishing.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    #[error("`{0}` is no address: write rtmp://host:port/app or srt://host:port")]
    Address(String),
    #[error("`{fault}` is no fault of a camera that publishes to {url}")]
    Fault { fault: &'static str, url: String },
    #[error(transparent)]
    Film(#[from] FilmError),
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
                // Its line broke.
                Err(CameraError::Late | CameraError::Broke(_)) => {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn publish(&self) -> Result<Ended, CameraError> {
        let Manners { url, fault, .. } = &self.manners;
        if let Some(fault) = fault
            && Over::of(url).is_some_and(|over| !fault.is_of(over))
        {
            return Err(CameraError::Fault { fault: fault.word(), url: url.clone() });
        }
        let starts_at = fault.map_or(0, Fault::starts_at_ms);
        let talk = Line::begin(&self.manners, &self.film, starts_at);
        let mut line = timeout(TALK_MAX, talk).await.map_err(|_| CameraError::Late)??;
        self.counted.send_modify(|counted| counted.lines += 1);
        let began = Instant::now();
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
                let mut told = starts_at + ms;
                match self.manners.fault.filter(|_| is_due) {
                    None => {}
                    Some(Fault::Jumps) => {
                        let is_ahead = ms / FAULT_AT_MS % 2 == 1;
                        told += if is_ahead { JUMP_MS } else { 0 };
                        self.happened();
                    }
                    Some(fault) if fault.goes_on() => self.happened(),
                    Some(fault) => {
                        self.happened();
                        line.misbehave(fault, told, tag).await?;
                        return Ok(Ended::Done);
                    }
                }
                line.tag(told, tag).await?;
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
