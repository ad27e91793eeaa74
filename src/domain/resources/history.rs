//! How full the machine was, minute by minute for a week, and when a disk that fills will be at the line.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::domain::resources::{CEILING, Resource};

/// How long minutes are remembered.
pub const KEPT_FOR: TimeDelta = TimeDelta::days(7);
/// So many minutes.
const MINUTES_MAX: usize = 7 * 24 * 60;
/// A trend is taken over so many minutes at most, and of so many at least.
const TREND_MINUTES: usize = 60;
const TREND_MINUTES_MIN: usize = 10;
/// A slower rise, in shares an hour, is none.
const RISE_MIN: f64 = 1e-4;

/// A minute of one resource, in shares of its tightest scope.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Minute {
    pub at: DateTime<Utc>,
    pub mean: f64,
    pub most: f64,
    looks: u32,
    is_kept: bool,
}

impl Minute {
    /// One that was kept by an earlier process.
    pub const fn kept(at: DateTime<Utc>, mean: f64, most: f64) -> Self {
        Self { at, mean, most, looks: 1, is_kept: true }
    }
}

/// What was seen of all resources.
#[derive(Debug, Clone, Default)]
pub struct History(BTreeMap<Resource, VecDeque<Minute>>);

impl History {
    /// Notes a share. Looks come in the order of time; one that is older than the last is dropped.
    pub fn note(&mut self, at: DateTime<Utc>, resource: Resource, share: f64) {
        let Ok(minute) = at.duration_trunc(TimeDelta::minutes(1)) else { return };
        let minutes = self.0.entry(resource).or_default();
        match minutes.back_mut() {
            Some(last) if last.at == minute => {
                last.looks += 1;
                last.mean += (share - last.mean) / f64::from(last.looks);
                last.most = last.most.max(share);
            }
            Some(last) if last.at > minute => {}
            _ => {
                let (mean, most) = (share, share);
                minutes.push_back(Minute { at: minute, mean, most, looks: 1, is_kept: false });
                if minutes.len() > MINUTES_MAX {
                    minutes.pop_front();
                }
            }
        }
    }

    /// Takes up what an earlier process kept: minutes before those that are known here.
    pub fn restore(&mut self, past: Vec<(Resource, Minute)>) {
        let mut by_resource: BTreeMap<Resource, Vec<Minute>> = BTreeMap::new();
        for (resource, minute) in past {
            by_resource.entry(resource).or_default().push(minute);
        }
        for (resource, mut past) in by_resource {
            let minutes = self.0.entry(resource).or_default();
            let first = minutes.front().map(|it| it.at);
            past.retain(|it| first.is_none_or(|first| it.at < first));
            past.sort_by_key(|it| std::cmp::Reverse(it.at));
            for minute in past {
                minutes.push_front(minute);
            }
            let beyond = minutes.len().saturating_sub(MINUTES_MAX);
            minutes.drain(..beyond);
        }
    }

    /// Minutes that are over and that nobody kept yet.
    pub fn unkept(&self) -> Vec<(Resource, Minute)> {
        let mut unkept = Vec::new();
        for (resource, minutes) in &self.0 {
            let over = minutes.iter().rev().skip(1).take_while(|it| !it.is_kept);
            unkept.extend(over.map(|it| (*resource, *it)));
        }
        unkept
    }

    /// Notes that these are kept.
    pub fn keep(&mut self, kept: &[(Resource, Minute)]) {
        for (resource, minute) in kept {
            let minutes = self.0.get_mut(resource).into_iter().flatten();
            if let Some(it) = minutes.rev().find(|it| it.at == minute.at) {
                it.is_kept = true;
            }
        }
    }

    /// The highest share in each of `columns` equal parts of the time up to `now`; none where nothing was seen.
    pub fn columns(
        &self,
        resource: Resource,
        now: DateTime<Utc>,
        lasts: TimeDelta,
        columns: usize,
    ) -> Vec<Option<f64>> {
        let (mut told, from) = (vec![None::<f64>; columns], now - lasts);
        for minute in self.0.get(&resource).into_iter().flatten().filter(|it| it.at > from) {
            let share = (minute.at - from).num_seconds() as f64 / lasts.num_seconds().max(1) as f64;
            let column = ((share * columns as f64) as usize).min(columns.saturating_sub(1));
            let most = &mut told[column];
            *most = Some(most.map_or(minute.most, |most| most.max(minute.most)));
        }
        told
    }

