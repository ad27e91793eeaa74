//! Health: does the database answer, is there room on the disk, how long are the queues.

use std::sync::Arc;
use std::time::Duration;

use crate::ports::PortError;
use crate::ports::host::{Host, ProcessMemory};
use crate::ports::job_queue::{JobQueue, LaneDepth};
use crate::ports::ledger::Ledger;
use crate::ports::media_store::MediaStore;

/// How long the database may take to answer before it counts as away.
pub const DATABASE_ANSWER_MAX: Duration = Duration::from_secs(2);
/// The reader whose cursor is asked for; it never moves.
const PROBE: &str = "health.probe";

/// What keeps the house going.
#[derive(Clone)]
pub struct Health {
    pub ledger: Arc<dyn Ledger>,
    pub queue: Arc<dyn JobQueue>,
    pub store: Arc<dyn MediaStore>,
    pub host: Arc<dyn Host>,
}

/// How things stand. What could not be learnt is an error in words.
#[derive(Debug)]
pub struct Vitals {
    /// How long the database took to answer.
    pub database: Result<Duration, String>,
    /// Bytes free on the media disk, and its size.
    pub disk: Result<(u64, u64), String>,
    pub lanes: Result<Vec<LaneDepth>, String>,
    pub memory: Result<ProcessMemory, String>,
}

impl Health {
    /// Asks the database something small; a passing error when it takes longer than [`DATABASE_ANSWER_MAX`].
    pub async fn database(&self) -> Result<Duration, PortError> {
        let asked = std::time::Instant::now();
        tokio::time::timeout(DATABASE_ANSWER_MAX, self.ledger.cursor(PROBE))
            .await
            .map_err(|e| PortError::passing("wait for the database", e))??;
        Ok(asked.elapsed())
    }

    /// Everything at once; no part's failure hides another.
    pub async fn vitals(&self) -> Vitals {
        let lanes = async {
            tokio::time::timeout(DATABASE_ANSWER_MAX, self.queue.depths())
                .await
                .map_err(|e| PortError::passing("wait for the queue", e))?
        };
        let (database, disk, lanes) = tokio::join!(self.database(), self.store.space(), lanes);
        Vitals {
            database: database.map_err(|e| e.chain()),
            disk: disk.map_err(|e| e.to_string()),
            lanes: lanes.map_err(|e| e.chain()),
            memory: self.host.memory().map_err(|e| e.chain()),
        }
    }
}
