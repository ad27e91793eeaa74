//! The book of incidents: opens one when a condition stands long enough, and closes it when it has been away for a while.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::domain::alerts::{Condition, Incident, Taken, Told, Topic};
use crate::domain::ids::IncidentId;

/// What lasts now, by topic: never more than one a topic.
#[derive(Debug, Clone, Default)]
pub struct Book {
    open: BTreeMap<Topic, Entry>,
    /// Since when conditions that nobody was told of yet have been reported.
    standing: BTreeMap<Topic, DateTime<Utc>>,
}

#[derive(Debug, Clone)]
struct Entry {
    incident: Incident,
    seen_at: DateTime<Utc>,
}

/// What changed in the book.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Opened(Incident),
    /// It became worse, or slows more.
    Worse(Incident),
    Closed(Incident),
}

impl Change {
    /// The incident as it stands after the change.
    pub const fn incident(&self) -> &Incident {
        match self {
            Self::Opened(it) | Self::Worse(it) | Self::Closed(it) => it,
        }
    }
}

impl Book {
    /// Takes up what lasted when this process began; what is no longer reported closes after its calm.
    pub fn resume(&mut self, now: DateTime<Utc>, incidents: Vec<Incident>) {
        for incident in incidents.into_iter().filter(|it| it.closed_at.is_none()) {
            self.open.insert(incident.topic, Entry { incident, seen_at: now });
        }
    }

    /// Takes in everything that is wrong at `now`. `new_id` names incidents that begin.
    pub fn hear(
        &mut self,
        now: DateTime<Utc>,
        conditions: &[Condition],
        mut new_id: impl FnMut() -> IncidentId,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        self.standing.retain(|topic, _| conditions.iter().any(|it| it.topic == *topic));
        for condition in conditions {
            let topic = condition.topic;
            if let Some(entry) = self.open.get_mut(&topic) {
                entry.seen_at = now;
                if entry.incident.worsen(condition) {
                    changes.push(Change::Worse(entry.incident.clone()));
                }
                continue;
            }
            let since = *self.standing.entry(topic).or_insert(now);
            if now - since < topic.patience() {
                continue;
            }
            self.standing.remove(&topic);
            let incident = Incident {
                id: new_id(),
                topic,
                opened_at: since,
                closed_at: None,
                worst: condition.figure,
                slowed: condition.slowed.clone(),
                taken: None,
                told: Told::default(),
            };
            changes.push(Change::Opened(incident.clone()));
            self.open.insert(topic, Entry { incident, seen_at: now });
        }
        let over: Vec<Topic> = self
            .open
            .iter()
            .filter(|(topic, entry)| {
                now - entry.seen_at >= topic.calm()
                    && conditions.iter().all(|it| it.topic != **topic)
            })
            .map(|(topic, _)| *topic)
            .collect();
        for topic in over {
            if let Some(Entry { mut incident, seen_at }) = self.open.remove(&topic) {
                incident.closed_at = Some(seen_at);
                changes.push(Change::Closed(incident));
            }
        }
        changes
    }

    /// Somebody takes care of an incident: the first who says so. None when it does not last, or is taken already.
    pub fn take(&mut self, id: IncidentId, taken: Taken) -> Option<Incident> {
        let entry = self.open.values_mut().find(|entry| entry.incident.id == id)?;
        if entry.incident.taken.is_some() {
            return None;
        }
        entry.incident.taken = Some(taken);
        Some(entry.incident.clone())
    }

    /// Notes that people were told of the opening. None when it does not last any more.
    pub fn told_opening(&mut self, id: IncidentId) -> Option<Incident> {
        let entry = self.open.values_mut().find(|entry| entry.incident.id == id)?;
        entry.incident.told.opening = true;
        Some(entry.incident.clone())
    }

