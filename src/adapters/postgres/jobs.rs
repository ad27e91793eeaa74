//! The queue in PostgreSQL. Orders are written in the transaction of the decision they follow from; no crate at hand
//! does that and also has deduplication, progress, cancel and fencing on this sqlx, so it is small and ours.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::adapters::postgres::while_doing;
use crate::domain::ids::JobId;
use crate::domain::job::{
    JOB_ATTEMPTS_MAX, JOB_LEASE, Job, JobState, JobTicket, JobView, Lane, retry_pause,
};
use crate::ports::PortError;
use crate::ports::job_queue::{Claimed, JOBS_LISTED_MAX, JobQueue, LaneDepth, Lease};

/// Lock class of a lane's claims: "job" in ASCII; the lane's number follows.
const CLAIM_LOCK: i32 = 0x006a_6f62;
/// Times an order is written again when an equal one ends at that very moment.
const ENQUEUE_TRIES_MAX: usize = 3;
/// Longest reason kept of a failed try, in characters.
const REASON_CHARS_MAX: usize = 2_000;

/// The queue of one database.
#[derive(Clone)]
pub struct PostgresJobQueue {
    pool: PgPool,
}

impl PostgresJobQueue {
    pub const fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

/// Writes an order, unless an equal one is waiting or running; says which job it is and whether it is new.
pub(super) async fn enqueue(
    tx: &mut Transaction<'_, Postgres>,
    job: &Job,
) -> Result<(JobId, bool), PortError> {
    let key = job.dedupe_key();
    let body = serde_json::to_value(job).map_err(|e| PortError::lasting("write an order", e))?;
    for _ in 0..ENQUEUE_TRIES_MAX {
        // Not now(): orders of one commit keep their order among themselves.
        let fresh = sqlx::query_scalar!(
            "insert into jobs (id, kind, lane, dedupe_key, body, created_at, run_at)
             values ($1, $2, $3, $4, $5, clock_timestamp(), now())
             on conflict (dedupe_key) where state in ('waiting', 'running') do nothing
             returning id",
            Uuid::new_v4(),
            job.kind(),
            job.lane().as_str(),
            key,
            body,
        )
        .fetch_optional(&mut **tx)
        .await
        .map_err(while_doing("write an order"))?;
        if let Some(id) = fresh {
            return Ok((JobId::from_uuid(id), true));
        }
        let standing = sqlx::query_scalar!(
            "select id from jobs where dedupe_key = $1 and state in ('waiting', 'running')",
            key,
        )
        .fetch_optional(&mut **tx)
        .await
        .map_err(while_doing("find an equal order"))?;
        if let Some(id) = standing {
            return Ok((JobId::from_uuid(id), false));
        }
        // The equal one ended between the two statements: there is room now.
    }
    Err(PortError::plain(format!("orders `{key}` came and went {ENQUEUE_TRIES_MAX} times at once")))
}

#[async_trait]
impl JobQueue for PostgresJobQueue {
    async fn claim(&self, lane: Lane, worker: &str) -> Result<Option<Claimed>, PortError> {
        let doing = "claim a job";
        let mut tx = self.pool.begin().await.map_err(while_doing(doing))?;
        // Claims of one lane take turns, so that its limit holds over all processes.
        sqlx::query("select pg_advisory_xact_lock($1, $2)")
            .bind(CLAIM_LOCK)
            .bind(lane as i32)
            .execute(&mut *tx)
            .await
            .map_err(while_doing(doing))?;
        self.bury_worn_out(&mut tx, lane).await?;
        let running = sqlx::query_scalar!(
            r#"select count(*) as "n!" from jobs where lane = $1 and state = 'running' and lease_until > now()"#,
            lane.as_str(),
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(while_doing(doing))?;
        if running >= lane.running_max() {
            return Ok(None);
        }
        let row = sqlx::query!(
            "update jobs
                set state = 'running', attempt = attempt + 1, fence = fence + 1, worker = $2,
                    lease_until = now() + $3 * interval '1 second', progress = 0, note = '',
                    started_at = now()
              where id = (
                    select id from jobs
                     where lane = $1 and run_at <= now()
                       and (state = 'waiting' or (state = 'running' and lease_until <= now()))
                     order by run_at, created_at
                     limit 1
                     for update skip locked)
          returning id, fence, attempt, body",
            lane.as_str(),
            worker,
            JOB_LEASE.as_secs_f64(),
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(while_doing(doing))?;
        tx.commit().await.map_err(while_doing(doing))?;
        row.map(|row| {
            let job = read_order(row.id, row.body)?;
            let ticket = JobTicket { id: JobId::from_uuid(row.id), fence: row.fence };
            Ok(Claimed { ticket, job, attempt: row.attempt })
        })
        .transpose()
    }

    async fn renew(
        &self,
        ticket: JobTicket,
        progress: f32,
        note: &str,
    ) -> Result<Lease, PortError> {
        let cancel = sqlx::query_scalar!(
            "update jobs
                set lease_until = now() + $3 * interval '1 second', progress = $4, note = $5
              where id = $1 and fence = $2 and state = 'running'
          returning cancel_asked",
            ticket.id.as_uuid(),
            ticket.fence,
            JOB_LEASE.as_secs_f64(),
            progress.clamp(0.0, 1.0),
            note,
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(while_doing("renew a lease"))?;
        Ok(match cancel {
            None => Lease::Lost,
            Some(true) => Lease::CancelAsked,
            Some(false) => Lease::Held,
        })
    }

    async fn fail(
        &self,
        ticket: JobTicket,
        reason: &str,
        retry: bool,
    ) -> Result<Option<JobState>, PortError> {
        let doing = "note a failed try";
        let attempt =
            sqlx::query_scalar!("select attempt from jobs where id = $1", ticket.id.as_uuid())
                .fetch_optional(&self.pool)
                .await
                .map_err(while_doing(doing))?
                .unwrap_or(JOB_ATTEMPTS_MAX);
        let again = retry && attempt < JOB_ATTEMPTS_MAX;
        let state = if again { JobState::Waiting } else { JobState::Failed };
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        // What people asked to stop is not tried again.
        let noted = sqlx::query_scalar!(
            "update jobs
                set state = case when cancel_asked then 'cancelled' else $3 end, error = $4, lease_until = null, note = '',
                    run_at = now() + $5 * interval '1 second',
                    finished_at = case when cancel_asked or $3 = 'failed' then now() end
              where id = $1 and fence = $2 and state = 'running'
          returning state",
            ticket.id.as_uuid(),
            ticket.fence,
            state.as_str(),
            reason,
            retry_pause(attempt).as_secs_f64(),
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(while_doing(doing))?;
        Ok(noted.and_then(|state| JobState::parse(&state)))
    }

    async fn cancelled(&self, ticket: JobTicket) -> Result<(), PortError> {
        sqlx::query!(
            "update jobs set state = 'cancelled', lease_until = null, finished_at = now(), note = ''
              where id = $1 and fence = $2 and state = 'running'",
            ticket.id.as_uuid(),
            ticket.fence,
        )
        .execute(&self.pool)
        .await
        .map_err(while_doing("note a cancelled job"))?;
        Ok(())
    }

    async fn hand_back(&self, ticket: JobTicket) -> Result<(), PortError> {
        sqlx::query!(
            "update jobs
                set state = case when cancel_asked then 'cancelled' else 'waiting' end, attempt = attempt - 1,
                    lease_until = null, run_at = now(), note = '',
                    finished_at = case when cancel_asked then now() end
              where id = $1 and fence = $2 and state = 'running'",
            ticket.id.as_uuid(),
            ticket.fence,
        )
        .execute(&self.pool)
        .await
        .map_err(while_doing("hand a job back"))?;
        Ok(())
    }

    async fn ask_cancel(&self, id: JobId) -> Result<bool, PortError> {
        let asked = sqlx::query!(
            "update jobs
                set cancel_asked = true,
                    state = case when state = 'waiting' then 'cancelled' else state end,
                    finished_at = case when state = 'waiting' then now() end
              where id = $1 and state in ('waiting', 'running')",
            id.as_uuid(),
        )
        .execute(&self.pool)
        .await
        .map_err(while_doing("ask to cancel a job"))?;
        Ok(asked.rows_affected() == 1)
    }

    async fn retry(&self, id: JobId) -> Result<bool, PortError> {
        let again = sqlx::query!(
            "update jobs
                set state = 'waiting', attempt = 0, run_at = now(), error = null, progress = 0,
                    cancel_asked = false, finished_at = null
              where id = $1 and state in ('failed', 'cancelled')
                and not exists (
                    select from jobs as other
                     where other.dedupe_key = jobs.dedupe_key and other.state in ('waiting', 'running'))",
            id.as_uuid(),
        )
        .execute(&self.pool)
        .await;
        match again {
            Ok(again) => Ok(again.rows_affected() == 1),
            // An equal order came in at that very moment: it is under way.
            Err(sqlx::Error::Database(error)) if error.constraint() == Some("jobs_under_way") => {
                Ok(false)
            }
            Err(error) => Err(while_doing("retry a job")(error)),
        }
    }

    async fn find(&self, id: JobId) -> Result<Option<JobView>, PortError> {
        sqlx::query_as!(
            JobRow,
            "select id, body, state, attempt, progress, note, error, created_at, run_at, started_at, finished_at,
                    cancel_asked
               from jobs where id = $1",
            id.as_uuid(),
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(while_doing("read a job"))?
        .map(JobView::try_from)
        .transpose()
    }

    async fn list(&self) -> Result<Vec<JobView>, PortError> {
        let rows = sqlx::query_as!(
            JobRow,
            "select id, body, state, attempt, progress, note, error, created_at, run_at, started_at, finished_at,
                    cancel_asked
               from jobs
              order by array_position(array['running', 'waiting'], state) nulls last,
                       coalesce(finished_at, created_at) desc
              limit $1",
            JOBS_LISTED_MAX,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("list the jobs"))?;
        rows.into_iter().map(JobView::try_from).collect()
    }

    async fn depths(&self) -> Result<Vec<LaneDepth>, PortError> {
        let rows = sqlx::query!(
            r#"select lane,
                      count(*) filter (where state = 'waiting') as "waiting!",
                      count(*) filter (where state = 'running') as "running!",
                      count(*) filter (where state = 'failed') as "failed!"
                 from jobs group by lane"#,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("measure the queue"))?;
        Ok(Lane::ALL
            .into_iter()
            .map(|lane| {
                let row = rows.iter().find(|row| row.lane == lane.as_str());
                LaneDepth {
                    lane,
                    waiting: row.map_or(0, |row| row.waiting),
                    running: row.map_or(0, |row| row.running),
                    failed: row.map_or(0, |row| row.failed),
                }
            })
            .collect())
    }
}

impl PostgresJobQueue {
    /// A job that killed its worker on every try goes to rest instead of killing the next.
    async fn bury_worn_out(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        lane: Lane,
    ) -> Result<(), PortError> {
        sqlx::query!(
            "update jobs
                set state = case when cancel_asked then 'cancelled' else 'failed' end, finished_at = now(), lease_until = null,
                    error = coalesce(error, 'The worker died on every try; see the log of that time.')
              where lane = $1 and state = 'running' and lease_until <= now() and (attempt >= $2 or cancel_asked)",
            lane.as_str(),
            JOB_ATTEMPTS_MAX,
        )
        .execute(&mut **tx)
        .await
        .map_err(while_doing("bury worn-out jobs"))?;
        Ok(())
    }
}

struct JobRow {
    id: Uuid,
    body: serde_json::Value,
    state: String,
    attempt: i32,
    progress: f32,
    note: String,
    error: Option<String>,
    created_at: DateTime<Utc>,
    run_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    cancel_asked: bool,
}

impl TryFrom<JobRow> for JobView {
    type Error = PortError;
    fn try_from(row: JobRow) -> Result<Self, PortError> {
        let state = JobState::parse(&row.state).ok_or_else(|| {
            PortError::plain(format!(
                "job {} of jobs has the unknown state `{}`",
                row.id, row.state
            ))
        })?;
        Ok(Self {
            id: JobId::from_uuid(row.id),
            job: read_order(row.id, row.body)?,
            state,
            attempt: row.attempt,
            progress: row.progress,
            note: row.note,
            error: row.error,
            created_at: row.created_at,
            run_at: row.run_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            cancel_asked: row.cancel_asked,
        })
    }
}

fn read_order(id: Uuid, body: serde_json::Value) -> Result<Job, PortError> {
    serde_json::from_value(body)
        .map_err(|e| PortError::lasting(format!("understand job {id} of jobs"), e))
}
