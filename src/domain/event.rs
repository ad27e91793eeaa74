//! The event log's vocabulary: our own decisions, each of one feature, naming persons by id only.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::accounts::AccountEvent;
use crate::domain::clips::ClipEvent;
use crate::domain::live::LiveEvent;
use crate::domain::live::camera::CameraEvent;
use crate::domain::moments::event::MomentEvent;
use crate::domain::villa::VillaEvent;

/// What happened, in one feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "feature", content = "event", rename_all = "snake_case")]
pub enum Event {
    Villa(VillaEvent),
    Live(LiveEvent),
    Camera(CameraEvent),
    Moment(MomentEvent),
    Clip(ClipEvent),
    Account(AccountEvent),
}

impl Event {
    /// The feature word, as written in the log's column.
    pub const fn feature(&self) -> &'static str {
        match self {
            Self::Villa(_) => "villa",
            Self::Live(_) | Self::Camera(_) => "live",
            Self::Moment(_) => "moments",
            Self::Clip(_) => "clips",
            Self::Account(_) => "accounts",
        }
    }

    /// The thing this event is about; its events in order are its history.
    pub const fn subject(&self) -> Uuid {
        match self {
            Self::Villa(event) => event.week().as_uuid(),
            Self::Live(event) => event.live().as_uuid(),
            Self::Camera(event) => event.camera().as_uuid(),
            Self::Moment(event) => event.moment().as_uuid(),
            Self::Clip(event) => event.clip().as_uuid(),
            Self::Account(event) => event.person().as_uuid(),
        }
    }
}

macro_rules! into_event {
    ($($variant:ident($event:ty)),+ $(,)?) => {
        $(impl From<$event> for Event {
            fn from(event: $event) -> Self {
                Self::$variant(event)
            }
        })+
    };
}
into_event!(
    Villa(VillaEvent),
    Live(LiveEvent),
    Camera(CameraEvent),
    Moment(MomentEvent),
    Clip(ClipEvent),
    Account(AccountEvent),
);

/// An event with its place in the log. `seq` grows in commit order: a reader that has seen `n` never meets a smaller one later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded<E = Event> {
    pub seq: i64,
    pub at: DateTime<Utc>,
    pub event: E,
}
