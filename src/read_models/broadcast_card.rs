//! A live as it goes on air, before anything is recorded of it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::event::{Event, Recorded};
use crate::domain::ids::{LiveId, WeekId};
use crate::domain::live::LiveEvent;
use crate::read_models::{Card, Model};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BroadcastCard {
    pub id: LiveId,
    pub week: WeekId,
    /// The platform's id of the channel.
    pub channel: String,
    pub title: String,
    pub started_at: DateTime<Utc>,
    /// Milliseconds from the start, in the order they were set.
    pub marks: Vec<i64>,
    /// `None` while on air.
    pub ended_at: Option<DateTime<Utc>>,
}

impl Card for BroadcastCard {
    const MODEL: Model = Model::Broadcasts;

    fn begin(event: &Recorded<Event>) -> Option<Self> {
        let Event::Live(LiveEvent::Began { live, week, channel, title, started_at }) = &event.event
        else {
            return None;
        };
        Some(Self {
            id: *live,
            week: *week,
            channel: channel.clone(),
            title: title.clone(),
            started_at: *started_at,
            marks: Vec::new(),
            ended_at: None,
        })
    }

    fn apply(&mut self, event: &Recorded<Event>) {
        match &event.event {
            Event::Live(LiveEvent::Ended { ended_at, .. }) => self.ended_at = Some(*ended_at),
            Event::Live(LiveEvent::Marked { offset_ms, .. }) => self.marks.push(*offset_ms),
            _ => {}
        }
    }

    fn parent(&self) -> Uuid {
        self.week.as_uuid()
    }
}
