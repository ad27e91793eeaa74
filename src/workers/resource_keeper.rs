//! Looks once a second at everything the machine can run out of.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::use_cases::resources::Resources;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// Looks until `stop`.
pub async fn run(resources: Resources, stop: CancellationToken) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let resources = resources.clone();
        // A disk that does not answer holds this thread, and nobody else.
        if let Err(error) = tokio::task::spawn_blocking(move || resources.look()).await {
            tracing::error!(%error, "a look at the machine broke");
        }
    }
}
