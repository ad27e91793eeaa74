//! Tells the recorder the cameras again until it knows them: after its restart, after ours, after a backup was restored.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::use_cases::live::cameras::Cameras;

/// How often.
const EVERY: Duration = Duration::from_secs(5);

/// Runs until `stop`.
pub async fn run(cameras: Cameras, stop: CancellationToken) {
    let mut was_away = false;
    loop {
        match cameras.tell().await {
            Ok(()) => was_away = false,
            Err(error) if !was_away => {
                was_away = true;
                tracing::warn!(error = %error.chain(), "the recorder does not know the cameras yet");
            }
            Err(_) => {}
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}
