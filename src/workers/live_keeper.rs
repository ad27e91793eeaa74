//! Keeps up with which lives are on air, whichever process heard them begin or end.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::use_cases::audience::Audience;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(2);

/// Runs until `stop`.
pub async fn run(audience: Audience, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        if let Err(error) = audience.take_up().await {
            tracing::debug!(error = %error.chain(), "cannot read which lives are on air");
        }
    }
}
