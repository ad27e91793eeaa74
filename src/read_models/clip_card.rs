//! A clip as the shelf shows it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::clips::Clip;
use crate::domain::event::{Event, Recorded};
use crate::read_models::{Card, Model};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClipCard {
    pub clip: Clip,
    pub requested_at: DateTime<Utc>,
    pub changed_at: DateTime<Utc>,
}

impl Card for ClipCard {
    const MODEL: Model = Model::Clips;

    fn begin(event: &Recorded<Event>) -> Option<Self> {
        let Event::Clip(begun) = &event.event else { return None };
        Clip::begun_by(begun).map(|clip| Self {
            clip,
            requested_at: event.at,
            changed_at: event.at,
        })
    }

    fn apply(&mut self, event: &Recorded<Event>) {
        if let Event::Clip(change) = &event.event {
            self.clip.apply(change);
            self.changed_at = event.at;
        }
    }

    fn parent(&self) -> Uuid {
        self.clip.live.as_uuid()
    }
}
