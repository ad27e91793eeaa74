//! Cameras in step: what they heard at the same time is looked for in what they sent, and how far they are apart is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::event::Event;
use crate::domain::ids::RecordingId;
use crate::domain::job::Job;
use crate::domain::live::camera::CameraEvent;
use crate::domain::live::sync::{
    Alignment, LAG_S_MAX, Lag, Line, Mismatch, NEAR_S, Point, RATE_HZ, WINDOW_S, find_lag, gathered,
};
use crate::ports::PortError;
use crate::ports::dvr::PartPlace;
use crate::ports::ledger::Commit;
use crate::ports::media_engine::{JobWatch, MediaError, SoundOrder};
use crate::ports::recorder::RecorderDesk;
use crate::ports::shelves::cards_of;
use crate::read_models::CameraCard;
use crate::use_cases::clips::footage::Stretch;
use crate::use_cases::clips::{Clips, Workspace};
use crate::use_cases::{Work, WorkError};

/// So far back is looked, unless something else is asked.
pub const LOOK_BACK: chrono::TimeDelta = chrono::TimeDelta::hours(2);

const S: i64 = 1_000_000_000;
const WINDOW_NS: i64 = WINDOW_S as i64 * S;
/// Windows begin at multiples of this, so that cameras share those of the reference.
const GRID_NS: i64 = 5 * S;
/// Windows are at least so far apart.
const APART_NS: i64 = 60 * S;
/// Windows of a pair that was never measured, and of one that was.
const WINDOWS_FIRST: i64 = 6;
const WINDOWS_AGAIN: i64 = 2;

/// Finds how cameras lie beside each other.
#[derive(Clone)]
pub struct Alignments {
    pub clips: Clips,
    pub desk: Arc<dyn RecorderDesk>,
}

/// A camera, and what was found of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub camera: CameraCard,
    pub standing: Standing,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// The others are measured beside it.
    Reference,
    Aligned(Box<Alignment>),
    Not(NotAligned),
}

/// Why a camera is not aligned.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum NotAligned {
    #[error("it recorded nothing then")]
    Nothing,
    #[error("it recorded less than {WINDOW_S} s beside the reference")]
    TooShort,
    #[error("it sends no sound")]
    NoSound,
    #[error("what it sent cannot be decoded")]
    Unreadable,
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

/// A failed look at one window.
enum Missed {
    Not(NotAligned),
    Work(WorkError),
}

impl From<MediaError> for Missed {
    fn from(error: MediaError) -> Self {
        match error {
            MediaError::NoAudioTrack => Self::Not(NotAligned::NoSound),
            error if error.may_pass_later() || error == MediaError::Cancelled => {
                Self::Work(error.into())
            }
            // One camera that sends nonsense does not keep the others from being measured.
            _ => Self::Not(NotAligned::Unreadable),
        }
    }
}

impl From<PortError> for Missed {
    fn from(error: PortError) -> Self {
        Self::Work(error.into())
    }
}

/// A camera with what it recorded.
struct Recorded {
    camera: CameraCard,
    parts: Vec<PartPlace>,
}

impl Recorded {
    /// One an unbroken stretch, newest first.
    fn stretches(&self) -> Vec<Stretch<'_>> {
        let mut seen: Vec<RecordingId> = self.parts.iter().map(|part| part.recording).collect();
        seen.dedup();
        seen.into_iter().rev().filter_map(|of| Stretch::of(&self.parts, of)).collect()
    }
}

/// Two stretches that lie beside each other, and the reference's time in which they do.
struct Pair<'a> {
    lead: Stretch<'a>,
    other: Stretch<'a>,
    from_ns: i64,
    to_ns: i64,
}

