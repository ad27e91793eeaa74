//! A villa week as the list shows it.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::event::{Event, Recorded};
use crate::domain::ids::WeekId;
use crate::domain::villa::VillaEvent;
use crate::read_models::{Card, Model};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeekCard {
    pub id: WeekId,
    pub name: String,
    pub starts_on: NaiveDate,
    pub opened_at: DateTime<Utc>,
    /// The raw chat is gone; figures stay.
    pub audience_aged: bool,
}

impl Card for WeekCard {
    const MODEL: Model = Model::Weeks;

    fn begin(event: &Recorded<Event>) -> Option<Self> {
        let Event::Villa(VillaEvent::Opened { week, name, starts_on, .. }) = &event.event else {
            return None;
        };
        Some(Self {
            id: *week,
            name: name.as_str().to_owned(),
            starts_on: *starts_on,
            opened_at: event.at,
            audience_aged: false,
        })
    }

    fn apply(&mut self, event: &Recorded<Event>) {
        if let Event::Villa(VillaEvent::AudienceAged { .. }) = event.event {
            self.audience_aged = true;
        }
    }

    fn parent(&self) -> Uuid {
        Uuid::nil()
    }
}
