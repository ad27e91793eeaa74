//! Slow work: an exhaustive match on [`Job`]. An order nobody carries out does not compile.

use std::sync::Arc;

use crate::domain::clips::clip::ClipEvent;
use crate::domain::ids::JobId;
use crate::domain::job::{ImportOrder, Job, JobView};
use crate::ports::PortError;
use crate::ports::job_queue::{JobQueue, LaneDepth};
use crate::use_cases::clips::Clips;
use crate::use_cases::live::Lives;
use crate::use_cases::moments::Moments;
use crate::use_cases::{Work, WorkError};

/// The queue, and who carries out what.
#[derive(Clone)]
pub struct Jobs {
    pub queue: Arc<dyn JobQueue>,
    pub lives: Lives,
    pub moments: Moments,
    pub clips: Clips,
}

impl Jobs {
    /// Carries out an order; its result is written with the job's end, in one commit.
    pub async fn carry_out(&self, job: &Job, work: &Work) -> Result<(), WorkError> {
        match job {
            Job::ImportStream(order) => self.lives.import(order, work).await,
            Job::DetectMoments { live } => self.moments.detect(*live, work).await,
            Job::CutClip { clip } => self.clips.cut(*clip, work).await,
            Job::RenderReel { clip } => self.clips.render(*clip, work).await,
        }
    }

    /// After the last try, says so where people look.
    pub async fn give_up(&self, job: &Job, reason: &str) -> Result<(), PortError> {
        let reason = reason.to_owned();
        match job {
            Job::CutClip { clip } => {
                self.clips.give_up(ClipEvent::CutFailed { clip: *clip, reason }).await
            }
            Job::RenderReel { clip } => {
                self.clips.give_up(ClipEvent::ReelFailed { clip: *clip, reason }).await
            }
            Job::ImportStream(_) | Job::DetectMoments { .. } => Ok(()),
        }
    }

    /// After an order was refused for its input, lets go of what was stored for it: nothing stays half imported.
    pub async fn let_go(&self, job: &Job) -> Result<(), PortError> {
        match job {
            Job::ImportStream(order) => {
                let waiting: Vec<ImportOrder> = self
                    .queue
                    .list()
                    .await?
                    .into_iter()
                    .filter(|view| !view.state.is_over())
                    .filter_map(|view| match view.job {
                        Job::ImportStream(order) => Some(order),
                        _ => None,
                    })
                    .collect();
                self.lives.let_go(order, &waiting).await
            }
            Job::DetectMoments { .. } | Job::CutClip { .. } | Job::RenderReel { .. } => Ok(()),
        }
    }

    /// The newest jobs, running first.
    pub async fn list(&self) -> Result<Vec<JobView>, PortError> {
        self.queue.list().await
    }

    /// One job.
    pub async fn find(&self, id: JobId) -> Result<Option<JobView>, PortError> {
        self.queue.find(id).await
    }

    /// Another round of tries. `false` when there is nothing to retry.
    pub async fn retry(&self, id: JobId) -> Result<bool, PortError> {
        self.queue.retry(id).await
    }

    /// Asks a job to stop. `false` when it was over.
    pub async fn cancel(&self, id: JobId) -> Result<bool, PortError> {
        self.queue.ask_cancel(id).await
    }

    /// How full the lanes are.
    pub async fn depths(&self) -> Result<Vec<LaneDepth>, PortError> {
        self.queue.depths().await
    }
}
