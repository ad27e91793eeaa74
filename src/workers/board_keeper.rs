//! Keeps the boards of « Direct » up with the log.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::use_cases::audience::boards::Boards;

/// How long it waits for news of other processes; those of this one wake it at once.
const POLL: Duration = Duration::from_millis(500);
/// How often erasures asked of other processes are looked for.
const ERASURES_LOOK: Duration = Duration::from_secs(2);
/// Pause after a fault.
const FAULT_PAUSE: Duration = Duration::from_secs(1);

/// Runs until `stop`.
pub async fn run(boards: Boards, stop: CancellationToken) {
    while let Err(error) = boards.take_up().await {
        tracing::warn!(error = %error.chain(), "cannot fold the boards yet");
        if stop.run_until_cancelled(tokio::time::sleep(FAULT_PAUSE)).await.is_none() {
            return;
        }
    }
    let mut ticked = Instant::now();
    let mut looked = Instant::now();
    loop {
        let stepped = boards.step().await;
        if ticked.elapsed() >= POLL {
            ticked = Instant::now();
            if let Err(error) = boards.tick().await {
                tracing::warn!(error = %error.chain(), "moments wait to be written down");
            }
        }
        if looked.elapsed() >= ERASURES_LOOK {
            looked = Instant::now();
            if let Err(error) = boards.look_for_erasures().await {
                tracing::warn!(error = %error.chain(), "cannot tell which viewers are erased");
            }
        }
        let pause = match stepped {
            Ok(0) => POLL,
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(error = %error.chain(), "the boards stand still");
                FAULT_PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = boards.log.appended() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
