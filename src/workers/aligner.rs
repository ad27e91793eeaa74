//! Has the cameras measured beside each other while two or more record.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::ids::RecordingId;
use crate::use_cases::clips::align::Alignments;

/// How often it is looked who records.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// So long after a recording began there is enough to listen to.
const ENOUGH_AFTER: Duration = Duration::from_secs(50);
/// Clocks are measured again so often.
const AGAIN_AFTER: Duration = Duration::from_mins(10);

/// Runs until `stop`.
pub async fn run(alignments: Alignments, stop: CancellationToken) {
    let mut known: BTreeSet<RecordingId> = BTreeSet::new();
    let mut due = None;
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        // A recorder that does not answer has nothing to measure; its keeper says so.
        let Ok(recording) = alignments.recording_now().await else { continue };
        if recording != known {
            known = recording;
            due = (known.len() > 1).then(|| Instant::now() + ENOUGH_AFTER);
        }
        if due.is_some_and(|due| Instant::now() >= due) {
            match alignments.order().await {
                Ok(()) => due = Some(Instant::now() + AGAIN_AFTER),
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "could not have the cameras measured");
                }
            }
        }
    }
}
