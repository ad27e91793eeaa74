//! A moment as its live lists it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::event::{Event, Recorded};
use crate::domain::ids::{LiveId, MomentId};
use crate::domain::moments::event::MomentEvent;
use crate::domain::moments::moment::Moment;
use crate::read_models::{Card, Model};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MomentCard {
    pub id: MomentId,
    pub live: LiveId,
    /// 0 is the best of the live.
    pub rank: u32,
    pub found: Moment,
}

impl Card for MomentCard {
    const MODEL: Model = Model::Moments;

    fn begin(event: &Recorded<Event>) -> Option<Self> {
        let Event::Moment(MomentEvent::Detected { moment, live, rank, found }) = &event.event
        else {
            return None;
        };
        Some(Self { id: *moment, live: *live, rank: *rank, found: found.clone() })
    }

    fn apply(&mut self, event: &Recorded<Event>) {
        if let Event::Moment(MomentEvent::Detected { rank, found, .. }) = &event.event {
            self.rank = *rank;
            self.found = found.clone();
        }
    }

    fn parent(&self) -> Uuid {
        self.live.as_uuid()
    }
}
