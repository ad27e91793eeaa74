//! Triggers: when a share passes a level, some work gives way until it has come down again for a while.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::resources::{CEILING, Resource};

/// What a trigger listens to: a share from 0 to 1, sometimes above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// CPU of all but the renders, smoothed: a healthy render holds the whole near its target by design.
    LiveCpu,
    /// CPU of everybody over the last second.
    Cpu,
    Memory,
    Disk,
    Inodes,
    DiskRate,
    NetworkRate,
    Transfer,
    Processes,
    Files,
    Connections,
    QueueWait,
}

impl Signal {
    /// The resource it tells of.
    pub const fn resource(self) -> Resource {
        match self {
            Self::LiveCpu | Self::Cpu => Resource::Cpu,
            Self::Memory => Resource::Memory,
            Self::Disk => Resource::Disk,
            Self::Inodes => Resource::Inodes,
            Self::DiskRate => Resource::DiskRate,
            Self::NetworkRate => Resource::NetworkRate,
            Self::Transfer => Resource::Transfer,
            Self::Processes => Resource::Processes,
            Self::Files => Resource::Files,
            Self::Connections => Resource::Connections,
            Self::QueueWait => Resource::QueueWait,
        }
    }

    /// The signal that a resource's own share is; CPU has the governor's.
    pub const fn of(resource: Resource) -> Self {
        match resource {
            Resource::Cpu => Self::Cpu,
            Resource::Memory => Self::Memory,
            Resource::Disk => Self::Disk,
            Resource::Inodes => Self::Inodes,
            Resource::DiskRate => Self::DiskRate,
            Resource::NetworkRate => Self::NetworkRate,
            Resource::Transfer => Self::Transfer,
            Resource::Processes => Self::Processes,
            Resource::Files => Self::Files,
            Resource::Connections => Self::Connections,
            Resource::QueueWait => Self::QueueWait,
        }
    }
}

/// What gives way. Recording, chat, marks and interactive cuts are in none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// No new sheddable job starts: renders, imports, exports, back-fills.
    HoldRenders,
    /// Renders that run are stopped where they are.
    StopRenders,
    /// Sheddable requests are refused for the moment: uploads, exports.
    ShedSheddable,
    /// Live pages get their frames once a second.
    MergeFanOut,
    /// No new live page is opened, but for the streamers' own console.
    RefuseStreams,
    /// Pages that can wait for another day are refused.
    RefusePages,
    /// People are told.
    Alert,
}

impl Action {
    pub const ALL: [Self; 7] = [
        Self::HoldRenders,
        Self::StopRenders,
        Self::ShedSheddable,
        Self::MergeFanOut,
        Self::RefuseStreams,
        Self::RefusePages,
        Self::Alert,
    ];

    /// The word in settings and measures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HoldRenders => "hold_renders",
            Self::StopRenders => "stop_renders",
            Self::ShedSheddable => "shed_sheddable",
            Self::MergeFanOut => "merge_fan_out",
            Self::RefuseStreams => "refuse_streams",
            Self::RefusePages => "refuse_pages",
            Self::Alert => "alert",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

/// A level with what follows from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    pub on: Signal,
    /// Raised at this share or above.
    pub raise: f64,
    /// Cleared below this one; lower than `raise`.
    pub clear: f64,
    /// Seconds the share must stay at `raise` or above before anything follows.
    #[serde(default)]
    pub after_s: f64,
    /// Seconds the share must stay below `clear`.
    #[serde(default)]
    pub hold_s: f64,
    pub actions: BTreeSet<Action>,
}

/// Why triggers cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TriggerError {
    #[error(
        "a trigger on {on:?} is raised at {raise} and cleared at {clear}: it must clear below its raise, both between 0 and 2"
    )]
    Levels { on: Signal, raise: f64, clear: f64 },
    #[error("a trigger on {on:?} waits or holds for {seconds} s: 0 to 3600 it may")]
    Time { on: Signal, seconds: f64 },
    #[error("a trigger on {on:?} has no actions: it would do nothing")]
    Idle { on: Signal },
}