    /// What lasts now: what waits for a person first, urgent before lesser, then the oldest.
    pub fn open(&self) -> Vec<Incident> {
        let mut open: Vec<Incident> = self.open.values().map(|it| it.incident.clone()).collect();
        open.sort_by_key(|it| (!it.is_waiting(), it.topic.weight() as u8, it.opened_at));
        open
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::domain::alerts::Watcher;
    use crate::domain::ids::PersonId;
    use crate::domain::resources::Resource;
    use crate::domain::resources::trigger::Action;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn id() -> IncidentId {
        IncidentId::from_uuid(Uuid::new_v4())
    }

    const CPU: Topic = Topic::Ceiling(Resource::Cpu);

    fn cpu(share: f64) -> Condition {
        Condition { topic: CPU, figure: Some(share), slowed: BTreeSet::from([Action::StopRenders]) }
    }

    /// What is told of a run of seconds in each of which the topic is reported or not.
    fn told(topic: Topic, reported: impl Fn(i64) -> bool, seconds: i64) -> Vec<(char, i64)> {
        let mut book = Book::default();
        let mut told = Vec::new();
        for second in 0..seconds {
            let conditions: Vec<Condition> =
                reported(second).then(|| Condition::new(topic, None)).into_iter().collect();
            for change in book.hear(at(second), &conditions, id) {
                match change {
                    Change::Opened(_) => told.push(('o', second)),
                    Change::Closed(_) => told.push(('c', second)),
                    Change::Worse(_) => {}
                }
            }
        }
        told
    }

    #[test]
    fn one_alert_when_it_starts_and_one_when_it_ends() {
        assert_eq!(told(CPU, |second| second < 30, 300), [('o', 0), ('c', 29 + 90)]);
    }

    #[test]
    fn what_comes_back_soon_is_the_same_incident() {
        let flaps = |second: i64| second < 600 && second % 60 < 8;
        assert_eq!(told(CPU, flaps, 900), [('o', 0), ('c', 547 + 90)]);
    }

    #[test]
    fn a_blink_of_a_monitor_is_no_alert() {
        let blind = Topic::Blind(Resource::Memory);
        assert_eq!(told(blind, |second| second % 10 < 9, 600), []);
        assert_eq!(told(blind, |second| second < 20, 300), [('o', 10), ('c', 19 + 90)]);
    }

    #[test]
    fn an_incident_keeps_the_worst_and_all_that_gave_way() {
        let mut book = Book::default();
        let opened = book.hear(at(0), &[cpu(0.82)], id);
        assert!(matches!(&opened[..], [Change::Opened(it)] if it.worst == Some(0.82)));
        assert!(
            matches!(&book.hear(at(1), &[cpu(0.97)], id)[..], [Change::Worse(it)] if it.worst == Some(0.97))
        );
        assert_eq!(book.hear(at(2), &[cpu(0.85)], id), [], "better is no news");
        let mut more = cpu(0.85);
        more.slowed.insert(Action::MergeFanOut);
        assert_eq!(book.hear(at(3), &[more], id).len(), 1);
        let closed = book.hear(at(200), &[], id);
        let [Change::Closed(it)] = &closed[..] else { panic!("{closed:?}") };
        assert_eq!(it.lasted(at(200)), TimeDelta::seconds(3), "the calm is no part of it");
        assert_eq!((it.worst, it.slowed.len()), (Some(0.97), 2));
        assert!(book.open().is_empty());
    }

    #[test]
    fn the_first_who_takes_it_has_it() {
        let mut book = Book::default();
        let opened = book.hear(at(0), &[cpu(0.9)], id);
        let incident = opened[0].incident().id;
        let taken = |n| Taken { by: PersonId::from_uuid(Uuid::from_u128(n)), at: at(5) };
        assert_eq!(book.take(incident, taken(1)).expect("it lasts").taken, Some(taken(1)));
        assert_eq!(book.take(incident, taken(2)), None);
        assert_eq!(book.take(id(), taken(1)), None, "nobody knows it");
        assert!(!book.open()[0].is_waiting());
    }

    #[test]
    fn a_restart_goes_on_with_what_lasted() {
        let mut book = Book::default();
        let opened = book.hear(at(0), &[cpu(0.9)], id)[0].incident().clone();
        let mut again = Book::default();
        again.resume(at(60), vec![opened.clone()]);
        assert_eq!(again.hear(at(61), &[cpu(0.9)], id), [], "no second alert");
        let closed = again.hear(at(61 + 90), &[], id);
        assert_eq!(closed[0].incident().id, opened.id);
        assert_eq!(closed[0].incident().closed_at, Some(at(61)));
    }

    #[test]
    fn what_waits_for_a_person_comes_first() {
        let mut book = Book::default();
        let conditions = [
            Condition::new(Topic::Latency, None),
            Condition::new(Topic::Stalled(Watcher::Looks), None),
        ];
        book.hear(at(0), &conditions, id);
        book.hear(at(60), &[&conditions[..], &[cpu(0.9)]].concat(), id);
        let stalled = book.open()[0].id;
        book.take(stalled, Taken { by: PersonId::from_uuid(Uuid::nil()), at: at(61) });
        let topics: Vec<Topic> = book.open().iter().map(|it| it.topic).collect();
        assert_eq!(topics, [CPU, Topic::Latency, Topic::Stalled(Watcher::Looks)]);
    }
}
