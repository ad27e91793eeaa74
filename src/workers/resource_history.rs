//! Keeps the minutes of the machine over restarts, and reads what the database itself has left.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::domain::resources::history::{History, KEPT_FOR};
use crate::domain::resources::{Blind, Resource, Scope};
use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::resource_minutes::{DatabaseMeter, ResourceMinutes};
use crate::use_cases::resources::Resources;

/// How often the database is looked at.
const EVERY: Duration = Duration::from_secs(10);
/// A database that takes longer does not answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How often what is older than a week is forgotten.
const FORGET_EVERY: TimeDelta = TimeDelta::hours(1);

/// Where the minutes lie, and what counts connections.
pub trait Kept: ResourceMinutes + DatabaseMeter {}
impl<T: ResourceMinutes + DatabaseMeter> Kept for T {}

/// Takes up the past, then keeps what comes until `stop`. Minutes that the database does not take now are kept later.
pub async fn run(
    resources: Resources,
    kept: std::sync::Arc<dyn Kept>,
    clock: std::sync::Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let mut is_restored = false;
    let mut forgot_at = None;
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        resources.tell(match in_time(kept.connections()).await {
            Ok(reading) => Ok(reading),
            Err(error) => Err(Blind {
                resource: Resource::Connections,
                scope: Scope::Service,
                why: error.chain(),
            }),
        });
        let now = clock.now();
        let turn = async {
            if !is_restored {
                let past = in_time(kept.since(now - KEPT_FOR)).await?;
                resources.restore(past);
                is_restored = true;
            }
            let unkept = resources.history(History::unkept);
            if !unkept.is_empty() {
                in_time(kept.keep(&unkept)).await?;
                resources.kept(&unkept);
            }
            if forgot_at.is_none_or(|at| now - at >= FORGET_EVERY) {
                in_time(kept.forget(now - KEPT_FOR)).await?;
                forgot_at = Some(now);
            }
            Ok::<_, PortError>(())
        };
        if let Err(error) = turn.await {
            tracing::debug!(error = %error.chain(), "the machine's minutes are kept later");
        }
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, PortError>>) -> Result<T, PortError> {
    match tokio::time::timeout(ANSWER_MAX, asked).await {
        Ok(answer) => answer,
        Err(late) => Err(PortError::passing("hear from the database in time", late)),
    }
}
