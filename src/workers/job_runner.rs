//! Takes jobs off the queue, as many workers a lane as it may run at once, keeps their leases and hears when people want them to stop.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::domain::job::{JOB_HEARTBEAT, JOB_LEASE, Job, JobState, JobTicket, Lane};
use crate::domain::resources::Class;
use crate::ports::PortError;
use crate::ports::job_queue::{Claimed, Lease};
use crate::use_cases::jobs::{CANCELLED, Jobs};
use crate::use_cases::resources::Resources;
use crate::use_cases::{Work, WorkError};

/// How often an idle lane looks for work of other processes.
const POLL: Duration = Duration::from_millis(500);
/// How often jobs that ended without a word are looked for.
const SETTLE_EVERY: Duration = Duration::from_secs(10);
/// Pause after the queue did not answer.
const FAULT_PAUSE: Duration = Duration::from_secs(2);

/// Runs all lanes until `stop`, then hands back what is in flight.
pub async fn run(jobs: Jobs, resources: Resources, worker: String, stop: CancellationToken) {
    let mut lanes = JoinSet::new();
    for lane in Lane::ALL {
        for _ in 0..lane.running_max() {
            let resources = (lane.class() == Class::Sheddable).then(|| resources.clone());
            lanes.spawn(run_lane(jobs.clone(), lane, resources, worker.clone(), stop.clone()));
        }
    }
    lanes.spawn(settle(jobs, stop));
    while lanes.join_next().await.is_some() {}
}

/// Looks now and then for jobs that ended without a word: their worker died in the middle of saying so.
async fn settle(jobs: Jobs, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = jobs.settle().await {
            tracing::error!(error = %error.chain(), "could not settle jobs that ended without a word");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SETTLE_EVERY) => {}
        }
    }
}

/// `resources` are asked before a job begins; none for work that waits for nothing.
async fn run_lane(
    jobs: Jobs,
    lane: Lane,
    resources: Option<Resources>,
    worker: String,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        if let Some(resources) = &resources {
            tokio::select! {
                () = stop.cancelled() => return,
                () = resources.calm() => {}
            }
        }
        let pause = match jobs.queue.claim(lane, &worker).await {
            Ok(Some(claimed)) => {
                run_job(&jobs, claimed, &stop).await;
                continue;
            }
            Ok(None) => POLL,
            Err(error) => {
                tracing::error!(lane = lane.as_str(), error = %error.chain(), "the queue does not answer");
                FAULT_PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = jobs.lives.ledger.written() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// How the keeper of a lease saw it end before the work did.
enum Ended {
    CancelAsked,
    Lost,
    Stopping,
}

async fn run_job(jobs: &Jobs, claimed: Claimed, stop: &CancellationToken) {
    let Claimed { ticket, job, attempt } = claimed;
    let kind = job.kind();
    tracing::info!(job.id = %ticket.id, job.kind = kind, attempt, "started job");
    let cancel = CancellationToken::new();
    let work = Work::on(ticket, cancel.clone());
    let started = tokio::time::Instant::now();
    let mut carrying = {
        let (jobs, job, work) = (jobs.clone(), job.clone(), work.clone());
        tokio::spawn(async move { jobs.carry_out(&job, &work).await })
    };
    let mut ended = None;
    let outcome = loop {
        tokio::select! {
            outcome = &mut carrying => break outcome,
            early = keep_lease(jobs, &work, stop), if ended.is_none() => {
                ended = Some(early);
                cancel.cancel();
            }
        }
    };
    let duration_ms = started.elapsed().as_millis() as u64;
    let outcome = outcome
        .unwrap_or_else(|panic| Err(WorkError::Passing(format!("the job's code broke: {panic}"))));
    let settled = match (outcome, ended) {
        (Ok(()), _) => {
            tracing::info!(job.id = %ticket.id, job.kind = kind, duration_ms, "finished job");
            Ok(())
        }
        (Err(WorkError::LeaseLost), _) | (Err(_), Some(Ended::Lost)) => {
            tracing::warn!(job.id = %ticket.id, job.kind = kind, "lost the lease of a job; its result was not written");
            Ok(())
        }
        (Err(WorkError::Cancelled), Some(Ended::Stopping)) => jobs.queue.hand_back(ticket).await,
        (Err(WorkError::Cancelled), _) => stop_for_people(jobs, &job, ticket).await,
        (Err(WorkError::Refused(reason)), _) => {
            tracing::warn!(job.id = %ticket.id, job.kind = kind, reason, "refused job");
            rest(jobs, &job, ticket, &reason, false).await
        }
        (Err(WorkError::Passing(reason)), _) => {
            tracing::warn!(job.id = %ticket.id, job.kind = kind, reason, attempt, "a try of a job failed");
            rest(jobs, &job, ticket, &reason, true).await
        }
    };
    if let Err(error) = settled {
        // The lease runs out by itself and the job is taken up again.
        tracing::error!(job.id = %ticket.id, error = %error.chain(), "could not say how a job ended");
    }
}

/// People asked to stop it: what came in for it goes, and the shelf says so.
async fn stop_for_people(jobs: &Jobs, job: &Job, ticket: JobTicket) -> Result<(), PortError> {
    jobs.queue.cancelled(ticket).await?;
    jobs.give_up(job, CANCELLED).await?;
    jobs.let_go(job).await
}

async fn rest(
    jobs: &Jobs,
    job: &Job,
    ticket: JobTicket,
    reason: &str,
    retry: bool,
) -> Result<(), PortError> {
    if jobs.queue.fail(ticket, reason, retry).await? == Some(JobState::Failed) {
        jobs.give_up(job, reason).await?;
        if !retry {
            jobs.let_go(job).await?;
        }
    }
    Ok(())
}

/// Renews the lease until there is a reason to stop the work. A queue that is away is bridged as long as the lease lasts.
async fn keep_lease(jobs: &Jobs, work: &Work, stop: &CancellationToken) -> Ended {
    let mut renewed = tokio::time::Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ended::Stopping,
            () = tokio::time::sleep(JOB_HEARTBEAT) => {}
        }
        let (progress, note) = work.progress();
        match jobs.queue.renew(work.ticket, progress, &note).await {
            Ok(Lease::Held) => renewed = tokio::time::Instant::now(),
            Ok(Lease::CancelAsked) => return Ended::CancelAsked,
            Ok(Lease::Lost) => return Ended::Lost,
            Err(error) if renewed.elapsed() > JOB_LEASE => {
                tracing::error!(job.id = %work.ticket.id, error = %error.chain(), "gave a job up: its lease ran out");
                return Ended::Lost;
            }
            Err(error) => {
                tracing::warn!(job.id = %work.ticket.id, error = %error.chain(), "could not renew a lease");
            }
        }
    }
}
