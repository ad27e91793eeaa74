//! Whether the house stays below 80 % of the machine while everything happens at once: cameras record, a chat talks, live
//! pages are open, renders wait without end, and somebody else's load comes and goes. The same without the governor breaks it.

mod foreign;
pub(super) mod sampler;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::bench::audience::{AudienceError, Evening};
use crate::bench::ceiling::foreign::Foreign;
use crate::bench::ceiling::sampler::Sampler;
use crate::bench::record::{CADENCE_MS_MAX, RecordError, door, on_disk, pace, sent, settled};
use crate::domain::clips::ClipTitle;
use crate::domain::clips::reel_plan::Layout;
use crate::domain::ids::{CameraId, ClipId, PersonId};
use crate::domain::job::{Job, JobState, Lane};
use crate::domain::resources::CEILING;
use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::dvr::Footage;
use crate::rehearsal::cameras::{Film, Manners, PretendCamera};
use crate::use_cases::jobs::Jobs;
use crate::use_cases::live::cameras::Cameras;

pub use crate::bench::ceiling::sampler::sample;

/// Most of the machine that any second may be busy, as a share.
pub const SECOND_MAX: f64 = 0.85;
/// Between these shares the mean lies while renders wait: what there is, is used.
pub const MEAN: (f64, f64) = (0.65, 0.76);
/// Renders that wait or run at all times.
const RENDERS: i64 = 3;
/// What is recorded before the first clip is asked for, and the time in which clips are cut: they are there before anything
/// is measured, for a cut is never slowed and no render.
const FOOTAGE_FIRST: Duration = Duration::from_secs(40);
const CUTS_LAST: Duration = Duration::from_mins(2);
/// Length of a reel, and from where to where in the footage clips begin.
const REEL_LASTS: TimeDelta = TimeDelta::seconds(12);
const CLIP_STEP: TimeDelta = TimeDelta::milliseconds(311);
/// Clips for each minute that is measured: more than can be rendered.
const CLIPS_A_MINUTE: u64 = 8;
/// What stands between the cuts and the time that is measured.
const SETTLE: Duration = Duration::from_secs(20);
/// How often a clip is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the queue is filled up.
const FILL_EVERY: Duration = Duration::from_secs(1);
/// How long renders may take to finish once nothing else goes on.
const DRAIN_MAX: Duration = Duration::from_mins(5);

/// A house that is measured, and what it is made of.
pub struct House {
    /// Its recordings.
    pub dvr: std::path::PathBuf,
    pub cameras: Cameras,
    pub jobs: Jobs,
    pub footage: Arc<dyn Footage>,
    pub clock: Arc<dyn Clock>,
}

/// What happens.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seconds: u64,
    pub cameras: usize,
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// The busiest five seconds and the busiest second, and the mean from the first render on, as shares of the machine.
    pub worst_5_s: f64,
    pub worst_1_s: f64,
    pub mean: f64,
    /// Pictures and sounds: sent, and on the disk.
    pub sent: (u64, u64),
    pub recorded: (u64, u64),
    /// How far the time between two parts was off a second, 99 in 100, in milliseconds.
    pub cadence_ms: f64,
    /// How late 99 of 100 lines were on the live pages, in milliseconds.
    pub late_ms: f64,
    /// Reels asked for, and rendered in the end.
    pub reels: (usize, usize),
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum CeilingError {
    #[error("cannot start or read the sampler")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Audience(#[from] AudienceError),
    #[error("{0}")]
    House(String),
}

/// Lets everything happen at once, and looks.
pub async fn measure(
    program: &Path,
    evening: &mut Evening,
    house: &House,
    film: &Film,
    plan: &Plan,
) -> Result<Report, CeilingError> {
    let url = door(&*house.cameras.desk).await?;
    let lasts = Duration::from_secs(plan.seconds);
    let (mut publishing, mut counts, mut cameras) = (JoinSet::new(), Vec::new(), Vec::new());
    let broken = |error: &dyn std::fmt::Display| CeilingError::House(error.to_string());
    for n in 0..plan.cameras {
        let (id, key) =
            house.cameras.add(&format!("Caméra {}", n + 1), None).await.map_err(|e| broken(&e))?;
        let manners = Manners {
            url: url.clone(),
            key: key.as_str().to_owned(),
            passphrase: None,
            drift_ppm: 0.0,
            cut: None,
            lasts: Some(lasts + FOOTAGE_FIRST + CUTS_LAST + SETTLE),
            fault: None,
        };
        let camera = PretendCamera::new(film.clone(), manners);
        counts.push(camera.counted());
        publishing.spawn(async move { camera.run().await });
        cameras.push(id);
    }
    let watched = cameras.clone();
    let now_ns = house.clock.now().timestamp_nanos_opt().unwrap_or_default();
    let pace = tokio::spawn(pace(
        house.footage.clone(),
        watched,
        now_ns,
        lasts + FOOTAGE_FIRST + CUTS_LAST,
    ));
    let footage_from = house.clock.now() + TimeDelta::seconds(3);
    tokio::time::sleep(FOOTAGE_FIRST).await;
    let clips =
        cut(house, &cameras, footage_from, plan.seconds.div_ceil(60) * CLIPS_A_MINUTE).await?;

    // What the cuts took is over, and what gave way to them is back.
    tokio::time::sleep(SETTLE).await;
    let stop = watch::Sender::new(false);
    let filling = fill(house, clips, stop.subscribe());
    let (sampler, foreign) = (Sampler::start(program)?, Foreign::start()?);
    let talking = async {
        let late_ms = evening.watched().await;
        let seen = tokio::task::block_in_place(|| {
            drop(foreign);
            sampler.end()
        });
        stop.send_replace(true);
        (late_ms, seen)
    };
    let (asked, (late_ms, seen)) = tokio::join!(filling, talking);
    let (asked, late_ms, seen) = (asked?, late_ms?, seen?);
    while let Some(ended) = publishing.join_next().await {
        ended.map_err(|e| broken(&e))?.map_err(|e| broken(&e))?;
    }
    settled(&*house.cameras.desk).await?;
    let (_, cadence_ms, _) = pace.await.map_err(|e| broken(&e))??;
    let rendered = drain(house, &asked).await?;
    Ok(Report {
        worst_5_s: seen.worst(5.0),
        worst_1_s: seen.worst(1.0),
        mean: seen.mean(),
        sent: sent(&counts),
        recorded: on_disk(&house.dvr)?,
        cadence_ms,
        late_ms,
        reels: (asked.len(), rendered),
    })
}

