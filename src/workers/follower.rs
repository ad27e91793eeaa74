//! Follows the event log and lets the reactions react, in batches, until told to stop.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::use_cases::reactions::Reactions;

/// How long the follower waits for news of other processes; those of this one wake it at once.
const POLL: Duration = Duration::from_millis(500);
/// Pause after a fault.
const FAULT_PAUSE: Duration = Duration::from_secs(2);

/// Runs until `stop`.
pub async fn run(reactions: Reactions, stop: CancellationToken) {
    loop {
        let pause = match reactions.step().await {
            Ok(0) => POLL,
            Ok(_) => continue,
            Err(error) => {
                tracing::error!(error = %error.chain(), "reactions stand still");
                FAULT_PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = reactions.ledger.written() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