impl Trigger {
    fn check(&self) -> Result<(), TriggerError> {
        let Self { on, raise, clear, after_s, hold_s, .. } = *self;
        let is_level = |level: f64| (0.0..=2.0).contains(&level);
        if !is_level(raise) || !is_level(clear) || clear >= raise {
            return Err(TriggerError::Levels { on, raise, clear });
        }
        for seconds in [after_s, hold_s] {
            if !(0.0..=3600.0).contains(&seconds) {
                return Err(TriggerError::Time { on, seconds });
            }
        }
        if self.actions.is_empty() {
            return Err(TriggerError::Idle { on });
        }
        Ok(())
    }
}

/// The levels of the house: the 80 % line, and before it the steps that keep it. Renders give way at once; people are refused
/// something only when it lasts. Clear is five points below raise.
pub fn usual() -> Vec<Trigger> {
    use Action::{
        Alert, HoldRenders, MergeFanOut, RefusePages, RefuseStreams, ShedSheddable, StopRenders,
    };
    let trigger = |on, raise, clear, (after_s, hold_s), actions: &[Action]| Trigger {
        on,
        raise,
        clear,
        after_s,
        hold_s,
        actions: actions.iter().copied().collect(),
    };
    let mut triggers = vec![
        trigger(Signal::LiveCpu, 0.55, 0.50, (0.0, 2.0), &[HoldRenders]),
        // The governor leaves them nothing at that level by itself: this only makes sure of it.
        trigger(Signal::LiveCpu, 0.68, 0.63, (0.0, 1.0), &[StopRenders]),
        trigger(Signal::LiveCpu, 0.68, 0.63, (15.0, 5.0), &[ShedSheddable]),
        trigger(Signal::LiveCpu, 0.74, 0.69, (5.0, 10.0), &[MergeFanOut, RefuseStreams]),
        trigger(Signal::Cpu, CEILING, 0.70, (0.0, 5.0), &[StopRenders]),
        trigger(Signal::Cpu, CEILING, 0.70, (0.0, 30.0), &[Alert]),
        trigger(Signal::Memory, 0.75, 0.70, (0.0, 5.0), &[HoldRenders]),
        trigger(Signal::Memory, CEILING, 0.75, (0.0, 10.0), &[ShedSheddable, RefuseStreams, Alert]),
        trigger(Signal::Disk, CEILING, 0.75, (0.0, 5.0), &[HoldRenders, ShedSheddable, Alert]),
        trigger(Signal::Inodes, CEILING, 0.75, (0.0, 5.0), &[HoldRenders, ShedSheddable, Alert]),
        trigger(Signal::Processes, 0.75, 0.70, (0.0, 5.0), &[HoldRenders]),
        trigger(Signal::Files, CEILING, 0.75, (0.0, 10.0), &[RefuseStreams, Alert]),
        trigger(
            Signal::QueueWait,
            CEILING,
            0.60,
            (3.0, 5.0),
            &[HoldRenders, ShedSheddable, RefuseStreams, RefusePages, Alert],
        ),
    ];
    let told = [
        Signal::Processes,
        Signal::Connections,
        Signal::DiskRate,
        Signal::NetworkRate,
        Signal::Transfer,
    ];
    triggers.extend(told.map(|on| trigger(on, CEILING, 0.75, (0.0, 10.0), &[Alert])));
    triggers
}

/// All triggers and which of them are raised.
#[derive(Debug, Clone)]
pub struct Triggers(Vec<Watched>);

#[derive(Debug, Clone)]
struct Watched {
    trigger: Trigger,
    share: f64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Low {
        /// Since when the share has been at the raising level.
        above_since: Option<Duration>,
    },
    Raised {
        /// Since when the share has been below the clearing level.
        below_since: Option<Duration>,
    },
}

/// A trigger that is raised now.
#[derive(Debug, Clone, PartialEq)]
pub struct Raised {
    pub on: Signal,
    /// The latest share.
    pub share: f64,
    /// The level it passed.
    pub raise: f64,
    pub actions: BTreeSet<Action>,
}

impl Triggers {
    /// Refuses triggers that could never clear or would do nothing.
    pub fn try_new(triggers: Vec<Trigger>) -> Result<Self, TriggerError> {
        for trigger in &triggers {
            trigger.check()?;
        }
        let watched =
            |trigger| Watched { trigger, share: 0.0, state: State::Low { above_since: None } };
        Ok(Self(triggers.into_iter().map(watched).collect()))
    }

    /// Takes a share in. `now` is of a clock that never steps. A share that nobody could read is not told: what stands, stands.
    pub fn hear(&mut self, now: Duration, signal: Signal, share: f64) {
        for watched in self.0.iter_mut().filter(|watched| watched.trigger.on == signal) {
            watched.hear(now, share);
        }
    }

