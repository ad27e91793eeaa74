//! How many people watched, sample by sample, for good.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::audience::channel::{ChannelId, ViewerSample};
use crate::ports::PortError;

/// Most samples one question answers: a day of one channel at one a minute is 1,440.
pub const SAMPLES_READ_MAX: usize = 20_000;

/// Samples of viewers, appended and kept.
#[async_trait]
pub trait ViewerSamples: Send + Sync {
    /// Appends samples; one of the same channel and instant that stands already stays as it is.
    async fn append(&self, samples: &[ViewerSample]) -> Result<(), PortError>;

    /// The samples of a channel from `from` up to but without `to`, oldest first; at most [`SAMPLES_READ_MAX`].
    async fn between(
        &self,
        channel: &ChannelId,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<ViewerSample>, PortError>;
}
