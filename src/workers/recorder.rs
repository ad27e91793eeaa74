//! Takes encoders as they knock, each for as long as it stays; and makes room for what they send.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ports::ingest::Ingest;
use crate::use_cases::live::record::Recorder;

/// How often it is looked whether there is room: six cameras fill two hundred megabytes meanwhile.
const ROOM_LOOKED_FOR: Duration = Duration::from_secs(30);
/// Pause after the door failed.
const FAULT_PAUSE: Duration = Duration::from_millis(500);

/// Runs until `stop`, then until the last part of every camera is on the disk.
pub async fn run(recorder: Recorder, door: Arc<dyn Ingest>, stop: CancellationToken) {
    let mut feeds = JoinSet::new();
    loop {
        let knocked = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = feeds.join_next() => continue,
            knocked = door.accept() => knocked,
        };
        match knocked {
            Ok(encoder) => {
                let recorder = recorder.clone();
                feeds.spawn(async move { recorder.take(encoder).await });
            }
            Err(error) => {
                tracing::error!(error = %error.chain(), "cannot take encoders");
                tokio::time::sleep(FAULT_PAUSE).await;
            }
        }
    }
    recorder.end();
    recorder.relays().end().await;
    while feeds.join_next().await.is_some() {}
}

/// Lets go what may go, until `stop`.
pub async fn make_room(recorder: Recorder, stop: CancellationToken) {
    loop {
        if let Err(error) = recorder.make_room().await {
            tracing::error!(error = %error.chain(), "cannot make room for recordings");
        }
        if stop.run_until_cancelled(tokio::time::sleep(ROOM_LOOKED_FOR)).await.is_none() {
            return;
        }
    }
}
