//! An encoder that was let in: what it sends comes back from its demuxer as tracks and packets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::time::Instant;

use crate::adapters::srt::reader::{Arrival, Line};
use crate::domain::ids::CameraId;
use crate::ports::PortError;
use crate::ports::demux::{Demuxed, Demuxer};
use crate::ports::ingest::{Encoder, Leave, LineGauge, Sent};

/// An encoder of which nothing comes for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// An encoder on its line. Dropped, the line is closed and its demuxer ended.
pub(super) struct SrtEncoder {
    camera: CameraId,
    peer: SocketAddr,
    line: Arc<Line>,
    demuxed: Box<dyn Demuxed>,
    last_heard: Instant,
    has_tracks: bool,
    left: Option<Leave>,
}

impl SrtEncoder {
    pub(super) async fn begin(arrival: Arrival, demuxer: &dyn Demuxer) -> Result<Self, PortError> {
        let Arrival { camera, peer, line, pieces } = arrival;
        let taking = line.clone();
        let pieces = futures::stream::unfold(pieces, move |mut pieces| {
            let line = taking.clone();
            async move {
                let piece = pieces.recv().await?;
                line.taken(piece.len());
                Some((piece, pieces))
            }
        });
        let demuxed = demuxer.demux(pieces.boxed()).await?;
        let last_heard = Instant::now();
        Ok(Self { camera, peer, line, demuxed, last_heard, has_tracks: false, left: None })
    }

    async fn hear(&mut self) -> Result<Sent, Leave> {
        let next = self.demuxed.next();
        let Ok(heard) = tokio::time::timeout_at(self.last_heard + SILENCE_MAX, next).await else {
            // What comes may be nothing that we can take apart.
            let is_silent = self.has_tracks || self.line.came() == 0;
            let seconds = SILENCE_MAX.as_secs();
            let reason = format!("neither H.264 or HEVC nor AAC came in {seconds} s");
            return Err(if is_silent {
                Leave::Silent { seconds }
            } else {
                Leave::Unfit { reason }
            });
        };
        // The stream ended because its line did.
        let sent = heard?.ok_or_else(|| self.line.left().unwrap_or(Leave::Gone))?;
        self.last_heard = Instant::now();
        self.has_tracks |= matches!(sent, Sent::Track(_));
        Ok(sent)
    }
}

#[async_trait]
impl Encoder for SrtEncoder {
    fn camera(&self) -> CameraId {
        self.camera
    }

    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn protocol(&self) -> &'static str {
        "srt"
    }

    fn gauge(&self) -> Option<Arc<dyn LineGauge>> {
        Some(self.line.clone())
    }

    async fn next(&mut self) -> Result<Sent, Leave> {
        if let Some(left) = &self.left {
            return Err(left.clone());
        }
        let sent = self.hear().await;
        if let Err(leave) = &sent {
            self.left = Some(leave.clone());
        }
        sent
    }

    /// SRT has no words for why: the line is closed.
    async fn dismiss(self: Box<Self>, _why: &str) {
        self.demuxed.stop().await;
    }
}
