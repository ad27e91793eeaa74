//! Weighs once a second whether something is wrong, and has people told.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::domain::alerts::Condition;
use crate::domain::alerts::resources::{blind, ceilings, fills_soon, plan_differs, stalled};
use crate::domain::resources::Resource;
use crate::domain::resources::plan::{Plan, disagreements};
use crate::ports::clock::Clock;
use crate::use_cases::alerts::Alerts;
use crate::use_cases::resources::Resources;

/// How often it weighs.
const EVERY: Duration = Duration::from_secs(1);
/// A turn that takes longer is given up: the database or the disk does not answer.
const TURN_MAX: Duration = Duration::from_secs(10);
/// What only fills.
const FILLS: [Resource; 3] = [Resource::Disk, Resource::Inodes, Resource::Transfer];

/// What is looked after, for alerts.
#[derive(Clone)]
pub struct Watched {
    pub resources: Resources,
    /// The hosting plan in the settings, if there is one.
    pub plan: Option<Plan>,
    /// Whether renders are governed in this process.
    pub is_governed: bool,
    pub clock: std::sync::Arc<dyn Clock>,
}

/// Takes up what an earlier process left, then weighs until `stop`.
pub async fn run(alerts: Alerts, watched: Watched, stop: CancellationToken) {
    while let Err(error) = alerts.resume().await {
        tracing::warn!(error = %error.chain(), "cannot read yet which alerts last");
        if stop.run_until_cancelled(tokio::time::sleep(TURN_MAX)).await.is_none() {
            return;
        }
    }
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let (alerts, watched) = (alerts.clone(), watched.clone());
        // A turn that breaks or hangs is one turn: the next one comes.
        let turn = tokio::spawn(async move {
            alerts.report("resources", wrong(&watched));
            tokio::time::timeout(TURN_MAX, alerts.turn()).await
        });
        match turn.await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::warn!("the alerts took too long to weigh"),
            Err(error) => tracing::error!(%error, "a weighing of alerts broke"),
        }
    }
}

/// All that is wrong with the machine.
fn wrong(watched: &Watched) -> Vec<Condition> {
    let Watched { resources, plan, is_governed, clock } = watched;
    let standing = resources.standing();
    let mut wrong = ceilings(&standing.raised);
    wrong.extend(blind(&standing.sample.blind));
    let looked = (clock.now() - standing.sample.at).to_std().unwrap_or_default();
    wrong.extend(stalled(looked, is_governed.then(|| resources.governed_ago())));
    let fills = FILLS.into_iter().filter_map(|resource| {
        fills_soon(resource, resources.history(|history| history.time_to_line(resource)))
    });
    wrong.extend(fills);
    if let Some(plan) = plan {
        wrong.extend(plan_differs(&disagreements(plan, &standing.sample)));
    }
    wrong
}
