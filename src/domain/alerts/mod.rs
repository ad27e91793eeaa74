//! What people are told when something is wrong: once when it begins, once when it is over.

pub mod book;
pub mod quiet;
pub mod resources;
pub mod service;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::accounts::{Permission, Role, may};
use crate::domain::ids::{IncidentId, PersonId};
use crate::domain::resources::Resource;
use crate::domain::resources::trigger::Action;

/// What an alert is about. There is one alert a topic at a time, however often it is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "about", content = "of", rename_all = "snake_case")]
pub enum Topic {
    /// A resource has reached 80 % of what there is.
    Ceiling(Resource),
    /// A monitor does not see.
    Blind(Resource),
    /// Whoever looks after the machine stands still.
    Stalled(Watcher),
    /// A resource that only fills will be at 80 % soon.
    FillsSoon(Resource),
    /// The hosting plan in the settings promises something else than this machine has.
    PlanDiffers(Resource),
    /// Too many requests end in a fault of ours.
    Availability,
    /// Too many requests take too long.
    Latency,
    /// Too few of those who were offered something took it.
    Conversion,
}

/// Who looks after the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Watcher {
    /// Looks at every resource once a second.
    Looks,
    /// Holds renders below the ceiling, ten times a second.
    Governor,
}

/// Whether an alert may wake somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Told at any hour.
    Urgent,
    /// Told when the quiet hours are over, if it still lasts.
    Lesser,
}

impl Topic {
    /// Whether it may wake somebody: what harms a live, its recording or the house's visitors does.
    pub const fn weight(self) -> Weight {
        match self {
            Self::Ceiling(
                Resource::Cpu
                | Resource::Memory
                | Resource::Disk
                | Resource::Inodes
                | Resource::Files
                | Resource::QueueWait,
            )
            | Self::Blind(Resource::Cpu | Resource::Memory | Resource::Disk)
            | Self::Stalled(_)
            | Self::Availability => Weight::Urgent,
            Self::Ceiling(_)
            | Self::Blind(_)
            | Self::FillsSoon(_)
            | Self::PlanDiffers(_)
            | Self::Latency
            | Self::Conversion => Weight::Lesser,
        }
    }

    /// How long it must have been reported without a break before anybody is told. A ceiling that is reached is told at once: its
    /// trigger has waited already.
    pub const fn patience(self) -> TimeDelta {
        match self {
            Self::Ceiling(_) | Self::Stalled(_) | Self::Availability | Self::Conversion => {
                TimeDelta::zero()
            }
            Self::Blind(_) => TimeDelta::seconds(10),
            Self::Latency | Self::PlanDiffers(_) => TimeDelta::seconds(60),
            // A trend of a few minutes is a copy under way.
            Self::FillsSoon(_) => TimeDelta::minutes(5),
        }
    }

    /// How long it must have been away before it is over: what comes back sooner is the same incident, told once.
    pub const fn calm(self) -> TimeDelta {
        match self {
            Self::Ceiling(_) | Self::Blind(_) | Self::Stalled(_) => TimeDelta::seconds(90),
            Self::Availability | Self::Latency => TimeDelta::minutes(5),
            Self::FillsSoon(_) | Self::PlanDiffers(_) => TimeDelta::minutes(30),
            Self::Conversion => TimeDelta::hours(1),
        }
    }
}

/// Something that is wrong now, as its source reports it.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub topic: Topic,
    /// How bad it is, in the topic's own measure: a share for what fills, fails or is slow, hours for what will; more is worse,
    /// but for hours and conversion.
    pub figure: Option<f64>,
    /// What gives way because of it.
    pub slowed: BTreeSet<Action>,
}

impl Condition {
    /// A condition that slows nothing.
    pub fn new(topic: Topic, figure: Option<f64>) -> Self {
        Self { topic, figure, slowed: BTreeSet::new() }
    }
}

