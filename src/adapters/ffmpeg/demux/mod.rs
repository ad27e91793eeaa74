//! Transport streams taken apart in a child per caller: the recorder itself never meets what a caller sends.

pub mod adts;
pub mod frames;
mod guard;
mod opening;
pub mod pictures;
mod role;
mod streams;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_util::task::AbortOnDropHandle;

use crate::adapters::ffmpeg::demux::frames::{Frame, Frames};
use crate::adapters::ffmpeg::nursery::Nursery;
use crate::ports::PortError;
use crate::ports::demux::{Demuxed, Demuxer};
use crate::ports::ingest::{Leave, Sent};
use crate::ports::renders::PARENT_MARK;

pub use crate::adapters::ffmpeg::demux::role::{DEMUX_ROLE, demux, demux_role};

/// Longest wait for a child that said its last word, and for one that was killed.
const END_MAX: Duration = Duration::from_secs(1);

/// Starts a child for each stream.
pub struct FfmpegDemuxer {
    program: PathBuf,
    nursery: Nursery,
}

impl FfmpegDemuxer {
    /// Of the program whose argument `demux` makes a demuxer: this very binary.
    pub fn new(program: PathBuf) -> io::Result<Self> {
        Ok(Self { program, nursery: Nursery::open("demux-nursery")? })
    }
}

#[async_trait]
impl Demuxer for FfmpegDemuxer {
    async fn demux(
        &self,
        pieces: BoxStream<'static, Bytes>,
    ) -> Result<Box<dyn Demuxed>, PortError> {
        let mut command = Command::new(&self.program);
        command
            .arg(DEMUX_ROLE)
            .arg(rustix::process::getpid().as_raw_nonzero().to_string())
            .env_clear()
            .env("LANG", "C.UTF-8")
            .env(PARENT_MARK, std::process::id().to_string())
            .env("MALLOC_ARENA_MAX", "2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .process_group(0)
            .kill_on_drop(true);
        let cannot = |error| PortError::passing("cannot start a demuxer", error);
        let mut child = self.nursery.start(command).await.map_err(cannot)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(PortError::plain("a demuxer without pipes"));
        };
        let feeding = AbortOnDropHandle::new(tokio::spawn(feed(pieces, stdin)));
        Ok(Box::new(DemuxChild { child, frames: Frames::new(stdout), _feeding: feeding }))
    }
}

/// Hands on what comes until it ends, or until nobody takes it.
async fn feed(mut pieces: BoxStream<'static, Bytes>, mut stdin: ChildStdin) {
    while let Some(piece) = pieces.next().await {
        if stdin.write_all(&piece).await.is_err() {
            return;
        }
    }
}

/// A child with its two pipes. Dropped, the child is killed, and waited for by the runtime.
struct DemuxChild {
    child: Child,
    frames: Frames<ChildStdout>,
    _feeding: AbortOnDropHandle<()>,
}

#[async_trait]
impl Demuxed for DemuxChild {
    async fn next(&mut self) -> Result<Option<Sent>, Leave> {
        let malformed = |reason: String| Leave::Malformed { reason };
        let told = match self.frames.next().await {
            Ok(Ok(told)) => told,
            Ok(Err(garbage)) => return Err(malformed(format!("the demuxer said {garbage}"))),
            Err(error) => return Err(malformed(format!("the demuxer cannot be heard: {error}"))),
        };
        match told {
            Some(Frame::Track(track)) => return Ok(Some(Sent::Track(track))),
            Some(Frame::Packet(packet)) => return Ok(Some(Sent::Packet(packet))),
            Some(Frame::Leave(leave)) => return Err(leave),
            None => {}
        }
        let Ok(Ok(status)) = tokio::time::timeout(END_MAX, self.child.wait()).await else {
            return Err(malformed("the demuxer does not end".to_owned()));
        };
        match (status.success(), status.signal()) {
            (true, _) => Ok(None),
            (false, Some(signal)) => {
                Err(malformed(format!("the demuxer died of it, by signal {signal}")))
            }
            (false, None) => Err(malformed(format!("the demuxer failed at it: {status}"))),
        }
    }

    async fn stop(mut self: Box<Self>) {
        // Who is dead already needs no killing.
        let _ = tokio::time::timeout(END_MAX, self.child.kill()).await;
    }
}
