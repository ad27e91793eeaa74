//! Keeps up with how other processes listen, for the pages of one that does not.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::use_cases::audience::elsewhere::ListeningElsewhere;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(2);

/// Runs until `stop`; the first look is at once.
pub async fn run(listening: Arc<ListeningElsewhere>, stop: CancellationToken) {
    loop {
        if let Err(error) = listening.look().await {
            tracing::debug!(error = %error.chain(), "cannot see who listens");
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}