impl<'a> Pair<'a> {
    /// The newest there is.
    fn newest(lead: &'a Recorded, other: &'a Recorded) -> Option<Self> {
        for one in lead.stretches() {
            for other in other.stretches() {
                let (begins, ends) = one.lasts();
                let (other_begins, other_ends) = other.lasts();
                let shift = other.began_ns - one.began_ns;
                let (from_ns, to_ns) =
                    (begins.max(other_begins + shift), ends.min(other_ends + shift));
                if to_ns - from_ns >= WINDOW_NS + GRID_NS {
                    return Some(Self { lead: one, other, from_ns, to_ns });
                }
            }
        }
        None
    }

    /// Where windows begin in the reference's time: the newest ones, and more into the past as long as little is known.
    fn windows(&self, known: &[Point]) -> Vec<i64> {
        let newest = (self.to_ns - WINDOW_NS).div_euclid(GRID_NS) * GRID_NS;
        let count = if known.len() < 3 { WINDOWS_FIRST } else { WINDOWS_AGAIN };
        let room = newest - self.from_ns;
        let step = if count == WINDOWS_FIRST { room / (count - 1) } else { APART_NS };
        let step = (step.max(APART_NS) / GRID_NS) * GRID_NS;
        let windows = (0..count).map(|n| newest - n * step).filter(|at| *at >= self.from_ns);
        let is_known =
            |at: i64| known.iter().any(|point| (point.at_ns - at - WINDOW_NS / 2).abs() < GRID_NS);
        windows.filter(|at| !is_known(*at)).collect()
    }

    /// What has to be added to the reference's time to get the other's, by what arrived when.
    fn arrival_offset(&self, at_ns: i64) -> i64 {
        let lead = self.lead.began_around(at_ns);
        let at_other = at_ns + lead - self.other.began_ns;
        lead - self.other.began_around(at_other)
    }
}

/// Sounds of the reference that were listened to already.
type Heard = BTreeMap<(RecordingId, i64), Arc<Vec<f32>>>;

impl Alignments {
    /// As a job: measures the cameras beside each other in the last hours.
    pub async fn carry_out(&self, work: &Work) -> Result<(), WorkError> {
        let to = self.clips.clock.now();
        let watch = JobWatch { cancel: work.cancel.clone(), ..JobWatch::unwatched() };
        let tell = |share: f32| work.report(share, "Écoute des caméras");
        let found = self.measure(to - LOOK_BACK, to, &watch, &tell).await?;
        for Found { camera, standing } in &found {
            if let Standing::Not(reason) = standing {
                tracing::info!(camera.id = %camera.id, %reason, "a camera is not aligned");
            }
        }
        let done =
            Commit { events: events(&found), finish: Some(work.ticket), ..Commit::default() };
        self.clips.ledger.commit(done).await.map(|_| ()).map_err(WorkError::from)
    }

