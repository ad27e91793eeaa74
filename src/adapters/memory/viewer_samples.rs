//! Viewer samples in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::audience::channel::{ChannelId, ViewerSample};
use crate::ports::PortError;
use crate::ports::viewer_samples::{SAMPLES_READ_MAX, ViewerSamples};

type Samples = BTreeMap<(ChannelId, DateTime<Utc>), ViewerSample>;

/// Samples by channel and instant. Clones share them.
#[derive(Clone, Default)]
pub struct MemoryViewerSamples {
    samples: Arc<Mutex<Samples>>,
}

#[async_trait]
impl ViewerSamples for MemoryViewerSamples {
    async fn append(&self, samples: &[ViewerSample]) -> Result<(), PortError> {
        let mut standing = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        for sample in samples {
            let key = (sample.channel.clone(), sample.fetched_at);
            standing.entry(key).or_insert_with(|| sample.clone());
        }
        Ok(())
    }

    async fn between(
        &self,
        channel: &ChannelId,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<ViewerSample>, PortError> {
        let standing = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let of_channel =
            standing.iter().filter(|((id, at), _)| id == channel && *at >= from && *at < to);
        Ok(of_channel.map(|(_, sample)| sample.clone()).take(SAMPLES_READ_MAX).collect())
    }
}