    /// What is raised now.
    pub fn raised(&self) -> Vec<Raised> {
        self.0
            .iter()
            .filter(|watched| matches!(watched.state, State::Raised { .. }))
            .map(|Watched { trigger, share, .. }| Raised {
                on: trigger.on,
                share: *share,
                raise: trigger.raise,
                actions: trigger.actions.clone(),
            })
            .collect()
    }
}

impl Watched {
    fn hear(&mut self, now: Duration, share: f64) {
        self.share = share;
        let Trigger { raise, clear, after_s, hold_s, .. } = self.trigger;
        let lasts =
            |since: Duration, seconds: f64| now.saturating_sub(since).as_secs_f64() >= seconds;
        self.state = match self.state {
            State::Low { above_since } if share >= raise => {
                let since = above_since.unwrap_or(now);
                if lasts(since, after_s) {
                    State::Raised { below_since: None }
                } else {
                    State::Low { above_since: Some(since) }
                }
            }
            State::Low { .. } => State::Low { above_since: None },
            State::Raised { .. } if share >= clear => State::Raised { below_since: None },
            State::Raised { below_since } => {
                let since = below_since.unwrap_or(now);
                if lasts(since, hold_s) {
                    State::Low { above_since: None }
                } else {
                    State::Raised { below_since: Some(since) }
                }
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn one(after_s: f64, hold_s: f64) -> Triggers {
        let actions = BTreeSet::from([Action::Alert]);
        let trigger =
            Trigger { on: Signal::Disk, raise: 0.8, clear: 0.75, after_s, hold_s, actions };
        Triggers::try_new(vec![trigger]).expect("a trigger")
    }

    #[test]
    fn a_level_is_raised_at_once_and_cleared_after_a_while_below() {
        let mut triggers = one(0.0, 5.0);
        triggers.hear(at(0), Signal::Disk, 0.79);
        assert!(triggers.raised().is_empty());
        triggers.hear(at(1), Signal::Disk, 0.80);
        assert_eq!(triggers.raised().len(), 1, "80 % is already too much");
        for (second, share, raised) in
            [(2, 0.70, 1), (5, 0.70, 1), (6, 0.76, 1), (7, 0.74, 1), (11, 0.74, 1), (12, 0.74, 0)]
        {
            triggers.hear(at(second), Signal::Disk, share);
            assert_eq!(triggers.raised().len(), raised, "at {second} s");
        }
    }

    #[test]
    fn what_does_not_last_is_not_raised() {
        let mut triggers = one(10.0, 0.0);
        for (second, share, raised) in
            [(0, 0.9, 0), (9, 0.9, 0), (10, 0.79, 0), (11, 0.9, 0), (20, 0.9, 0), (21, 0.9, 1)]
        {
            triggers.hear(at(second), Signal::Disk, share);
            assert_eq!(triggers.raised().len(), raised, "at {second} s");
        }
    }

    #[test]
    fn a_signal_of_another_kind_changes_nothing() {
        let mut triggers = one(0.0, 0.0);
        triggers.hear(at(0), Signal::Memory, 1.0);
        assert!(triggers.raised().is_empty());
    }

    #[test]
    fn triggers_that_could_not_work_are_refused() {
        let base = usual().remove(0);
        let never_clears = Trigger { clear: base.raise, ..base.clone() };
        let does_nothing = Trigger { actions: BTreeSet::new(), ..base.clone() };
        let no_number = Trigger { raise: f64::NAN, ..base.clone() };
        let for_ever = Trigger { hold_s: f64::INFINITY, ..base };
        for bad in [never_clears, does_nothing, no_number, for_ever] {
            assert!(Triggers::try_new(vec![bad.clone()]).is_err(), "{bad:?}");
        }
        Triggers::try_new(usual()).expect("the usual ones");
    }

    #[test]
    fn every_resource_has_a_line_at_eighty_percent_that_people_are_told_of() {
        for resource in Resource::ALL {
            let is_told = usual().iter().any(|trigger| {
                trigger.on == Signal::of(resource)
                    && (trigger.raise - CEILING).abs() < f64::EPSILON
                    && trigger.actions.contains(&Action::Alert)
            });
            assert!(is_told, "{resource:?}");
        }
    }
}
