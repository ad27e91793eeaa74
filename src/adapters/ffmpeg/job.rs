//! The line between server and child: one order in, lines of progress and one result out; and every limit.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::domain::clips::footage::Inspection;
use crate::ports::media_engine::{
    CheckOrder, CutOrder, CutReport, Glance, GlanceOrder, InspectOrder, MediaError, PosterOrder,
    ReelFinding, ReelOrder, ReelReport, SceneCutsOrder, SoundOrder,
};

/// Memory a child may map for data (`RLIMIT_DATA`). A 1080p reel with two threads needs about 450 MB.
pub(super) const MEMORY_BYTES_MAX: u64 = 2 << 30;
/// Address space a child may map (`RLIMIT_AS`): memory, libraries and thread stacks.
pub(super) const ADDRESS_SPACE_BYTES_MAX: u64 = 6 << 30;
/// Largest file a child may write (`RLIMIT_FSIZE`).
pub(super) const OUTPUT_BYTES_MAX: u64 = 64 << 30;
/// Files a child may hold open (`RLIMIT_NOFILE`).
pub(super) const OPEN_FILES_MAX: u64 = 256;
/// Longest order read from stdin.
pub(super) const ORDER_BYTES_MAX: u64 = 64 << 20;
/// Shortest time between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// Threads for each of decoder, filter graph and encoder of a render.
const STAGE_THREADS: usize = 2;
/// The same of a cut: nobody slows it, so that by itself it leaves the other cores alone.
const STAGE_THREADS_CUT: usize = 1;
/// Threads of this process's one job.
static THREADS: AtomicUsize = AtomicUsize::new(STAGE_THREADS);

/// Threads for each of decoder, filter graph and encoder of the job in this process.
pub(super) fn stage_threads() -> usize {
    THREADS.load(Ordering::Relaxed)
}

/// What a child is started for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub(super) enum Job {
    Inspect(InspectOrder),
    SceneCuts(SceneCutsOrder),
    Cut(CutOrder),
    RenderReel(ReelOrder),
    Sound(SoundOrder),
    Poster(PosterOrder),
    Glance(GlanceOrder),
    Check(CheckOrder),
    /// Finds out how large the pictures of a file are.
    Measure {
        source: PathBuf,
    },
    /// Misbehaves on purpose, for the tests of the supervisor and `spark doctor`'s drill.
    Misbehave {
        how: Misbehaviour,
    },
}

/// The ways a renderer can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misbehaviour {
    /// Dies of a signal, as on a bad pointer.
    Abort,
    /// Sleeps for ever.
    Hang,
    /// Computes for ever without progress.
    Spin,
    /// Takes memory without end.
    Devour,
    /// Fills stderr far beyond a pipe's capacity, then succeeds.
    Babble,
    /// Ends without a result.
    Silence,
}

impl Job {
    /// The file the job writes, if any.
    pub(super) fn output(&self) -> Option<&PathBuf> {
        match self {
            Self::Cut(order) => Some(&order.output),
            Self::RenderReel(order) => Some(&order.output),
            Self::Sound(order) => Some(&order.output),
            Self::Poster(order) => Some(&order.output),
            Self::Glance(order) => Some(&order.output),
            Self::Inspect(_)
            | Self::SceneCuts(_)
            | Self::Check(_)
            | Self::Measure { .. }
            | Self::Misbehave { .. } => None,
        }
    }

    /// Makes this process the one that does this job.
    pub(super) fn settle_in(&self) {
        let threads = if matches!(self, Self::Cut(_)) { STAGE_THREADS_CUT } else { STAGE_THREADS };
        THREADS.store(threads, Ordering::Relaxed);
    }

    /// Whether the job waits its turn and may be stopped for a moment. What somebody waits for in the middle of a live does
    /// not, and neither does what takes no time.
    pub(super) const fn is_sheddable(&self) -> bool {
        match self {
            Self::Inspect(_)
            | Self::SceneCuts(_)
            | Self::RenderReel(_)
            | Self::Sound(_)
            | Self::Check(_)
            | Self::Misbehave { .. } => true,
            Self::Cut(_) | Self::Poster(_) | Self::Glance(_) | Self::Measure { .. } => false,
        }
    }