    /// Measures the cameras beside each other in a span and writes it down. Empty without a camera.
    pub async fn align(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<Found>, WorkError> {
        let found = self.measure(from, to, &JobWatch::unwatched(), &|_| {}).await?;
        let events = events(&found);
        if !events.is_empty() {
            self.clips.write(Commit { events, ..Commit::default() }).await?;
        }
        Ok(found)
    }

    /// What is being recorded now, with sound or without.
    pub async fn recording_now(&self) -> Result<BTreeSet<RecordingId>, PortError> {
        let state = self.desk.state().await?;
        let feeds = state.cameras.into_iter().filter_map(|camera| camera.feed);
        Ok(feeds.filter_map(|feed| feed.recording).collect())
    }

    /// Orders the job; once, however often it is asked.
    pub async fn order(&self) -> Result<(), PortError> {
        self.clips.write(Commit { jobs: vec![Job::AlignCameras], ..Commit::default() }).await
    }

    async fn measure(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        watch: &JobWatch,
        tell: &(dyn Fn(f32) + Send + Sync),
    ) -> Result<Vec<Found>, WorkError> {
        let mut cameras: Vec<CameraCard> = cards_of(&*self.clips.shelves, Uuid::nil()).await?;
        cameras.retain(|camera| camera.retired_at.is_none());
        let ns = |at: DateTime<Utc>| at.timestamp_nanos_opt().unwrap_or(i64::MAX);
        let mut all = Vec::new();
        for camera in cameras {
            let parts = self.clips.footage.footage.parts(camera.id, ns(from), ns(to)).await?;
            all.push(Recorded { camera, parts });
        }
        let Some(lead) = self.lead(&all).await else {
            let nothing = |it: Recorded| Found {
                camera: it.camera,
                standing: Standing::Not(NotAligned::Nothing),
            };
            return Ok(all.into_iter().map(nothing).collect());
        };
        let folder = Workspace(self.clips.store.workspace().await?);
        let mut heard = Heard::new();
        let mut found = Vec::new();
        for (n, recorded) in all.iter().enumerate() {
            tell(n as f32 / all.len() as f32);
            let standing = if n == lead {
                Standing::Reference
            } else {
                match self.beside(&all[lead], recorded, &mut heard, &folder.0, watch).await {
                    Ok(alignment) => Standing::Aligned(Box::new(alignment)),
                    Err(Missed::Not(reason)) => Standing::Not(reason),
                    Err(Missed::Work(error)) => return Err(error),
                }
            };
            found.push(Found { camera: recorded.camera.clone(), standing });
        }
        Ok(found)
    }

    /// The reference among those that recorded: one that is relayed, the one it was before, or the first.
    async fn lead(&self, all: &[Recorded]) -> Option<usize> {
        let there = |n: &usize| !all[*n].parts.is_empty();
        // A recorder that does not answer relays nothing.
        let relayed: Vec<_> = match self.desk.state().await {
            Ok(state) => state.relays.into_iter().map(|relay| relay.camera).collect(),
            Err(_) => Vec::new(),
        };
        let known = all.iter().flat_map(|it| &it.camera.aligned);
        let before = known.max_by_key(|it| it.at).map(|it| it.alignment.reference);
        let all_there = || (0..all.len()).filter(there);
        all_there()
            .find(|n| relayed.contains(&all[*n].camera.id))
            .or_else(|| all_there().find(|n| Some(all[*n].camera.id) == before))
            .or_else(|| all_there().next())
    }

    /// Measures one camera beside the reference.
    async fn beside(
        &self,
        lead: &Recorded,
        other: &Recorded,
        heard: &mut Heard,
        folder: &Path,
        watch: &JobWatch,
    ) -> Result<Alignment, Missed> {
        if other.parts.is_empty() {
            return Err(Missed::Not(NotAligned::Nothing));
        }
        let pair = Pair::newest(lead, other).ok_or(Missed::Not(NotAligned::TooShort))?;
        let (reference_recording, recording) = (pair.lead.recording(), pair.other.recording());
        let known = other.camera.beside(reference_recording, recording);
        let mut points = known.map_or_else(Vec::new, |it| it.alignment.points.clone());
        let mut behind_ns = known.map(|it| it.alignment.behind_ns);
        let (mut reason, mut newest) = (NotAligned::TooShort, i64::MIN);
        for at_ns in pair.windows(&points) {
            if watch.cancel.is_cancelled() {
                return Err(Missed::Work(WorkError::Cancelled));
            }
            let window = if let Some(window) = heard.get(&(reference_recording, at_ns)) {
                window.clone()
            } else {
                let span = (at_ns, at_ns + WINDOW_NS);
                let sound = Arc::new(self.hear(&pair.lead, span, folder, watch).await?);
                heard.insert((reference_recording, at_ns), sound.clone());
                sound
            };
            match self.point(&pair, at_ns, &window, &points, folder, watch).await {
                Ok(point) => {
                    points = gathered(&points, &[point]);
                    if point.at_ns > newest {
                        newest = point.at_ns;
                        behind_ns = Some(point.offset_ns - pair.arrival_offset(point.at_ns));
                    }
                }
                Err(Missed::Not(why)) => reason = why,
                Err(error @ Missed::Work(_)) => return Err(error),
            }
        }
        let (Some(line), Some(behind_ns)) = (Line::through(&points), behind_ns) else {
            return Err(Missed::Not(reason));
        };
        let reference = lead.camera.id;
        Ok(Alignment { recording, reference, reference_recording, behind_ns, line, points })
    }

    /// Where the sound of one window lies in the other recording: near where it is thought to be, or anywhere.
    async fn point(
        &self,
        pair: &Pair<'_>,
        at_ns: i64,
        window: &Arc<Vec<f32>>,
        points: &[Point],
        folder: &Path,
        watch: &JobWatch,
    ) -> Result<Point, Missed> {
        let middle = at_ns + WINDOW_NS / 2;
        let thought = Line::through(points).map(|line| (line.other_ns(middle) - middle, NEAR_S));
        let anywhere = (pair.arrival_offset(middle), LAG_S_MAX);
        let mut missed = Mismatch::Silence;
        for (offset_ns, margin_s) in thought.into_iter().chain([anywhere]) {
            let begins = at_ns + offset_ns;
            let margin_ns = margin_s as i64 * S;
            let span = (begins - margin_ns, begins + WINDOW_NS + margin_ns);
            let stretch = self.hear(&pair.other, span, folder, watch).await?;
            let window = window.clone();
            let looked = tokio::task::spawn_blocking(move || find_lag(&window, &stretch, margin_s));
            let looked = looked.await.map_err(|error| {
                Missed::Work(WorkError::Passing(format!("a comparison of sounds broke: {error}")))
            })?;
            match looked {
                Ok(Lag { samples, ppm, z }) => {
                    let lag_ns = (samples * S as f64 / RATE_HZ as f64).round() as i64;
                    let (offset_ns, z) = (offset_ns + lag_ns, z.round());
                    return Ok(Point { at_ns: middle, offset_ns, ppm, z });
                }
                Err(why) => missed = why,
            }
        }
        Err(Missed::Not(missed.into()))
    }

    /// What a recording holds of a span of its time; silence where it holds nothing.
    async fn hear(
        &self,
        of: &Stretch<'_>,
        (from_ns, to_ns): (i64, i64),
        folder: &Path,
        watch: &JobWatch,
    ) -> Result<Vec<f32>, Missed> {
        let count = (i128::from(to_ns - from_ns) * RATE_HZ as i128 / i128::from(S)) as usize;
        // A decoder needs some sound before the first it gives back.
        let parts = of.within(from_ns - S, to_ns + S);
        if parts.is_empty() {
            return Ok(vec![0.0; count]);
        }
        let (source, output) = (folder.join("sound.mp4"), folder.join("sound.f32"));
        self.clips.footage.write(parts, &source).await?;
        let seconds = |ns: i64| ns as f64 / S as f64;
        let order = SoundOrder {
            source,
            origin_s: 0.0,
            start_s: seconds(from_ns),
            end_s: seconds(to_ns),
            output: output.clone(),
        };
        self.clips.engine.sound(order, watch).await?;
        let bytes = tokio::fs::read(&output)
            .await
            .map_err(|error| PortError::passing("read the sound of a camera", error))?;
        let (samples, _) = bytes.as_chunks::<4>();
        let mut sound: Vec<f32> = samples.iter().map(|four| f32::from_le_bytes(*four)).collect();
        sound.resize(count, 0.0);
        Ok(sound)
    }
}

/// What is to be written down: what was not known already.
fn events(found: &[Found]) -> Vec<Event> {
    let aligned = found.iter().filter_map(|Found { camera, standing }| match standing {
        Standing::Aligned(alignment) => {
            let known = camera.beside(alignment.reference_recording, alignment.recording);
            let is_new = known.is_none_or(|known| known.alignment != **alignment);
            is_new.then(|| (camera.id, (**alignment).clone()))
        }
        Standing::Reference | Standing::Not(_) => None,
    });
    aligned.map(|(camera, alignment)| CameraEvent::Aligned { camera, alignment }.into()).collect()
}
