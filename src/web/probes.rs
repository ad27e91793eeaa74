//! For those who keep the house going: alive, ready, and how things stand.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::web::{App, Problem};

/// The process answers.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// The database answers too, within its limit.
pub(super) async fn ready(State(app): State<App>) -> Result<&'static str, Problem> {
    app.health.database().await.map_err(|error| Problem::unavailable(error.chain()))?;
    Ok("ready\n")
}

/// How things stand. A part that could not be learnt is `null`, its reason among the `faults`.
#[derive(Debug, Serialize)]
pub(super) struct VitalsDocument {
    version: &'static str,
    database_ms: Option<f64>,
    disk_free_bytes: Option<u64>,
    disk_bytes: Option<u64>,
    resident_bytes: Option<u64>,
    anonymous_bytes: Option<u64>,
    lanes: Vec<Lane>,
    faults: Vec<String>,
}

#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the field is what a reader of the answer looks for")]
struct Lane {
    lane: &'static str,
    waiting: i64,
    running: i64,
    failed: i64,
}

pub(super) async fn vitals(State(app): State<App>) -> Json<VitalsDocument> {
    let vitals = app.health.vitals().await;
    let mut faults = Vec::new();
    let database = keep(vitals.database, &mut faults);
    let disk = keep(vitals.disk, &mut faults);
    let memory = keep(vitals.memory, &mut faults);
    let lanes = keep(vitals.lanes, &mut faults).unwrap_or_default();
    Json(VitalsDocument {
        version: env!("CARGO_PKG_VERSION"),
        database_ms: database.map(|took| took.as_secs_f64() * 1_000.0),
        disk_free_bytes: disk.map(|(free, _)| free),
        disk_bytes: disk.map(|(_, size)| size),
        resident_bytes: memory.map(|memory| memory.resident),
        anonymous_bytes: memory.map(|memory| memory.anonymous),
        lanes: lanes
            .into_iter()
            .map(|depth| Lane {
                lane: depth.lane.as_str(),
                waiting: depth.waiting,
                running: depth.running,
                failed: depth.failed,
            })
            .collect(),
        faults,
    })
}

fn keep<T>(part: Result<T, String>, faults: &mut Vec<String>) -> Option<T> {
    part.map_err(|fault| faults.push(fault)).ok()
}