    /// The file whose pictures are decoded one and all, if any.
    pub(super) const fn decodes(&self) -> Option<&PathBuf> {
        match self {
            Self::RenderReel(order) => Some(&order.plan.source),
            Self::SceneCuts(order) => Some(&order.source),
            Self::Check(order) => Some(&order.reel),
            Self::Inspect(_)
            | Self::Sound(_)
            | Self::Cut(_)
            | Self::Poster(_)
            | Self::Glance(_)
            | Self::Measure { .. }
            | Self::Misbehave { .. } => None,
        }
    }

    /// How long the job may run, stopped time not counted.
    pub(super) fn running_time_max(&self) -> Duration {
        /// For start, seek and close.
        const BASE: Duration = Duration::from_mins(2);
        /// For each second of picture encoded again.
        const PER_SECOND_ENCODED: f64 = 40.0;
        /// A day of footage is read at 50 times real time in half an hour.
        const WHOLE_FILE: Duration = Duration::from_hours(2);
        let encoding = |seconds: f64| {
            BASE + Duration::from_secs_f64((seconds * PER_SECOND_ENCODED).clamp(0.0, 86_400.0))
        };
        match self {
            Self::Inspect(_) => WHOLE_FILE,
            Self::SceneCuts(order) => {
                encoding(order.ranges.iter().map(|(from, to)| to - from).sum())
            }
            Self::Cut(order) => encoding(order.end_s - order.start_s),
            Self::RenderReel(order) => encoding(order.plan.end_s - order.plan.start_s),
            Self::Check(order) => encoding(order.duration_s),
            Self::Sound(_)
            | Self::Poster(_)
            | Self::Glance(_)
            | Self::Measure { .. }
            | Self::Misbehave { .. } => BASE,
        }
    }
}

/// One order with what the child must know of its parent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Envelope {
    pub parent_pid: i32,
    #[serde(flatten)]
    pub job: Job,
}

/// A line from the child.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum Line {
    Progress { share: f64 },
    Done { outcome: Outcome },
    Failed { error: MediaError },
}

/// The result of a job, one variant per order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub(super) enum Outcome {
    Inspection(Inspection),
    SceneCuts(Vec<f64>),
    Cut(CutReport),
    Reel(ReelReport),
    Sound,
    Poster,
    Glance(Glance),
    Findings(Vec<ReelFinding>),
    /// Pixels of a picture.
    Measured {
        px: u64,
    },
    Behaved,
}

/// Says from time to time how far the job is. Work loops call it freely.
pub(super) struct Progress<'a> {
    say: &'a mut dyn FnMut(f64),
    said_at: Option<Instant>,
    share: f64,
}

impl<'a> Progress<'a> {
    pub(super) fn new(say: &'a mut dyn FnMut(f64)) -> Self {
        Self { say, said_at: None, share: 0.0 }
    }

    /// Notes `share` (0 to 1), and says so when the last word is [`PROGRESS_EVERY`] old. Never goes back.
    pub(super) fn at(&mut self, share: f64) {
        self.share = self.share.max(share.clamp(0.0, 1.0));
        let due = self.said_at.is_none_or(|at| at.elapsed() >= PROGRESS_EVERY);
        if due {
            self.said_at = Some(Instant::now());
            (self.say)(self.share);
        }
    }
}

/// Writes one line to stdout and flushes it.
pub(super) fn say(line: &Line) {
    let mut out = std::io::stdout().lock();
    // A parent that went away closes the pipe; the death signal ends us anyway.
    let _ = serde_json::to_writer(&mut out, line).map_err(std::io::Error::from).and_then(|()| {
        out.write_all(b"\n")?;
        out.flush()
    });
}
