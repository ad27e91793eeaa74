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
    /// 0 is the best of the live; while it is on air, all stand at 0.
    pub rank: u32,
    pub found: Moment,
}

impl Card for MomentCard {
    const MODEL: Model = Model::Moments;

    fn begin(event: &Recorded<Event>) -> Option<Self> {
        let Event::Moment(event) = &event.event else { return None };
        Some(match event {
            MomentEvent::Detected { moment, live, rank, found } => {
                Self { id: *moment, live: *live, rank: *rank, found: found.clone() }
            }
            MomentEvent::Told { moment, live, found } => {
                Self { id: *moment, live: *live, rank: 0, found: found.clone() }
            }
        })
    }

    fn apply(&mut self, event: &Recorded<Event>) {
        match &event.event {
            Event::Moment(MomentEvent::Detected { rank, found, .. }) => {
                self.rank = *rank;
                self.found = found.clone();
            }
            Event::Moment(MomentEvent::Told { found, .. }) => self.found = found.clone(),
            _ => {}
        }
    }

    fn parent(&self) -> Uuid {
        self.live.as_uuid()
    }
}
