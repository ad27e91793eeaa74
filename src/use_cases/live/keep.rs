//! Keeping: what stays of each camera, and what the recorder lets go to make room. It decides alone, from what it was told
//! last: a full disk does not wait for a database.

use std::sync::{MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta};
use uuid::Uuid;

use crate::domain::clips::{ClipSource, ClipState};
use crate::domain::ids::{CameraId, LiveId, PersonId};
use crate::domain::live::camera::{CameraError, CameraEvent};
use crate::domain::live::keeping::{
    DAYS_KEPT_MAX, Fate, Keeping, KeptSpan, SPAN_KEPT_MAX, SPANS_KEPT_MAX, bytes_over,
};
use crate::ports::PortError;
use crate::ports::recorder::LetGo;
use crate::ports::shelves::cards_of;
use crate::read_models::{CameraCard, ClipCard, WeekCard};
use crate::use_cases::live::cameras::{Cameras, CamerasError};
use crate::use_cases::live::record::{Inner, Recorder};

/// A clip is cut from a little before or after its time where its camera lags behind another.
const CLIP_AROUND: TimeDelta = TimeDelta::seconds(30);

impl Cameras {
    /// Keeps a camera's recordings for so many days; without a number, until room is needed.
    pub async fn set_days(
        &self,
        camera: CameraId,
        days: Option<u16>,
        by: Option<PersonId>,
    ) -> Result<(), CamerasError> {
        if days.is_some_and(|days| !(1..=DAYS_KEPT_MAX).contains(&days)) {
            return Err(CameraError::Days.into());
        }
        self.find(camera).await?;
        self.decided(CameraEvent::DaysSet { camera, days, by }).await
    }

    /// Keeps a span of a camera until it is let go.
    pub async fn keep_span(
        &self,
        camera: CameraId,
        span: KeptSpan,
        by: Option<PersonId>,
    ) -> Result<(), CamerasError> {
        if span.to <= span.from || span.to - span.from > SPAN_KEPT_MAX {
            return Err(CameraError::Span.into());
        }
        let card = self.find(camera).await?;
        if card.kept.contains(&span) {
            return Ok(());
        }
        if card.kept.len() >= SPANS_KEPT_MAX {
            return Err(CameraError::TooManySpans.into());
        }
        self.decided(CameraEvent::SpanKept { camera, span, by }).await
    }

    /// Lets a span go that was kept from this instant to that one: the rules hold for it again.
    pub async fn let_span_go(
        &self,
        camera: CameraId,
        from_ms: i64,
        to_ms: i64,
        by: Option<PersonId>,
    ) -> Result<(), CamerasError> {
        let card = self.find(camera).await?;
        let is_it = |span: &&KeptSpan| {
            span.from.timestamp_millis() == from_ms && span.to.timestamp_millis() == to_ms
        };
        match card.kept.iter().find(is_it).cloned() {
            Some(span) => self.decided(CameraEvent::SpanLetGo { camera, span, by }).await,
            None => Ok(()),
        }
    }

    /// Tells the recorder what stays of each camera, gone ones among them: what people keep, and what clips were cut from
    /// that nobody rejected.
    pub async fn tell_keeping(&self) -> Result<(), PortError> {
        let cards: Vec<CameraCard> = cards_of(&*self.shelves, Uuid::nil()).await?;
        let mut keeping: Vec<Keeping> = cards.iter().map(CameraCard::keeping).collect();
        for week in cards_of::<WeekCard>(&*self.shelves, Uuid::nil()).await? {
            let live = LiveId::of_cameras(week.id).as_uuid();
            for ClipCard { clip, .. } in cards_of(&*self.shelves, live).await? {
                let ClipSource::Camera { camera, begins_at, .. } = clip.source else { continue };
                if matches!(clip.state, ClipState::Rejected { .. }) {
                    continue;
                }
                let span = KeptSpan {
                    from: begins_at - CLIP_AROUND,
                    to: begins_at + TimeDelta::milliseconds(clip.span.to_ms) + CLIP_AROUND,
                    title: clip.title.as_str().to_owned(),
                };
                if let Some(of) = keeping.iter_mut().find(|it| it.camera == camera) {
                    of.spans.push(span);
                }
            }
        }
        self.desk.keep(&keeping).await
    }

    async fn decided(&self, event: CameraEvent) -> Result<(), CamerasError> {
        self.write(event).await?;
        if let Err(error) = self.tell_keeping().await {
            tracing::warn!(error = %error.chain(), "the recorder does not know yet what stays");
        }
        Ok(())
    }
}

impl Recorder {
    /// What stays of each camera from now on; of a camera that is not told of, everything does. It holds even when the book
    /// cannot be written.
    pub fn keep(&self, keeping: &[Keeping]) -> Result<(), PortError> {
        let mut told = self.0.keeping();
        if *told == keeping {
            return Ok(());
        }
        keeping.clone_into(&mut told);
        drop(told);
        self.0.book.write_keeping(keeping)
    }

    /// Lets go what is too old, then the oldest that may go for room, until the disk is below its line.
    pub async fn make_room(&self) -> Result<(), PortError> {
        let inner = &self.0;
        let keeping = inner.keeping().clone();
        let (now, space) = (inner.clock.now(), inner.dvr.space());
        let mut over = bytes_over(space.total_bytes, space.free_bytes);
        let mut gone = LetGo::default();
        for stretch in inner.dvr.stretches().await? {
            let Some(rules) = keeping.iter().find(|it| it.camera == stretch.camera) else {
                continue;
            };
            let from = DateTime::from_timestamp_nanos(stretch.from_utc_ns);
            let to = DateTime::from_timestamp_nanos(stretch.to_utc_ns);
            let goes = match rules.fate(from, to, now) {
                Fate::Stays => false,
                Fate::GoesForRoom => over > 0,
                Fate::Goes => true,
            };
            if !goes {
                continue;
            }
            let freed = inner.dvr.remove(&stretch).await?;
            over = over.saturating_sub(freed);
            gone.files += 1;
            gone.bytes += freed;
            gone.until = gone.until.max(Some(to));
        }
        if gone.files > 0 {
            tracing::info!(files = gone.files, bytes = gone.bytes, until = ?gone.until, "let recordings go");
        }
        let mut told = inner.let_go.lock().unwrap_or_else(PoisonError::into_inner);
        *told = LetGo {
            files: told.files + gone.files,
            bytes: told.bytes + gone.bytes,
            until: told.until.max(gone.until),
            is_cramped: over > 0,
        };
        Ok(())
    }
}

impl Inner {
    fn keeping(&self) -> MutexGuard<'_, Vec<Keeping>> {
        self.keeping.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
