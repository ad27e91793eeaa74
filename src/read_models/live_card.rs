//! A live session as a week shows it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::event::{Event, Recorded};
use crate::domain::ids::{LiveId, WeekId};
use crate::domain::live::{LiveEvent, Recording};
use crate::read_models::{Card, Model};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveCard {
    pub id: LiveId,
    pub week: WeekId,
    pub title: String,
    pub started_at: DateTime<Utc>,
    pub imported_at: DateTime<Utc>,
    pub recording: Recording,
    pub messages: u64,
    pub chatters: u64,
    /// `None` until the detector has read it to its end.
    pub analysis: Option<Analysis>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    pub moments: u32,
    /// How far the chat runs behind the picture, in milliseconds.
    pub delay_ms: i64,
    pub delay_origin: String,
}

impl Card for LiveCard {
    const MODEL: Model = Model::Lives;

    fn begin(event: &Recorded<Event>) -> Option<Self> {
        let Event::Live(LiveEvent::Imported {
            live,
            week,
            title,
            started_at,
            recording,
            messages,
            chatters,
            ..
        }) = &event.event
        else {
            return None;
        };
        Some(Self {
            id: *live,
            week: *week,
            title: title.clone(),
            started_at: *started_at,
            imported_at: event.at,
            recording: recording.clone(),
            messages: *messages,
            chatters: *chatters,
            analysis: None,
        })
    }

    fn apply(&mut self, event: &Recorded<Event>) {
        if let Event::Live(LiveEvent::Analysed { moments, delay_ms, delay_origin, .. }) =
            &event.event
        {
            self.analysis = Some(Analysis {
                moments: *moments,
                delay_ms: *delay_ms,
                delay_origin: delay_origin.clone(),
            });
        }
    }

    fn parent(&self) -> Uuid {
        self.week.as_uuid()
    }
}
