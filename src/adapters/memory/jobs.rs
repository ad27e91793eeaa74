//! The queue in memory. Leases and pauses run by the memory clock.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::adapters::memory::MemoryDatabase;
use crate::adapters::memory::database::State;
use crate::domain::ids::JobId;
use crate::domain::job::{
    JOB_ATTEMPTS_MAX, JOB_LEASE, Job, JobState, JobTicket, JobView, Lane, retry_pause,
};
use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::job_queue::{Claimed, JOBS_LISTED_MAX, JobQueue, LaneDepth, Lease};

/// A job and the right to it.
#[derive(Debug, Clone)]
pub(super) struct JobRow {
    pub(super) view: JobView,
    fence: i64,
    lease_until: Option<DateTime<Utc>>,
}

impl JobRow {
    /// Rests in a state nothing leads out of by itself.
    pub(super) fn end(&mut self, state: JobState, now: DateTime<Utc>) {
        self.view.state = state;
        self.view.note.clear();
        self.view.finished_at = Some(now);
        self.lease_until = None;
    }

    fn waits(&mut self, run_at: DateTime<Utc>) {
        self.view.state = JobState::Waiting;
        self.view.note.clear();
        self.view.run_at = run_at;
        self.lease_until = None;
    }

    fn lease_ran_out(&self, now: DateTime<Utc>) -> bool {
        self.view.state == JobState::Running && self.lease_until.is_none_or(|until| until <= now)
    }
}

impl State {
    /// Writes an order, unless an equal one is waiting or running.
    pub(super) fn enqueue(&mut self, job: Job, clock: &dyn Clock) -> (JobId, bool) {
        let key = job.dedupe_key();
        if let Some(id) = self.under_way(&key) {
            return (id, false);
        }
        let (id, now) = (JobId::from_uuid(clock.new_id()), clock.now());
        let view = JobView {
            id,
            job,
            state: JobState::Waiting,
            attempt: 0,
            progress: 0.0,
            note: String::new(),
            error: None,
            created_at: now,
            run_at: now,
            started_at: None,
            finished_at: None,
            cancel_asked: false,
        };
        self.jobs.push(JobRow { view, fence: 0, lease_until: None });
        (id, true)
    }

    fn under_way(&self, key: &str) -> Option<JobId> {
        let row = self
            .jobs
            .iter()
            .find(|row| !row.view.state.is_over() && row.view.job.dedupe_key() == key)?;
        Some(row.view.id)
    }

    /// The running job a ticket still holds.
    pub(super) fn held(&mut self, ticket: JobTicket) -> Option<&mut JobRow> {
        self.row(ticket.id)
            .filter(|row| row.fence == ticket.fence && row.view.state == JobState::Running)
    }

    fn row(&mut self, id: JobId) -> Option<&mut JobRow> {
        self.jobs.iter_mut().find(|row| row.view.id == id)
    }

    /// A job that killed its worker on every try goes to rest instead of killing the next.
    fn bury_worn_out(&mut self, lane: Lane, now: DateTime<Utc>) {
        for row in self.jobs.iter_mut().filter(|row| row.view.job.lane() == lane) {
            let worn_out = row.view.cancel_asked || row.view.attempt >= JOB_ATTEMPTS_MAX;
            if row.lease_ran_out(now) && worn_out {
                let cancelled = row.view.cancel_asked;
                row.end(if cancelled { JobState::Cancelled } else { JobState::Failed }, now);
                row.view.error.get_or_insert_with(|| "The worker died on every try.".to_owned());
            }
        }
    }
}

#[async_trait]
impl JobQueue for MemoryDatabase {
    async fn claim(&self, lane: Lane, _worker: &str) -> Result<Option<Claimed>, PortError> {
        let now = self.clock.now();
        let mut state = self.state();
        state.bury_worn_out(lane, now);
        let of_lane = |row: &&mut JobRow| row.view.job.lane() == lane;
        let running = state
            .jobs
            .iter_mut()
            .filter(of_lane)
            .filter(|row| row.view.state == JobState::Running && !row.lease_ran_out(now))
            .count();
        if running as i64 >= lane.running_max() {
            return Ok(None);
        }
        let next = state
            .jobs
            .iter_mut()
            .filter(of_lane)
            .filter(|row| row.view.run_at <= now)
            .filter(|row| row.view.state == JobState::Waiting || row.lease_ran_out(now))
            .min_by_key(|row| (row.view.run_at, row.view.created_at));
        Ok(next.map(|row| {
            row.view.state = JobState::Running;
            row.view.attempt += 1;
            row.view.progress = 0.0;
            row.view.note.clear();
            row.view.started_at = Some(now);
            row.fence += 1;
            row.lease_until = Some(now + JOB_LEASE);
            let ticket = JobTicket { id: row.view.id, fence: row.fence };
            Claimed { ticket, job: row.view.job.clone(), attempt: row.view.attempt }
        }))
    }

