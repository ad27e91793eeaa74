//! Slow work as orders: what a job is asked to do, which lane it waits in, what becomes of it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::domain::audience::ToldGap;
use crate::domain::ids::{ClipId, JobId, LiveId, PersonId, WeekId};
use crate::domain::media::MediaObject;
use crate::domain::resources::Class;

/// A past stream on its way in: both files are in the store, nothing is known of them yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportOrder {
    pub week: WeekId,
    pub title: String,
    pub video: MediaObject,
    pub chat: MediaObject,
    pub started_at: Option<DateTime<Utc>>,
    pub by: Option<PersonId>,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum Job {
    /// Inspect a video, read its chat, store both.
    ImportStream(ImportOrder),
    /// Find a live's moments.
    DetectMoments { live: LiveId },
    /// Cut a clip out of its live's recording.
    CutClip { clip: ClipId },
    /// Render a clip's vertical reel.
    RenderReel { clip: ClipId },
    /// Cut a clip out of what a camera sent.
    CutCamera { clip: ClipId },
    /// Ask for the clips of all cameras around a mark.
    ClipMark { live: LiveId, offset_ms: i64 },
    /// Measure by their sound how far the cameras are apart.
    AlignCameras,
    /// Ask the platform for what it still knows of a gap in listening.
    FillGap { gap: ToldGap },
}

/// Jobs of one lane wait for each other, and those that nobody waits for in the middle of a live wait for the machine too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    Import,
    Detect,
    Cut,
    Render,
    Fill,
    Extract,
    Align,
}

impl Lane {
    pub const ALL: [Self; 7] = [
        Self::Import,
        Self::Detect,
        Self::Cut,
        Self::Render,
        Self::Fill,
        Self::Extract,
        Self::Align,
    ];

    /// The word in the queue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Detect => "detect",
            Self::Cut => "cut",
            Self::Render => "render",
            Self::Fill => "fill",
            Self::Extract => "extract",
            Self::Align => "align",
        }
    }

    /// How many jobs of the lane may run at once, on all machines together. Renders share what CPU there is and start only
    /// where there is memory: two keep two cores at work while one of them reads or writes.
    pub const fn running_max(self) -> i64 {
        match self {
            Self::Extract | Self::Render => 2,
            _ => 1,
        }
    }

    /// Whether its jobs give way to others: somebody waits for cuts.
    pub const fn class(self) -> Class {
        match self {
            Self::Cut | Self::Extract => Class::Critical,
            Self::Import | Self::Detect | Self::Render | Self::Fill | Self::Align => {
                Class::Sheddable
            }
        }
    }
}

/// Times a job is tried before it rests among the failed.
pub const JOB_ATTEMPTS_MAX: i32 = 4;
/// A worker that has not renewed its lease for this long has lost the job.
pub const JOB_LEASE: Duration = Duration::from_secs(10);
/// How often a worker renews its lease and reports progress.
pub const JOB_HEARTBEAT: Duration = Duration::from_secs(2);
/// First pause before another try; it doubles each time.
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// Longest pause before another try.
const RETRY_MAX: Duration = Duration::from_mins(2);

impl Job {
    /// The name in the queue and the logs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::ImportStream(_) => "live.import",
            Self::DetectMoments { .. } => "moments.detect",
            Self::CutClip { .. } => "clips.cut",
            Self::RenderReel { .. } => "clips.render",
            Self::FillGap { .. } => "audience.fill_gap",
            Self::CutCamera { .. } => "clips.cut_camera",
            Self::ClipMark { .. } => "clips.of_mark",
            Self::AlignCameras => "live.align",
        }
    }

    pub const fn lane(&self) -> Lane {
        match self {
            Self::ImportStream(_) => Lane::Import,
            Self::DetectMoments { .. } => Lane::Detect,
            Self::CutClip { .. } => Lane::Cut,
            Self::RenderReel { .. } => Lane::Render,
            Self::FillGap { .. } => Lane::Fill,
            Self::CutCamera { .. } | Self::ClipMark { .. } => Lane::Extract,
            Self::AlignCameras => Lane::Align,
        }
    }

    /// Two orders with one key are one job while the first is not done.
    pub fn dedupe_key(&self) -> String {
        match self {
            Self::ImportStream(order) => {
                format!("import:{}:{}:{}", order.week, order.video.sha256, order.chat.sha256)
            }
            Self::DetectMoments { live } => format!("detect:{live}"),
            Self::CutClip { clip } => format!("cut:{clip}"),
            Self::RenderReel { clip } => format!("render:{clip}"),
            Self::FillGap { gap } => format!("fill:{}", gap.key()),
            Self::CutCamera { clip } => format!("cut-camera:{clip}"),
            Self::ClipMark { live, offset_ms } => format!("clip-mark:{live}:{offset_ms}"),
            Self::AlignCameras => "align-cameras".to_owned(),
        }
    }
}

/// The pause before try number `attempt + 1`, after `attempt` tries failed (1 or more).
pub fn retry_pause(attempt: i32) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(0).min(16);
    RETRY_FIRST.saturating_mul(1 << doublings).min(RETRY_MAX)
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Waiting,
    Running,
    Done,
    /// The last resting place: people see it and can retry from there.
    Failed,
    Cancelled,
}

impl JobState {
    /// The word in the queue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Waiting, Self::Running, Self::Done, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|state| state.as_str() == word)
    }

    /// Nothing more will happen by itself.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// The right to finish a job: a later claim raises the fence, and a late result is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobTicket {
    pub id: JobId,
    pub fence: i64,
}

/// A job as people see it.
#[derive(Debug, Clone, PartialEq)]
pub struct JobView {
    pub id: JobId,
    pub job: Job,
    pub state: JobState,
    pub attempt: i32,
    /// 0 to 1.
    pub progress: f32,
    pub note: String,
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub run_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub cancel_asked: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        assert_eq!(retry_pause(1), Duration::from_secs(2));
        assert_eq!(retry_pause(3), Duration::from_secs(8));
        assert_eq!(retry_pause(40), RETRY_MAX);
    }
}
