//! The places people look at. Each card is a pure fold over the event log: drop them, replay, and they come back equal.

mod broadcast_card;
mod camera_card;
mod clip_card;
mod live_board;
mod live_card;
mod moment_card;
mod week_card;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::domain::event::{Event, Recorded};

pub use broadcast_card::BroadcastCard;
pub use camera_card::{CameraCard, Measured};
pub use clip_card::ClipCard;
pub use live_board::{Deed, Line, LiveBoard, PULSE_STEP_S};
pub use live_card::LiveCard;
pub use moment_card::MomentCard;
pub use week_card::WeekCard;

/// A read model's name: a kind of card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Model {
    Weeks,
    Lives,
    Moments,
    Clips,
    Broadcasts,
    Cameras,
}

impl Model {
    pub const ALL: [Self; 6] =
        [Self::Weeks, Self::Lives, Self::Moments, Self::Clips, Self::Broadcasts, Self::Cameras];

    /// The word in storage. A card whose shape changes gets a new word; `spark rebuild` folds it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Weeks => "weeks.1",
            Self::Lives => "lives.1",
            Self::Moments => "moments.1",
            Self::Clips => "clips.1",
            Self::Broadcasts => "broadcasts.1",
            Self::Cameras => "cameras.1",
        }
    }

    /// Folds one event into the card it touches, if it touches one of this model. Returns the parent and the new document.
    pub fn fold(
        self,
        document: Option<serde_json::Value>,
        event: &Recorded<Event>,
    ) -> Result<Option<(Uuid, serde_json::Value)>, serde_json::Error> {
        match self {
            Self::Weeks => fold_card::<WeekCard>(document, event),
            Self::Lives => fold_card::<LiveCard>(document, event),
            Self::Moments => fold_card::<MomentCard>(document, event),
            Self::Clips => fold_card::<ClipCard>(document, event),
            Self::Broadcasts => fold_card::<BroadcastCard>(document, event),
            Self::Cameras => fold_card::<CameraCard>(document, event),
        }
    }

    /// Whether an event touches a card of this model; the card's key is the event's subject.
    pub const fn hears(self, event: &Event) -> bool {
        matches!(
            (self, event),
            (Self::Weeks, Event::Villa(_))
                | (Self::Lives | Self::Broadcasts, Event::Live(_))
                | (Self::Moments, Event::Moment(_))
                | (Self::Clips, Event::Clip(_))
                | (Self::Cameras, Event::Camera(_))
        )
    }
}

/// A document of a read model, one a subject.
pub trait Card: Serialize + DeserializeOwned + Send {
    const MODEL: Model;

    /// The first card, from the event that begins its subject.
    fn begin(event: &Recorded<Event>) -> Option<Self>;

    /// One more event of the same subject.
    fn apply(&mut self, event: &Recorded<Event>);

    /// What the card is listed under: a clip's live, a live's week. Nil for the top.
    fn parent(&self) -> Uuid;
}

fn fold_card<C: Card>(
    document: Option<serde_json::Value>,
    event: &Recorded<Event>,
) -> Result<Option<(Uuid, serde_json::Value)>, serde_json::Error> {
    let card = match document {
        Some(document) => {
            let mut card: C = serde_json::from_value(document)?;
            card.apply(event);
            Some(card)
        }
        None => C::begin(event),
    };
    card.map(|card| Ok((card.parent(), serde_json::to_value(card)?))).transpose()
}
