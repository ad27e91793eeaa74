//! Slow work: an exhaustive match on [`Job`]. An order nobody carries out does not compile.

use std::sync::Arc;

use crate::domain::clips::clip::{ClipEvent, ClipState, ReelState};
use crate::domain::ids::JobId;
use crate::domain::job::{ImportOrder, Job, JobState, JobView};
use crate::domain::media::MediaObject;
use crate::ports::PortError;
use crate::ports::job_queue::{JobQueue, LaneDepth};
use crate::use_cases::audience::gaps::Gaps;
use crate::use_cases::clips::Clips;
use crate::use_cases::clips::align::Alignments;
use crate::use_cases::live::{Lives, Received};
use crate::use_cases::moments::Moments;
use crate::use_cases::{Work, WorkError};

/// What a clip says when people stopped its job.
pub const CANCELLED: &str = "Annulé.";

/// The queue, and who carries out what.
#[derive(Clone)]
pub struct Jobs {
    pub queue: Arc<dyn JobQueue>,
    pub lives: Lives,
    pub moments: Moments,
    pub clips: Clips,
    pub gaps: Gaps,
    pub alignments: Alignments,
}

impl Jobs {
    /// Orders the import of two files that are in the store. What is there already leaves no second copy.
    pub async fn order_import(&self, order: ImportOrder) -> Result<Received, PortError> {
        let (video, chat) = (order.video.clone(), order.chat.clone());
        let received = self.lives.order_import(order).await?;
        if let Received::AlreadyHere(_) = received {
            self.let_go_of(&[&video, &chat]).await?;
        }
        Ok(received)
    }

    /// Carries out an order; its result is written with the job's end, in one commit.
    pub async fn carry_out(&self, job: &Job, work: &Work) -> Result<(), WorkError> {
        match job {
            Job::ImportStream(order) => {
                self.lives.import(order, work).await?;
                // The chat is in the log now, where it ages; a file of names and words must not outlive it.
                if let Err(error) = self.let_go_of(&[&order.chat]).await {
                    tracing::warn!(error = %error.chain(), media.key = %order.chat.key, "could not remove an imported chat file");
                }
                Ok(())
            }
            Job::DetectMoments { live } => self.moments.detect(*live, work).await,
            Job::CutClip { clip } => self.clips.cut(*clip, work).await,
            Job::RenderReel { clip } => self.clips.render(*clip, work).await,
            Job::FillGap { gap } => self.gaps.fill(gap, work).await,
            Job::CutCamera { clip } => self.clips.cut_camera(*clip, work).await,
            Job::ClipMark { live, offset_ms } => self.clips.of_mark(*live, *offset_ms, work).await,
            Job::AlignCameras => self.alignments.carry_out(work).await,
        }
    }

    /// After the last try, says so where people look.
    pub async fn give_up(&self, job: &Job, reason: &str) -> Result<(), PortError> {
        let reason = reason.to_owned();
        match job {
            Job::CutClip { clip } | Job::CutCamera { clip } => {
                self.clips.give_up(ClipEvent::CutFailed { clip: *clip, reason }).await
            }
            Job::RenderReel { clip } => {
                self.clips.give_up(ClipEvent::ReelFailed { clip: *clip, reason }).await
            }
            Job::ImportStream(_)
            | Job::DetectMoments { .. }
            | Job::FillGap { .. }
            | Job::AlignCameras
            | Job::ClipMark { .. } => Ok(()),
        }
    }

    /// Says of clips and reels that still wait for a job which rests among the failed or cancelled that they wait in vain:
    /// whoever should have said so died before.
    pub async fn settle(&self) -> Result<(), PortError> {
        let listed = self.queue.list().await?;
        for view in
            listed.iter().filter(|view| view.state.is_over() && view.state != JobState::Done)
        {
            let (Job::CutClip { clip } | Job::CutCamera { clip } | Job::RenderReel { clip }) =
                view.job
            else {
                continue;
            };
            let again = |other: &&JobView| other.job == view.job && !other.state.is_over();
            let Some(card) = self.clips.find(clip).await? else { continue };
            let waits = match view.job {
                Job::CutClip { .. } | Job::CutCamera { .. } => {
                    card.clip.state == ClipState::Requested
                }
                _ => {
                    card.clip.state.file().is_some()
                        && matches!(card.clip.reel, ReelState::Requested { .. })
                }
            };
            // Asked for after the job ended: its order may be on its way.
            let fresh = view.finished_at.is_none_or(|ended| card.changed_at >= ended);
            if waits && !fresh && !listed.iter().any(|other| again(&other)) {
                self.give_up(&view.job, view.error.as_deref().unwrap_or(CANCELLED)).await?;
            }
        }
        Ok(())
    }

    /// After an order was refused for its input, lets go of what was stored for it: nothing stays half imported.
    pub async fn let_go(&self, job: &Job) -> Result<(), PortError> {
        match job {
            Job::ImportStream(order) => self.let_go_of(&[&order.video, &order.chat]).await,
            Job::DetectMoments { .. }
            | Job::CutClip { .. }
            | Job::RenderReel { .. }
            | Job::CutCamera { .. }
            | Job::ClipMark { .. }
            | Job::AlignCameras
            | Job::FillGap { .. } => Ok(()),
        }
    }

    /// Lets go of files that came in for an import that will not be.
    pub async fn let_go_of(&self, objects: &[&MediaObject]) -> Result<(), PortError> {
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
        self.lives.let_go(objects, &waiting).await
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
        let asked = self.queue.ask_cancel(id).await?;
        // One that waited is over now, and no worker will say so.
        if let Some(view) = self.queue.find(id).await?
            && asked
            && view.state == JobState::Cancelled
        {
            self.give_up(&view.job, CANCELLED).await?;
            self.let_go(&view.job).await?;
        }
        Ok(asked)
    }

    /// How full the lanes are.
    pub async fn depths(&self) -> Result<Vec<LaneDepth>, PortError> {
        self.queue.depths().await
    }
}
