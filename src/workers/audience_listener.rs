//! Pulls what comes from the audience and keeps it; drains the spool once the database is back.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ports::audience_source::AudienceSource;
use crate::use_cases::audience::Audience;

/// How long the database is left alone after it failed.
const DRAIN_PAUSE: Duration = Duration::from_millis(500);

/// Runs until `stop`, or until the source has no more.
pub async fn run(audience: Audience, mut source: Box<dyn AudienceSource>, stop: CancellationToken) {
    begin(&audience, &stop).await;
    let mut failed = false;
    loop {
        // Draining goes on between batches that come, so that neither waits for the other to end.
        let drain = async {
            if !audience.is_spooling() {
                return std::future::pending().await;
            }
            if failed {
                tokio::time::sleep(DRAIN_PAUSE).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            batch = source.next() => match batch {
                Some(notices) => {
                    let kept = audience.keep(notices).await;
                    source.kept(kept);
                }
                None => return,
            },
            () = drain => match audience.drain().await {
                Ok(_) => failed = false,
                Err(error) => {
                    failed = true;
                    tracing::debug!(error = %error.chain(), "the spool waits on");
                }
            },
        }
    }
}

/// Takes up what stood before this process; meanwhile what comes waits with its source.
async fn begin(audience: &Audience, stop: &CancellationToken) {
    if let Err(error) = audience.look_at_spool().await {
        tracing::error!(error = %error.chain(), "cannot read the spool");
    }
    while let Err(error) = audience.take_up().await {
        tracing::warn!(error = %error.chain(), "cannot read which lives are on air yet");
        if stop.run_until_cancelled(tokio::time::sleep(DRAIN_PAUSE)).await.is_none() {
            return;
        }
    }
}