/// Somebody who takes care of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    pub by: PersonId,
    pub at: DateTime<Utc>,
}

/// What people have been told of an incident.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub opening: bool,
    pub ending: bool,
}

/// From the moment something went wrong until it was right again.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    pub id: IncidentId,
    pub topic: Topic,
    pub opened_at: DateTime<Utc>,
    /// When it was seen for the last time; none while it lasts.
    pub closed_at: Option<DateTime<Utc>>,
    /// The worst figure, in the topic's own measure.
    pub worst: Option<f64>,
    /// All that gave way meanwhile.
    pub slowed: BTreeSet<Action>,
    pub taken: Option<Taken>,
    pub told: Told,
}

impl Incident {
    /// How long it lasted, or has lasted until `now`; never below zero, whatever the clock did.
    pub fn lasted(&self, now: DateTime<Utc>) -> TimeDelta {
        (self.closed_at.unwrap_or(now) - self.opened_at).max(TimeDelta::zero())
    }

    /// Whether a person should look at it now.
    pub const fn is_waiting(&self) -> bool {
        self.closed_at.is_none() && self.taken.is_none()
    }

    /// Takes in how it does now. True when that is news.
    fn worsen(&mut self, condition: &Condition) -> bool {
        let falls = matches!(self.topic, Topic::FillsSoon(_) | Topic::Conversion);
        let worst = match (self.worst, condition.figure) {
            (Some(before), Some(now)) if falls => Some(before.min(now)),
            (Some(before), Some(now)) => Some(before.max(now)),
            (before, now) => now.or(before),
        };
        let known = self.slowed.len();
        self.slowed.extend(&condition.slowed);
        let is_news = worst != self.worst || self.slowed.len() != known;
        self.worst = worst;
        is_news
    }
}

/// Which end of an incident a notice tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    Opening,
    Ending,
}

/// Who is told by name: those who see how the machine does.
pub fn roles_told() -> Vec<Role> {
    Role::ALL.into_iter().filter(|role| may(*role, Permission::SeeHealth)).collect()
}

/// Mean time from the opening to the end of those incidents that ended; none without any.
pub fn time_to_recovery(incidents: &[Incident]) -> Option<TimeDelta> {
    let ended: Vec<TimeDelta> = incidents
        .iter()
        .filter(|incident| incident.closed_at.is_some())
        .map(|incident| incident.lasted(incident.opened_at))
        .collect();
    let count = i32::try_from(ended.len()).ok().filter(|count| *count > 0)?;
    Some(ended.into_iter().sum::<TimeDelta>() / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(opened: i64, closed: Option<i64>) -> Incident {
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        Incident {
            id: IncidentId::from_uuid(uuid::Uuid::nil()),
            topic: Topic::Latency,
            opened_at: at(opened),
            closed_at: closed.map(at),
            worst: None,
            slowed: BTreeSet::new(),
            taken: None,
            told: Told::default(),
        }
    }

    #[test]
    fn time_to_recovery_counts_what_ended() {
        let incidents = [incident(0, Some(60)), incident(100, Some(300)), incident(500, None)];
        assert_eq!(time_to_recovery(&incidents), Some(TimeDelta::seconds(130)));
        assert_eq!(time_to_recovery(&incidents[2..]), None, "what lasts has no time yet");
        assert_eq!(
            incident(100, Some(40)).lasted(DateTime::UNIX_EPOCH),
            TimeDelta::zero(),
            "a clock that steps back makes no negative time"
        );
    }

    #[test]
    fn the_worst_of_what_falls_is_the_least() {
        for (topic, worst) in [(Topic::Latency, 0.4), (Topic::Conversion, 0.1)] {
            let mut it = Incident { topic, ..incident(0, None) };
            for figure in [0.2, 0.4, 0.1] {
                it.worsen(&Condition::new(topic, Some(figure)));
            }
            assert_eq!(it.worst, Some(worst), "{topic:?}");
        }
    }
}
