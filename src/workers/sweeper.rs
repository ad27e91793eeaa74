//! Folds the minutes of lives that are over, and lets go, once an hour, of what must not be kept: raw audience of weeks that
//! are over, ids nobody repeats. Makes room for what comes next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::ports::clock::Clock;
use crate::use_cases::audience::Audience;
use crate::use_cases::villa::Weeks;

/// Time between two rounds.
const EVERY: Duration = Duration::from_hours(1);
/// Time between two looks for a live that has just ended.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Runs until `stop`; the first round is at once.
pub async fn run(weeks: Weeks, audience: Audience, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let mut swept: Option<Instant> = None;
    loop {
        if swept.is_none_or(|at| at.elapsed() >= EVERY) {
            swept = Some(Instant::now());
            sweep(&weeks, &audience, &*clock).await;
        } else if let Err(error) = weeks.fold_fresh(clock.now()).await {
            tracing::error!(error = %error.chain(), "could not fold the minutes of a live");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn sweep(weeks: &Weeks, audience: &Audience, clock: &dyn Clock) {
    if let Err(error) = weeks.fold_late(clock.now()).await {
        tracing::error!(error = %error.chain(), "could not fold the minutes of lives");
    }
    match weeks.age(clock.now()).await {
        Ok(0) => {}
        Ok(aged) => tracing::info!(weeks = aged, "dropped the raw audience of weeks that are over"),
        Err(error) => tracing::error!(error = %error.chain(), "could not let the audience age"),
    }
    if let Err(error) = audience.log.make_room(clock.now()).await {
        tracing::error!(error = %error.chain(), "could not make room for the days ahead");
    }
}
