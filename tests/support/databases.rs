//! The memory twin and PostgreSQL behind the same three ports, so that one behaviour is asked of both.

use std::sync::Arc;
use std::time::Duration;

use spark::adapters::memory::{MemoryClock, MemoryDatabase};
use spark::adapters::postgres::{
    PostgresAudienceLog, PostgresJobQueue, PostgresLedger, PostgresShelves,
};
use spark::domain::event::Event;
use spark::domain::job::{Job, Lane};
use spark::ports::audience_log::AudienceLog;
use spark::ports::job_queue::{Claimed, JobQueue};
use spark::ports::ledger::{Commit, CommitError, Committed, Ledger};
use spark::ports::shelves::Shelves;
use sqlx::PgPool;

/// A database as one process sees it.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) queue: Arc<dyn JobQueue>,
    pub(crate) shelves: Arc<dyn Shelves>,
    pub(crate) notices: Arc<dyn AudienceLog>,
    pub(crate) system: System,
}

/// What answers behind the ports.
#[derive(Clone)]
pub(crate) enum System {
    Memory(MemoryDatabase, MemoryClock),
    Postgres(PgPool),
}

impl Database {
    pub(crate) fn in_memory() -> Self {
        let clock = MemoryClock::default();
        Self::of_memory(MemoryDatabase::new(clock.clone()), clock)
    }

    pub(crate) async fn in_postgres() -> Self {
        Self::of_pool(crate::support::fresh_database().await)
    }

    /// The same database as another process sees it.
    pub(crate) async fn of_another_process(&self) -> Self {
        match &self.system {
            System::Memory(database, clock) => Self::of_memory(database.clone(), clock.clone()),
            System::Postgres(pool) => Self::of_pool(crate::support::another_pool(pool).await),
        }
    }

    fn of_memory(database: MemoryDatabase, clock: MemoryClock) -> Self {
        Self {
            ledger: Arc::new(database.clone()),
            queue: Arc::new(database.clone()),
            shelves: Arc::new(database.clone()),
            notices: Arc::new(database.clone()),
            system: System::Memory(database, clock),
        }
    }

    fn of_pool(pool: PgPool) -> Self {
        Self {
            ledger: Arc::new(PostgresLedger::new(pool.clone())),
            queue: Arc::new(PostgresJobQueue::new(pool.clone())),
            shelves: Arc::new(PostgresShelves::new(pool.clone())),
            notices: Arc::new(PostgresAudienceLog::new(pool.clone())),
            system: System::Postgres(pool),
        }
    }

    /// Lets time pass for the queue: the memory clock moves on, PostgreSQL's leases and pauses move back.
    pub(crate) async fn pass(&self, time: Duration) {
        match &self.system {
            System::Memory(_, clock) => clock.advance(time),
            System::Postgres(pool) => {
                let seconds = time.as_secs_f64();
                sqlx::query(
                    "update jobs set run_at = run_at - $1 * interval '1 second',
                                     lease_until = lease_until - $1 * interval '1 second'",
                )
                .bind(seconds)
                .execute(pool)
                .await
                .expect("move the queue's times");
            }
        }
    }

    pub(crate) async fn write(&self, events: Vec<Event>) -> Committed {
        let commit = Commit { events, ..Commit::default() };
        self.ledger.commit(commit).await.expect("a commit")
    }

    pub(crate) async fn order(&self, job: Job) -> (spark::domain::ids::JobId, bool) {
        let commit = Commit { jobs: vec![job], ..Commit::default() };
        self.ledger.commit(commit).await.expect("an order").jobs[0]
    }

    pub(crate) async fn claim(&self, lane: Lane) -> Option<Claimed> {
        self.queue.claim(lane, "worker").await.expect("the queue answers")
    }

    /// Ends a claimed job with a result.
    pub(crate) async fn finish(
        &self,
        claimed: &Claimed,
        events: Vec<Event>,
    ) -> Result<Committed, CommitError> {
        let commit = Commit { events, finish: Some(claimed.ticket), ..Commit::default() };
        self.ledger.commit(commit).await
    }

    pub(crate) async fn sequence(&self) -> Vec<i64> {
        let events = self.ledger.events_after(0).await.expect("the log");
        events.into_iter().map(|event| event.seq).collect()
    }
}

/// One test a behaviour and system: `memory::name` and `postgres::name`.
#[macro_export]
macro_rules! kept_by_memory_and_postgres {
    ($($behaviour:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour($crate::support::databases::Database::in_memory()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                super::$behaviour($crate::support::databases::Database::in_postgres().await).await;
            })+
        }
    };
}
