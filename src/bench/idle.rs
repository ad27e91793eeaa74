//! How long spark takes to be ready on an existing cluster, and how much memory it holds when nothing happens.

use std::path::Path;
use std::time::Duration;

use crate::bench::processes::memory;
use crate::bench::served::{START_MAX, Served};

/// Most time spark may take to be ready, in seconds.
pub const READY_S_MAX: f64 = 3.0;
/// Most anonymous memory it may hold when idle, in MB (10^6 bytes), without PostgreSQL.
pub const IDLE_MB_MAX: f64 = 60.0;
/// Starts measured, after one that creates the cluster.
const STARTS: usize = 3;
/// How long it is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(10);

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Seconds from start to ready on an existing, stopped cluster, each start.
    pub ready_s: Vec<f64>,
    /// Anonymous memory after the last start, idle, in MB.
    pub idle_mb: f64,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum IdleError {
    #[error("cannot start or reach the measured spark")]
    Io(#[from] std::io::Error),
    #[error("the measured spark was not ready after {} s", START_MAX.as_secs())]
    NotReady,
}

/// Starts `program serve` on an own data folder several times and looks at it from outside.
pub fn measure(program: &Path, data: &Path) -> Result<Measured, IdleError> {
    let start = || Served::start(program, data, &[])?.ok_or(IdleError::NotReady);
    let mut ready_s = Vec::with_capacity(STARTS);
    start()?.stop()?;
    for _ in 1..STARTS {
        let server = start()?;
        ready_s.push(server.ready_s);
        server.stop()?;
    }
    let server = start()?;
    ready_s.push(server.ready_s);
    std::thread::sleep(SETTLE);
    let idle_mb = memory(server.pid())?.anonymous_mb;
    server.stop()?;
    Ok(Measured { ready_s, idle_mb })
}
