//! Validates every channel's link at the start and about once an hour, as Twitch asks of who keeps tokens.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ports::clock::Clock;
use crate::use_cases::audience::channels::Channels;

/// Shortest time between two rounds; with the jitter it stays under an hour.
const EVERY: Duration = Duration::from_mins(50);
/// Longest jitter on top, so that houses started together do not ask together.
const JITTER_MAX: Duration = Duration::from_mins(9);
/// Time to the next round after one that could not even begin.
const FAULT_PAUSE: Duration = Duration::from_mins(1);

/// Runs until `stop`, then waits for renewals in flight: their tokens are the only ones that work.
pub async fn run(channels: Channels, clock: Arc<dyn Clock>, stop: CancellationToken) {
    loop {
        let pause = match channels.check_all().await {
            Ok(checked) => {
                if checked.ended + checked.unknown > 0 {
                    tracing::warn!(
                        hold = checked.hold,
                        ended = checked.ended,
                        unknown = checked.unknown,
                        "validated the channels' links"
                    );
                }
                EVERY + crate::workers::jitter(&*clock, JITTER_MAX)
            }
            Err(error) => {
                tracing::error!(%error, "could not validate the channels' links");
                FAULT_PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    channels.settle().await;
}
