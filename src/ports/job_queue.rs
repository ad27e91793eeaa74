//! The job queue, seen from its workers and from the people who watch it. Orders come in through the ledger.

use async_trait::async_trait;

use crate::domain::ids::JobId;
use crate::domain::job::{Job, JobState, JobTicket, JobView, Lane};
use crate::ports::PortError;

/// Most jobs listed at once.
pub const JOBS_LISTED_MAX: i64 = 200;

/// A job handed to a worker, which must renew its lease before it runs out.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    pub ticket: JobTicket,
    pub job: Job,
    /// 1 on the first try.
    pub attempt: i32,
}

/// What a worker learns when it renews its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    Held,
    CancelAsked,
    /// Somebody else has the job now: stop, and write nothing.
    Lost,
}

/// What the queue holds of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneDepth {
    pub lane: Lane,
    pub waiting: i64,
    pub running: i64,
    pub failed: i64,
}

/// The queue of slow work.
#[async_trait]
pub trait JobQueue: Send + Sync {
    /// The oldest job of the lane that may run now, or one whose worker's lease ran out. Never more at once than the lane allows.
    async fn claim(&self, lane: Lane, worker: &str) -> Result<Option<Claimed>, PortError>;

    /// Renews a lease and stores progress (0 to 1) with a word on it.
    async fn renew(&self, ticket: JobTicket, progress: f32, note: &str)
    -> Result<Lease, PortError>;

    /// The try failed. With `retry` it waits for another, until the tries are used up; else it rests among the failed.
    /// Says where the job stands now; `None` when the lease was lost.
    async fn fail(
        &self,
        ticket: JobTicket,
        reason: &str,
        retry: bool,
    ) -> Result<Option<JobState>, PortError>;

    /// The worker has stopped because people asked.
    async fn cancelled(&self, ticket: JobTicket) -> Result<(), PortError>;

    /// Gives a job back untried: the worker is stopping.
    async fn hand_back(&self, ticket: JobTicket) -> Result<(), PortError>;

    /// People ask to stop a job. A waiting one is over at once. `false` when it was over already.
    async fn ask_cancel(&self, id: JobId) -> Result<bool, PortError>;

    /// People ask for another round of tries. `false` when it does not rest among the failed or cancelled.
    async fn retry(&self, id: JobId) -> Result<bool, PortError>;

    /// One job.
    async fn find(&self, id: JobId) -> Result<Option<JobView>, PortError>;

    /// The newest jobs, running first, then waiting, then over; at most [`JOBS_LISTED_MAX`].
    async fn list(&self) -> Result<Vec<JobView>, PortError>;

    /// How full the lanes are.
    async fn depths(&self) -> Result<Vec<LaneDepth>, PortError>;
}
