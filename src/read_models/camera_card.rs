//! A camera as the control room lists it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::event::{Event, Recorded};
use crate::domain::ids::{CameraId, RecordingId};
use crate::domain::live::camera::{Camera, CameraEvent, CameraName, KeyHash};
use crate::domain::live::keeping::{Keeping, KeptSpan};
use crate::domain::live::sync::Alignment;
use crate::read_models::{Card, Model};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CameraCard {
    pub id: CameraId,
    pub name: CameraName,
    pub key: KeyHash,
    pub key_drawn_at: DateTime<Utc>,
    pub added_at: DateTime<Utc>,
    pub retired_at: Option<DateTime<Utc>>,
    /// Days its recordings are kept for, and what stays longer.
    #[serde(default)]
    pub days: Option<u16>,
    #[serde(default)]
    pub kept: Vec<KeptSpan>,
    /// How it lies beside other cameras, one a pair of recordings, measured last at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aligned: Vec<Measured>,
}

/// An alignment, and when it was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub at: DateTime<Utc>,
    pub alignment: Alignment,
}

/// Pairs of recordings that are remembered of a camera.
const PAIRS_MAX: usize = 8;

impl CameraCard {
    /// As the recorder knows it; `None` once it is gone.
    pub fn known(&self) -> Option<Camera> {
        let camera = Camera { id: self.id, name: self.name.clone(), key: self.key };
        self.retired_at.is_none().then_some(camera)
    }

    /// What stays of it.
    pub fn keeping(&self) -> Keeping {
        Keeping { camera: self.id, days: self.days, spans: self.kept.clone() }
    }

    /// How one of its recordings lies beside one of another camera, as it was measured last.
    pub fn beside(&self, reference: RecordingId, recording: RecordingId) -> Option<&Measured> {
        self.aligned.iter().rev().find(|known| known.alignment.is_of(reference, recording))
    }

    fn align(&mut self, at: DateTime<Utc>, alignment: &Alignment) {
        let (reference, recording) = (alignment.reference_recording, alignment.recording);
        self.aligned.retain(|known| !known.alignment.is_of(reference, recording));
        self.aligned.push(Measured { at, alignment: alignment.clone() });
        self.aligned.drain(..self.aligned.len().saturating_sub(PAIRS_MAX));
    }
}

impl Card for CameraCard {
    const MODEL: Model = Model::Cameras;

    fn begin(event: &Recorded<Event>) -> Option<Self> {
        let Event::Camera(CameraEvent::Added { camera, name, key, .. }) = &event.event else {
            return None;
        };
        Some(Self {
            id: *camera,
            name: name.clone(),
            key: *key,
            key_drawn_at: event.at,
            added_at: event.at,
            retired_at: None,
            days: None,
            kept: Vec::new(),
            aligned: Vec::new(),
        })
    }

    fn apply(&mut self, event: &Recorded<Event>) {
        let Event::Camera(happened) = &event.event else { return };
        match happened {
            CameraEvent::Added { .. } => {}
            CameraEvent::Renamed { name, .. } => self.name = name.clone(),
            CameraEvent::KeyDrawn { key, .. } => (self.key, self.key_drawn_at) = (*key, event.at),
            CameraEvent::Aligned { alignment, .. } => self.align(event.at, alignment),
            CameraEvent::Retired { .. } => self.retired_at = Some(event.at),
            CameraEvent::DaysSet { days, .. } => self.days = *days,
            CameraEvent::SpanKept { span, .. } => self.kept.push(span.clone()),
            CameraEvent::SpanLetGo { span, .. } => self.kept.retain(|kept| kept != span),
        }
    }

    fn parent(&self) -> Uuid {
        Uuid::nil()
    }
}
