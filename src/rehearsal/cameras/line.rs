//! The line of a pretend camera, whatever it speaks.

use std::time::Duration;

use tokio::net::TcpStream;

use super::film::{Film, Tag};
use super::{CameraError, Fault, Manners, Over, rtmp, srt};

/// How long a line that fell silent on purpose is held, or noise is made.
const SILENT_FOR: Duration = Duration::from_mins(1);

/// A line on which a film is sent.
pub(super) enum Line {
    Rtmp(Box<rtmp::Line>),
    Srt(srt::Line),
}

impl Line {
    /// Asks for leave to publish, and says what a film needs said before it, at this time of its clock.
    pub(super) async fn begin(
        manners: &Manners,
        film: &Film,
        starts_at_ms: u64,
    ) -> Result<Self, CameraError> {
        match Address::read(&manners.url)? {
            Address::Rtmp { host, app } => {
                let stream = TcpStream::connect(host).await?;
                stream.set_nodelay(true)?;
                let mut line = rtmp::Talk::begin(stream, app, &manners.url, &manners.key).await?;
                // Headers are sent once a line; a film that begins anew goes on in time.
                for tag in film.headers() {
                    line.tag(starts_at_ms as u32, tag.kind, &tag.payload).await?;
                }
                Ok(Self::Rtmp(Box::new(line)))
            }
            Address::Srt { host } => srt::Line::begin(host, manners, film).await.map(Self::Srt),
        }
    }

    /// Sends a tag of a film; its time starts over where the protocol's times do.
    pub(super) async fn tag(&mut self, ms: u64, tag: &Tag) -> std::io::Result<()> {
        match self {
            Self::Rtmp(line) => line.tag(ms as u32, tag.kind, &tag.payload).await,
            Self::Srt(line) => line.tag(ms, tag).await,
        }
    }

    /// Ends the stream as an encoder does that was stopped: the other side has everything when this returns.
    pub(super) async fn goodbye(&mut self) -> std::io::Result<()> {
        match self {
            Self::Rtmp(line) => line.goodbye().await,
            Self::Srt(line) => line.goodbye().await,
        }
    }

    /// Does what a fault that ends the film does with this tag; whoever is at the other end has to notice.
    pub(super) async fn misbehave(
        &mut self,
        fault: Fault,
        ms: u64,
        tag: &Tag,
    ) -> Result<(), CameraError> {
        const CLAIMED: usize = 0x00ff_ffff;
        match self {
            Self::Rtmp(line) => {
                let (ms, payload) = (ms as u32, &tag.payload);
                match fault {
                    Fault::StopsMidChunk => line.half(ms, payload).await?,
                    Fault::LiesLong => line.claiming(ms, payload, CLAIMED).await?,
                    Fault::LiesShort => line.claiming(ms, payload, payload.len() / 2).await?,
                    _ => {}
                }
                line.wait_for_end(SILENT_FOR).await;
            }
            Self::Srt(line) => {
                match fault {
                    Fault::StopsMidPacket => line.half(ms, tag).await?,
                    Fault::Noise => line.noise(SILENT_FOR).await,
                    _ => {}
                }
                line.wait_for_end(SILENT_FOR).await;
            }
        }
        Ok(())
    }
}

/// Where a camera publishes.
#[derive(Debug, PartialEq, Eq)]
enum Address<'a> {
    Rtmp { host: String, app: &'a str },
    Srt { host: &'a str },
}

impl<'a> Address<'a> {
    fn read(url: &'a str) -> Result<Self, CameraError> {
        let wrong = || CameraError::Address(url.to_owned());
        let over = Over::of(url).ok_or_else(wrong)?;
        let (_, rest) = url.split_once("://").ok_or_else(wrong)?;
        if over == Over::Srt {
            let (name, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
            let is_whole = !name.is_empty() && port.parse::<u16>().is_ok();
            return is_whole.then_some(Self::Srt { host: rest }).ok_or_else(wrong);
        }
        let (host, app) = rest.split_once('/').ok_or_else(wrong)?;
        let app = app.trim_end_matches('/');
        if host.is_empty() || app.is_empty() {
            return Err(wrong());
        }
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:1935") };
        Ok(Self::Rtmp { host, app })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_an_application_or_a_port() {
        let rtmp = |host: &str, app| Address::Rtmp { host: host.to_owned(), app };
        assert_eq!(Address::read("rtmp://a/live").unwrap(), rtmp("a:1935", "live"));
        assert_eq!(Address::read("rtmp://a:7/live/").unwrap(), rtmp("a:7", "live"));
        assert_eq!(Address::read("srt://a:9").unwrap(), Address::Srt { host: "a:9" });
        assert_eq!(Address::read("srt://[::1]:9").unwrap(), Address::Srt { host: "[::1]:9" });
        for wrong in [
            "a/live",
            "rtmp://",
            "rtmp://a",
            "rtmp:///live",
            "rtmps://a/live",
            "srt://a",
            "srt://:9",
            "srt://a:9?streamid=key",
        ] {
            assert!(Address::read(wrong).is_err(), "{wrong}");
        }
    }
}
