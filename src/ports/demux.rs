//! Transport streams (ISO/IEC 13818-1) taken apart, out of harm's way: what an encoder sends is nobody's but its own.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::ports::PortError;
use crate::ports::ingest::{Leave, Sent};

/// Takes transport streams apart.
#[async_trait]
pub trait Demuxer: Send + Sync {
    /// Begins with a stream that comes piece by piece. Pieces are taken as fast as what they hold is asked for.
    async fn demux(&self, pieces: BoxStream<'static, Bytes>)
    -> Result<Box<dyn Demuxed>, PortError>;
}

/// A transport stream that is being taken apart. Dropped, it leaves nothing behind.
#[async_trait]
pub trait Demuxed: Send {
    /// What comes next; nothing once the stream ended and all of it was told. Can be cancelled without losing anything.
    async fn next(&mut self) -> Result<Option<Sent>, Leave>;

    /// Gives up, and waits until nothing is left behind: at most a second.
    async fn stop(self: Box<Self>);
}
