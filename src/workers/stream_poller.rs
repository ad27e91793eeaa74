//! Looks once a minute at how many watch the linked channels, and thereby at which are on air.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::use_cases::audience::Audience;
use crate::use_cases::audience::boards::Boards;
use crate::use_cases::audience::viewers::Viewers;

/// Shortest time between two looks; the platform's own figure moves no faster than once a minute.
const EVERY: Duration = Duration::from_secs(57);
/// Longest jitter on top: a look a minute on the average.
const JITTER_MAX: Duration = Duration::from_secs(6);

/// Runs until `stop`; the first look is at once.
pub async fn run(viewers: Viewers, audience: Audience, boards: Boards, stop: CancellationToken) {
    loop {
        match viewers.look().await {
            Ok(samples) => {
                boards.saw(&samples);
                if let Err(error) = audience.seen(&samples).await {
                    tracing::warn!(error = %error.chain(), "could not say who is on air");
                }
            }
            Err(error) => tracing::error!(%error, "could not keep how many watch"),
        }
        let pause = EVERY + crate::workers::jitter(&*viewers.clock, JITTER_MAX);
        tokio::select! {
            () = stop.cancelled() => return,
            // Whoever was just linked may be on air already.
            () = viewers.channels.linked() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
