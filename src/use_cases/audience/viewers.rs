//! How many watch: every linked channel is looked at in one question, and what is not known is stored as not known.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::audience::channel::{ChannelId, Seen, ViewerSample};
use crate::ports::clock::Clock;
use crate::ports::platform::RunningStream;
use crate::ports::viewer_samples::ViewerSamples;
use crate::use_cases::audience::channels::{Channels, ChannelsError};

/// Looks at streams and keeps what it saw.
#[derive(Clone)]
pub struct Viewers {
    pub channels: Channels,
    pub samples: Arc<dyn ViewerSamples>,
    pub clock: Arc<dyn Clock>,
}

impl Viewers {
    /// Looks once at all linked channels and keeps what it saw. A look that fails is kept too, as such.
    pub async fn look(&self) -> Result<Vec<ViewerSample>, ChannelsError> {
        let channels: Vec<ChannelId> =
            self.channels.list().await?.into_iter().map(|channel| channel.id).collect();
        if channels.is_empty() {
            return Ok(Vec::new());
        }
        let fetched_at = self.clock.now();
        let streams = match self.ask(&channels).await {
            Ok(streams) => Some(streams),
            Err(error) => {
                tracing::warn!(%error, channels = channels.len(), "could not look at the streams");
                None
            }
        };
        let samples: Vec<ViewerSample> = channels
            .into_iter()
            .map(|channel| ViewerSample {
                seen: match &streams {
                    None => Seen::Failed,
                    Some(streams) => streams.get(&channel).map_or(Seen::Offline, seen),
                },
                channel,
                fetched_at,
            })
            .collect();
        self.samples.append(&samples).await?;
        Ok(samples)
    }

    async fn ask(
        &self,
        channels: &[ChannelId],
    ) -> Result<HashMap<ChannelId, RunningStream>, ChannelsError> {
        let caller = self.channels.any_caller().await?;
        let caller = caller.ok_or_else(|| ChannelsError::NotLinked(channels[0].clone()))?;
        let platform = self.channels.platform();
        let streams = self
            .channels
            .call(&caller, |bearer| async move { platform.streams(&bearer, channels).await })
            .await?;
        Ok(streams.into_iter().map(|stream| (stream.channel.clone(), stream)).collect())
    }
}

fn seen(stream: &RunningStream) -> Seen {
    Seen::Live {
        viewers: stream.viewers,
        title: stream.title.clone(),
        category: stream.category.clone(),
        started_at: stream.started_at,
    }
}
