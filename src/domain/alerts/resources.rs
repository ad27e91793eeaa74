//! What is wrong with the machine, as conditions that people are told of.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;

use crate::domain::alerts::{Condition, Topic, Watcher};
use crate::domain::resources::plan::Disagreement;
use crate::domain::resources::trigger::{Action, Raised};
use crate::domain::resources::{Blind, Resource};

/// A look at the machine older than this has stopped.
pub const LOOK_MAX: Duration = Duration::from_secs(10);
/// A disk that is at its line sooner than this is told of.
pub const FILLS_WITHIN: TimeDelta = TimeDelta::hours(6);

/// Resources at their line: one condition a resource, with all that gives way because of it.
pub fn ceilings(raised: &[Raised]) -> Vec<Condition> {
    let mut told: Vec<Condition> = Vec::new();
    let alerting = raised.iter().filter(|it| it.actions.contains(&Action::Alert));
    let at_line: BTreeSet<Resource> = alerting.map(|it| it.on.resource()).collect();
    for resource in at_line {
        let here = raised.iter().filter(|it| it.on.resource() == resource);
        let mut condition = Condition::new(Topic::Ceiling(resource), None);
        for it in here {
            if it.actions.contains(&Action::Alert) {
                // Ticks of the kernel's clock let a second of all CPU look like a little more.
                let share = if resource == Resource::Cpu { it.share.min(1.0) } else { it.share };
                condition.figure = Some(condition.figure.map_or(share, |most| most.max(share)));
            }
            condition.slowed.extend(it.actions.iter().filter(|it| **it != Action::Alert));
        }
        told.push(condition);
    }
    told
}

/// Monitors that do not see, one condition a resource.
pub fn blind(blind: &[Blind]) -> Vec<Condition> {
    let resources: BTreeSet<Resource> = blind.iter().map(|it| it.resource).collect();
    resources.into_iter().map(|it| Condition::new(Topic::Blind(it), None)).collect()
}

/// Watchers that stand still: `looked` is the age of the last look, `governed` that of the governor's last word, none when nobody
/// governs here.
pub fn stalled(looked: Duration, governed: Option<Duration>) -> Vec<Condition> {
    let mut told = Vec::new();
    if looked > LOOK_MAX {
        told.push(Condition::new(Topic::Stalled(Watcher::Looks), Some(looked.as_secs_f64())));
    }
    if let Some(age) = governed.filter(|age| *age > LOOK_MAX) {
        told.push(Condition::new(Topic::Stalled(Watcher::Governor), Some(age.as_secs_f64())));
    }
    told
}

/// What fills and will be at its line within [`FILLS_WITHIN`]: hours that are left.
pub fn fills_soon(resource: Resource, left: Option<TimeDelta>) -> Option<Condition> {
    let left = left.filter(|left| *left < FILLS_WITHIN)?;
    let hours = left.num_seconds() as f64 / 3_600.0;
    Some(Condition::new(Topic::FillsSoon(resource), Some(hours)))
}

/// Where plan and machine differ: what the machine has, as a share of what the plan promises.
pub fn plan_differs(disagreements: &[Disagreement]) -> Vec<Condition> {
    let condition = |it: &Disagreement| {
        Condition::new(Topic::PlanDiffers(it.resource), Some(it.detected / it.planned))
    };
    disagreements.iter().map(condition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::resources::trigger::Signal;

    #[test]
    fn a_resource_at_its_line_is_one_condition_with_all_that_gives_way() {
        let raised = |on, share, actions: &[Action]| Raised {
            on,
            share,
            raise: 0.5,
            actions: actions.iter().copied().collect(),
        };
        let told = ceilings(&[
            raised(Signal::LiveCpu, 0.9, &[Action::HoldRenders]),
            raised(Signal::Cpu, 1.02, &[Action::StopRenders]),
            raised(Signal::Cpu, 1.02, &[Action::Alert]),
            raised(Signal::Memory, 0.76, &[Action::HoldRenders]),
        ]);
        let [cpu] = &told[..] else { panic!("memory is short of its line: {told:?}") };
        assert_eq!((cpu.topic, cpu.figure), (Topic::Ceiling(Resource::Cpu), Some(1.0)));
        assert_eq!(cpu.slowed, BTreeSet::from([Action::HoldRenders, Action::StopRenders]));
    }

    #[test]
    fn a_watcher_that_stands_still_is_told_and_one_that_is_not_there_is_not() {
        let seconds = Duration::from_secs;
        assert_eq!(stalled(seconds(2), None), []);
        assert_eq!(stalled(seconds(2), Some(seconds(1))), []);
        let told: Vec<Topic> =
            stalled(seconds(11), Some(seconds(12))).into_iter().map(|it| it.topic).collect();
        assert_eq!(told, [Topic::Stalled(Watcher::Looks), Topic::Stalled(Watcher::Governor)]);
    }

    #[test]
    fn a_disk_that_lasts_the_night_wakes_nobody() {
        assert_eq!(fills_soon(Resource::Disk, None), None);
        assert_eq!(fills_soon(Resource::Disk, Some(TimeDelta::hours(7))), None);
        let told = fills_soon(Resource::Disk, Some(TimeDelta::hours(3))).expect("soon");
        assert_eq!(told.figure, Some(3.0));
    }
}
