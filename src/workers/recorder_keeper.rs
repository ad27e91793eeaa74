//! Tells the recorder the cameras and what stays of them, again and again: after its restart, after ours, after a backup was
//! restored, after a clip was cut from them. Lets the database know what was recorded, and keeps the room that recordings under
//! way will need.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ports::media_store::MediaStore;
use crate::use_cases::live::cameras::Cameras;

/// How often, and every how many times it is told what stays too.
const EVERY: Duration = Duration::from_secs(5);
const KEEPING_EVERY: u32 = 6;
/// Every how many times the index in the database is brought up to date.
const INDEX_EVERY: u32 = 2;

/// Runs until `stop`.
pub async fn run(
    cameras: Cameras,
    store: Arc<dyn MediaStore>,
    hours_a_day: u8,
    stop: CancellationToken,
) {
    let mut misses = 0_u32;
    for turn in 0_u32.. {
        match cameras.tell().await {
            Ok(()) => misses = 0,
            Err(error) => {
                misses = misses.saturating_add(1);
                // One that is just starting is heard the next time.
                if misses == 2 {
                    tracing::warn!(error = %error.chain(), "the recorder does not know the cameras yet");
                }
            }
        }
        // A recorder that does not answer for a moment records on: what was kept for it stays kept.
        if let Ok(bytes) = cameras.reserved(hours_a_day).await {
            store.reserve(bytes);
        }
        // It holds to what it was told before meanwhile.
        if turn % KEEPING_EVERY == 0
            && misses == 0
            && let Err(error) = cameras.tell_keeping().await
        {
            tracing::warn!(error = %error.chain(), "the recorder does not know yet what stays");
        }
        if turn % INDEX_EVERY == 0
            && let Err(error) = cameras.indexer.keep_up().await
        {
            tracing::warn!(error = %error.chain(), "the database does not know yet what was recorded");
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}