    async fn renew(
        &self,
        ticket: JobTicket,
        progress: f32,
        note: &str,
    ) -> Result<Lease, PortError> {
        let now = self.clock.now();
        let mut state = self.state();
        let Some(row) = state.held(ticket) else { return Ok(Lease::Lost) };
        row.lease_until = Some(now + JOB_LEASE);
        row.view.progress = progress.clamp(0.0, 1.0);
        note.clone_into(&mut row.view.note);
        Ok(if row.view.cancel_asked { Lease::CancelAsked } else { Lease::Held })
    }

    async fn fail(
        &self,
        ticket: JobTicket,
        reason: &str,
        retry: bool,
    ) -> Result<Option<JobState>, PortError> {
        let now = self.clock.now();
        let mut state = self.state();
        let Some(row) = state.held(ticket) else { return Ok(None) };
        row.view.error = Some(reason.to_owned());
        if row.view.cancel_asked {
            row.end(JobState::Cancelled, now);
        } else if retry && row.view.attempt < JOB_ATTEMPTS_MAX {
            row.waits(now + retry_pause(row.view.attempt));
        } else {
            row.end(JobState::Failed, now);
        }
        Ok(Some(row.view.state))
    }

    async fn cancelled(&self, ticket: JobTicket) -> Result<(), PortError> {
        let now = self.clock.now();
        if let Some(row) = self.state().held(ticket) {
            row.end(JobState::Cancelled, now);
        }
        Ok(())
    }

    async fn hand_back(&self, ticket: JobTicket) -> Result<(), PortError> {
        let now = self.clock.now();
        if let Some(row) = self.state().held(ticket) {
            row.view.attempt -= 1;
            if row.view.cancel_asked {
                row.end(JobState::Cancelled, now);
            } else {
                row.waits(now);
            }
        }
        Ok(())
    }

    async fn ask_cancel(&self, id: JobId) -> Result<bool, PortError> {
        let now = self.clock.now();
        let mut state = self.state();
        let Some(row) = state.row(id).filter(|row| !row.view.state.is_over()) else {
            return Ok(false);
        };
        row.view.cancel_asked = true;
        if row.view.state == JobState::Waiting {
            row.end(JobState::Cancelled, now);
        }
        Ok(true)
    }

    async fn retry(&self, id: JobId) -> Result<bool, PortError> {
        let now = self.clock.now();
        let mut state = self.state();
        let Some(row) = state.row(id) else { return Ok(false) };
        let rests = matches!(row.view.state, JobState::Failed | JobState::Cancelled);
        let key = row.view.job.dedupe_key();
        if !rests || state.under_way(&key).is_some() {
            return Ok(false);
        }
        let Some(row) = state.row(id) else { return Ok(false) };
        row.waits(now);
        row.view.attempt = 0;
        row.view.progress = 0.0;
        row.view.error = None;
        row.view.cancel_asked = false;
        row.view.finished_at = None;
        Ok(true)
    }

    async fn find(&self, id: JobId) -> Result<Option<JobView>, PortError> {
        Ok(self.state().row(id).map(|row| row.view.clone()))
    }

    async fn list(&self) -> Result<Vec<JobView>, PortError> {
        let mut views: Vec<JobView> =
            self.state().jobs.iter().map(|row| row.view.clone()).collect();
        views.sort_by_key(|view| {
            let rank = match view.state {
                JobState::Running => 0,
                JobState::Waiting => 1,
                JobState::Done | JobState::Failed | JobState::Cancelled => 2,
            };
            (rank, std::cmp::Reverse(view.finished_at.unwrap_or(view.created_at)))
        });
        views.truncate(usize::try_from(JOBS_LISTED_MAX).unwrap_or(usize::MAX));
        Ok(views)
    }

    async fn depths(&self) -> Result<Vec<LaneDepth>, PortError> {
        let state = self.state();
        let count = |lane, of| {
            let jobs = state.jobs.iter().map(|row| &row.view);
            jobs.filter(|view| view.job.lane() == lane && view.state == of).count() as i64
        };
        Ok(Lane::ALL
            .into_iter()
            .map(|lane| LaneDepth {
                lane,
                waiting: count(lane, JobState::Waiting),
                running: count(lane, JobState::Running),
                failed: count(lane, JobState::Failed),
            })
            .collect())
    }
}