    /// How long until a resource is at the 80 % line, when it goes on filling as it did over the last hour: a line through the
    /// minutes by least squares. None when it does not fill, or is there already.
    pub fn time_to_line(&self, resource: Resource) -> Option<TimeDelta> {
        let minutes = self.0.get(&resource)?;
        let recent: Vec<(f64, f64)> = minutes
            .iter()
            .rev()
            .take(TREND_MINUTES)
            .map(|minute| (minute.at.timestamp() as f64 / 3_600.0, minute.mean))
            .collect();
        if recent.len() < TREND_MINUTES_MIN {
            return None;
        }
        let count = recent.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| recent.iter().map(of).sum::<f64>() / count;
        let (hour, share) = (mean(|it| it.0), mean(|it| it.1));
        let along: f64 = recent.iter().map(|it| (it.0 - hour).powi(2)).sum();
        let both: f64 = recent.iter().map(|it| (it.0 - hour) * (it.1 - share)).sum();
        let rise = both / along;
        let left = CEILING - recent.first()?.1;
        if !rise.is_finite() || rise < RISE_MIN || left <= 0.0 {
            return None;
        }
        Some(TimeDelta::seconds((left / rise * 3_600.0).round() as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn a_minute_holds_the_mean_and_the_most_of_its_looks() {
        let mut history = History::default();
        for (second, share) in [(0, 0.2), (30, 0.6), (59, 0.1), (60, 0.9), (10, 1.0)] {
            history.note(at(second), Resource::Cpu, share);
        }
        let minutes = &history.0[&Resource::Cpu];
        assert_eq!(minutes.len(), 2, "a look that comes late is dropped");
        assert!((minutes[0].mean - 0.3).abs() < 1e-9 && (minutes[0].most - 0.6).abs() < 1e-9);
    }

    #[test]
    fn a_gap_is_a_gap_and_a_week_is_all_that_is_kept() {
        let mut history = History::default();
        for minute in (0..60).filter(|minute| !(20..30).contains(minute)) {
            history.note(at(minute * 60), Resource::Disk, 0.5);
        }
        let told = history.columns(Resource::Disk, at(3_599), TimeDelta::hours(1), 6);
        assert_eq!(told, [Some(0.5), Some(0.5), None, Some(0.5), Some(0.5), Some(0.5)]);
        assert_eq!(history.columns(Resource::Cpu, at(0), TimeDelta::hours(1), 2), [None, None]);
        for minute in 0..MINUTES_MAX as i64 + 100 {
            history.note(at(10_000 + minute * 60), Resource::Cpu, 0.1);
        }
        assert_eq!(history.0[&Resource::Cpu].len(), MINUTES_MAX);
    }

    #[test]
    fn what_an_earlier_process_kept_comes_before_what_is_known() {
        let mut first = History::default();
        for second in [0, 60, 120] {
            first.note(at(second), Resource::Cpu, second as f64 / 1_000.0);
        }
        let unkept = first.unkept();
        assert_eq!(unkept.len(), 2, "the minute under way is not over");
        first.keep(&unkept);
        assert_eq!(first.unkept(), []);
        let mut second = History::default();
        second.note(at(120), Resource::Cpu, 0.5);
        second.note(at(180), Resource::Cpu, 0.5);
        let kept = |seconds| (Resource::Cpu, Minute::kept(at(seconds), 0.1, 0.2));
        second.restore(vec![kept(0), kept(60), kept(120)]);
        let minutes: Vec<i64> =
            second.0[&Resource::Cpu].iter().map(|it| it.at.timestamp()).collect();
        assert_eq!(minutes, [0, 60, 120, 180]);
        assert_eq!(second.unkept().len(), 1, "what was kept is not kept again");
    }

    #[test]
    fn a_disk_that_fills_says_when_it_will_be_at_the_line() {
        let mut history = History::default();
        for minute in 0..60 {
            history.note(at(minute * 60), Resource::Disk, 0.5 + 0.06 * minute as f64 / 60.0);
            history.note(at(minute * 60), Resource::Inodes, 0.5 - 0.001 * minute as f64);
        }
        let hours =
            history.time_to_line(Resource::Disk).expect("it fills").num_minutes() as f64 / 60.0;
        assert!((hours - (0.8 - 0.559) / 0.06).abs() < 0.05, "{hours}");
        assert_eq!(history.time_to_line(Resource::Inodes), None, "it empties");
        assert_eq!(history.time_to_line(Resource::Memory), None, "nothing is known");
    }
}