/// Has so many clips cut out of what the cameras sent first, and waits for them.
async fn cut(
    house: &House,
    cameras: &[CameraId],
    from: DateTime<Utc>,
    count: u64,
) -> Result<Vec<ClipId>, CeilingError> {
    let clips = &house.jobs.clips;
    let broken = |error: &dyn std::fmt::Display| CeilingError::House(error.to_string());
    let mut asked = Vec::new();
    for n in 0..count as i32 {
        let camera = cameras[n as usize % cameras.len()];
        let camera = house.cameras.find(camera).await.map_err(|e| broken(&e))?;
        let from = from + CLIP_STEP * (n % 60);
        let title = ClipTitle::try_new("Sous le plafond").map_err(|e| broken(&e))?;
        let wanted = clips.request_of_camera(&camera, from, from + REEL_LASTS, title, None);
        asked.push(wanted.await.map_err(|e| broken(&e))?.1);
    }
    let begun = Instant::now();
    for clip in &asked {
        while clips.find(*clip).await?.is_none_or(|card| card.clip.state.file().is_none()) {
            if begun.elapsed() > CUTS_LAST {
                return Err(CeilingError::House("the clips were not cut in time".to_owned()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Ok(asked)
}

/// Keeps renders waiting until `stop`: each clip becomes a reel. Says of which it was asked.
async fn fill(
    house: &House,
    clips: Vec<ClipId>,
    mut stop: watch::Receiver<bool>,
) -> Result<Vec<ClipId>, CeilingError> {
    let by = PersonId::from_uuid(house.clock.new_id());
    let (mut asked, mut left) = (Vec::new(), clips.into_iter());
    while !*stop.borrow() {
        let depths = house.jobs.depths().await?;
        let going: i64 = depths
            .iter()
            .filter(|depth| depth.lane == Lane::Render)
            .map(|depth| depth.waiting + depth.running)
            .sum();
        for clip in left.by_ref().take((RENDERS - going).max(0) as usize) {
            let wanted = house.jobs.clips.request_reel(clip, Layout::BlurredBackground, by);
            wanted.await.map_err(|error| CeilingError::House(error.to_string()))?;
            asked.push(clip);
        }
        let _ = tokio::time::timeout(FILL_EVERY, stop.changed()).await;
    }
    Ok(asked)
}

/// Waits until no render is left; says how many of those asked for are done.
async fn drain(house: &House, asked: &[ClipId]) -> Result<usize, CeilingError> {
    let begun = Instant::now();
    loop {
        let listed = house.jobs.list().await?;
        let is_ours = |job: &Job| matches!(job, Job::RenderReel { clip } if asked.contains(clip));
        let (over, going): (Vec<_>, Vec<_>) =
            listed.iter().filter(|view| is_ours(&view.job)).partition(|view| view.state.is_over());
        if (going.is_empty() && over.len() >= asked.len()) || begun.elapsed() > DRAIN_MAX {
            return Ok(over.iter().filter(|view| view.state == JobState::Done).count());
        }
        tokio::time::sleep(FILL_EVERY).await;
    }
}

impl Report {
    /// Whether the ceiling held.
    pub fn is_below(&self) -> bool {
        self.worst_5_s <= CEILING && self.worst_1_s <= SECOND_MAX
    }

    /// Whether every bar holds.
    pub fn is_held(&self) -> bool {
        self.is_below()
            && (MEAN.0..=MEAN.1).contains(&self.mean)
            && self.sent == self.recorded
            && self.cadence_ms <= CADENCE_MS_MAX
            && self.reels.0 > 0
            && self.reels.0 == self.reels.1
    }

    /// The figures beside their bars.
    pub fn told(&self) -> Vec<String> {
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        vec![
            format!(
                "busiest 5 s: {} (bar: {:.0} %); busiest second: {} (bar: {:.0} %); mean: {} (bar: {:.0} to {:.0} %)",
                percent(self.worst_5_s),
                CEILING * 100.0,
                percent(self.worst_1_s),
                SECOND_MAX * 100.0,
                percent(self.mean),
                MEAN.0 * 100.0,
                MEAN.1 * 100.0
            ),
            format!(
                "{} pictures and {} sounds sent, {} and {} on the disk (bar: all); time between parts off a second: {:.0} ms, 99 in 100 (bar: {CADENCE_MS_MAX:.0} ms)",
                self.sent.0, self.sent.1, self.recorded.0, self.recorded.1, self.cadence_ms
            ),
            format!(
                "{} reels asked for, {} rendered (bar: all); lines late on the live pages by {:.0} ms, 99 in 100",
                self.reels.0, self.reels.1, self.late_ms
            ),
        ]
    }
}
