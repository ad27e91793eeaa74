//! Clips of what cameras sent: asked for by hand or by a mark, cut while they record.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::domain::clips::clip::{AlignedOn, ClipEvent};
use crate::domain::clips::{ClipError, ClipSource, ClipTitle, Span};
use crate::domain::event::Event;
use crate::domain::ids::{CameraId, ClipId, LiveId, PersonId, WeekId};
use crate::domain::live::sync::{Alignment, LAG_S_MAX};
use crate::ports::PortError;
use crate::ports::ledger::Commit;
use crate::ports::media_engine::CutOrder;
use crate::ports::shelves::{cards_of, find_card};
use crate::read_models::{BroadcastCard, CameraCard};
use crate::use_cases::clips::footage::FootageError;
use crate::use_cases::clips::{Clips, ClipsError, Made, Workspace};
use crate::use_cases::{Work, WorkError, week_at};

/// A mark comes after what it is about: its clips begin and end so long before and after it.
const MARK_BEFORE: TimeDelta = TimeDelta::seconds(30);
const MARK_AFTER: TimeDelta = TimeDelta::seconds(5);
/// What a camera sent is on the disk so soon, or not at all; and how often that is looked at.
const DURABLE_WITHIN: TimeDelta = TimeDelta::seconds(10);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Clips {
    /// Asks for a clip of what a camera sent, while it records or later; its cut follows at once.
    pub async fn request_of_camera(
        &self,
        camera: &CameraCard,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        title: ClipTitle,
        by: Option<PersonId>,
    ) -> Result<(WeekId, ClipId), ClipsError> {
        let length = (to - from).num_milliseconds();
        let span = Span::try_new(0, length, length).map_err(ClipError::from)?;
        let week = week_at(&*self.ledger, &*self.shelves, from).await?;
        let clip = ClipId::from_uuid(self.clock.new_id());
        let event = of_camera(clip, week, camera, from, None, span, title, by);
        self.write(Commit { events: vec![event.into()], ..Commit::default() }).await?;
        Ok((week, clip))
    }

    /// Asks every camera that recorded for its clip around a mark of a live.
    pub async fn of_mark(
        &self,
        live: LiveId,
        offset_ms: i64,
        work: &Work,
    ) -> Result<(), WorkError> {
        let broadcast: Option<BroadcastCard> = find_card(&*self.shelves, live.as_uuid()).await?;
        let mut events: Vec<Event> = Vec::new();
        if let Some(broadcast) = broadcast {
            let at = broadcast.started_at + TimeDelta::milliseconds(offset_ms);
            events = self.around(at, broadcast.week, None).await?;
        }
        let done = Commit { events, finish: Some(work.ticket), ..Commit::default() };
        self.ledger.commit(done).await.map(|_| ()).map_err(WorkError::from)
    }

    /// Asks every camera that records for its clip around this instant, live or not; says how many were asked.
    pub async fn mark_cameras(
        &self,
        at: DateTime<Utc>,
        by: Option<PersonId>,
    ) -> Result<usize, PortError> {
        let week = week_at(&*self.ledger, &*self.shelves, at).await?;
        let events = self.around(at, week, by).await?;
        let count = events.len();
        if count > 0 {
            self.write(Commit { events, ..Commit::default() }).await?;
        }
        Ok(count)
    }

    async fn around(
        &self,
        at: DateTime<Utc>,
        week: WeekId,
        by: Option<PersonId>,
    ) -> Result<Vec<Event>, PortError> {
        let (from, length) = (at - MARK_BEFORE, (MARK_BEFORE + MARK_AFTER).num_milliseconds());
        let cameras: Vec<CameraCard> = cards_of(&*self.shelves, Uuid::nil()).await?;
        let mut recording = Vec::new();
        for camera in cameras.iter().filter(|camera| camera.retired_at.is_none()) {
            if let Some(begins_at) = self.footage.begins_within(camera.id, from, at).await? {
                recording.push((camera, begins_at));
            }
        }
        let leads = reference_of(&recording);
        let mut events = Vec::new();
        for (camera, begins_at) in recording {
            let is_beside = |lead: &CameraId| {
                camera.aligned.iter().any(|known| known.alignment.reference == *lead)
            };
            let follows = leads.filter(is_beside);
            let length = length - (begins_at - from).num_milliseconds();
            let title = format!("Repère, {}", camera.name.as_str());
            let (Ok(span), Ok(title)) =
                (Span::try_new(0, length, length), ClipTitle::try_new(&title))
            else {
                continue;
            };
            let clip = ClipId::of_mark(camera.id, at);
            events.push(of_camera(clip, week, camera, begins_at, follows, span, title, by).into());
        }
        Ok(events)
    }

    /// Cuts a clip out of what a camera sent. Its end may be in the making: it is waited for a while. Where the camera broke
    /// off, the longest piece becomes the clip, which says so.
    pub async fn cut_camera(&self, id: ClipId, work: &Work) -> Result<(), WorkError> {
        work.report(0.0, "Préparation");
        let (clip, _) = self.load(id).await?;
        let ClipSource::Camera { camera, begins_at, follows, .. } = clip.source else {
            return Err(WorkError::Refused(format!("Le clip {id} n'est d'aucune caméra.")));
        };
        let ends_at = begins_at + TimeDelta::milliseconds(clip.span.ms());
        let folder = Workspace(self.store.workspace().await?);
        let source = folder.0.join("camera.mp4");
        let card: Option<CameraCard> = find_card(&*self.shelves, camera.as_uuid()).await?;
        // What arrives later than from the camera it follows is waited for.
        let late = follows.map_or(TimeDelta::zero(), |_| TimeDelta::seconds(LAG_S_MAX as i64));
        let (joined, alignment) = loop {
            let joined = if let (Some(card), Some(lead)) = (&card, follows) {
                self.footage.join_beside(card, lead, begins_at, ends_at, &source).await
            } else {
                let joined = self.footage.join(camera, begins_at, ends_at, &source).await;
                joined.map(|joined| (joined, None))
            };
            match joined {
                Ok(joined) => break joined,
                Err(FootageError::NotYet) if self.clock.now() < ends_at + DURABLE_WITHIN + late => {
                    work.report(0.02, "Attend la fin du passage");
                    if work
                        .cancel
                        .run_until_cancelled(tokio::time::sleep(LOOK_AGAIN))
                        .await
                        .is_none()
                    {
                        return Err(WorkError::Cancelled);
                    }
                }
                Err(FootageError::Port(error)) => return Err(error.into()),
                Err(error) => return Err(WorkError::Refused(error.to_string())),
            }
        };
        let (start_s, end_s) = (joined.start_s, joined.end_s);
        let key_frames = joined.key_frames.around(start_s, end_s);
        let output = folder.0.join("clip.mp4");
        let origin_s = Some(joined.origin_s);
        let order =
            CutOrder { source, key_frames, origin_s, start_s, end_s, output: output.clone() };
        let report = self.engine.cut(order, &work.step(0.05, 0.85, "Découpe")).await?;
        let made = Made { aligned: self.aligned_on(alignment).await?, piece: joined.piece };
        self.keep_cut(id, report, made, &output, &folder, work).await
    }

    async fn aligned_on(
        &self,
        alignment: Option<Alignment>,
    ) -> Result<Option<AlignedOn>, PortError> {
        let Some(alignment) = alignment else { return Ok(None) };
        let lead: Option<CameraCard> =
            find_card(&*self.shelves, alignment.reference.as_uuid()).await?;
        Ok(lead.map(|lead| AlignedOn {
            name: lead.name.as_str().to_owned(),
            within_ms: alignment.line.residual_ms,
        }))
    }
}

/// The camera whose time the clips of all follow: the one that others were measured beside last.
fn reference_of(recording: &[(&CameraCard, DateTime<Utc>)]) -> Option<CameraId> {
    let records = |camera: CameraId| recording.iter().any(|(card, _)| card.id == camera);
    let known = recording.iter().flat_map(|(card, _)| &card.aligned);
    let latest = known.filter(|it| records(it.alignment.reference)).max_by_key(|it| it.at);
    latest.map(|it| it.alignment.reference)
}

/// A request for a clip of a camera.
#[expect(clippy::too_many_arguments, reason = "an event has as many fields")]
fn of_camera(
    clip: ClipId,
    week: WeekId,
    camera: &CameraCard,
    begins_at: DateTime<Utc>,
    follows: Option<CameraId>,
    span: Span,
    title: ClipTitle,
    by: Option<PersonId>,
) -> ClipEvent {
    let name = camera.name.as_str().to_owned();
    ClipEvent::Requested {
        clip,
        live: LiveId::of_cameras(week),
        source: ClipSource::Camera { camera: camera.id, name, begins_at, follows },
        moment: None,
        span,
        title,
        reel: false,
        by,
    }
}
