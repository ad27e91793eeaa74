//! Alerts: what is wrong becomes an incident, people are told once when it begins and once when it is over.

pub mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::alerts::book::{Book, Change};
use crate::domain::alerts::quiet::QuietHours;
use crate::domain::alerts::service::Requests;
use crate::domain::alerts::{Condition, Incident, Taken, Turn, Weight};
use crate::domain::ids::{IncidentId, PersonId};
use crate::ports::PortError;
use crate::ports::alerts::{Device, Devices, ENDPOINT_BYTES_MAX, Herald, Incidents, Notice};
use crate::ports::clock::Clock;

/// A herald that does not answer is given up for this time after so long.
const TELL_MAX: Duration = Duration::from_secs(30);
/// Pauses between tries of one notice: from, doubled each time, to.
const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_mins(2);
/// Tries of one notice: about an hour.
const TRIES_MAX: u32 = 35;
/// Notices that wait to be told at most; beyond, the oldest is told on the page alone.
const WAITING_MAX: usize = 64;
/// Incidents that wait for the database at most; beyond, the oldest that ended is let go.
const UNSAVED_MAX: usize = 256;
/// How far back the page tells, and how many.
pub const PAST: TimeDelta = TimeDelta::days(30);
pub const PAST_MAX: u16 = 100;

/// What alerts are made of.
pub struct AlertParts {
    pub incidents: Arc<dyn Incidents>,
    pub devices: Arc<dyn Devices>,
    pub heralds: Vec<Arc<dyn Herald>>,
    pub clock: Arc<dyn Clock>,
    /// Hours in which lesser alerts wait.
    pub quiet: Option<QuietHours>,
    /// Where alerts are read, for whoever is not on a page.
    pub link: Option<String>,
    /// The key by which browsers know who wakes them; none when nobody is woken.
    pub push_key: Option<String>,
}

/// The alerts of the house. Cheap to clone.
#[derive(Clone)]
pub struct Alerts(Arc<Inner>);

struct Inner {
    parts: AlertParts,
    since: Instant,
    book: Mutex<Book>,
    requests: Mutex<Requests>,
    /// What each source says is wrong now.
    reported: Mutex<BTreeMap<&'static str, Vec<Condition>>>,
    unsaved: Mutex<BTreeMap<IncidentId, Incident>>,
    waiting: Mutex<BTreeMap<(IncidentId, Turn), Waiting>>,
    /// Why the last notice did not go a way; forgotten when one does.
    faults: Mutex<BTreeMap<&'static str, String>>,
}

/// A notice that people have yet to get.
struct Waiting {
    incident: Incident,
    /// It is on its way.
    is_going: bool,
}

/// Why a browser cannot be woken.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error(
        "this is no address of a browser's push service: allow notifications in the browser, then try again"
    )]
    Endpoint,
    #[error(transparent)]
    Port(#[from] PortError),
}

/// A way to people, and whether it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    pub name: &'static str,
    /// Why the last notice did not go this way.
    pub fault: Option<String>,
}

impl Alerts {
    pub fn new(parts: AlertParts) -> Self {
        Self(Arc::new(Inner {
            parts,
            since: Instant::now(),
            book: Mutex::default(),
            requests: Mutex::default(),
            reported: Mutex::default(),
            unsaved: Mutex::default(),
            waiting: Mutex::default(),
            faults: Mutex::default(),
        }))
    }

    /// Takes up what an earlier process left: what lasts, and what it had not told to the end.
    pub async fn resume(&self) -> Result<(), PortError> {
        let unfinished = self.0.parts.incidents.unfinished().await?;
        for incident in &unfinished {
            if !incident.told.opening && incident.closed_at.is_none() {
                self.queue(incident, Turn::Opening);
            } else if incident.told.opening && incident.closed_at.is_some() {
                self.queue(incident, Turn::Ending);
            } else if incident.closed_at.is_some() {
                // Over before anybody heard of it.
                let mut incident = incident.clone();
                (incident.told.opening, incident.told.ending) = (true, true);
                self.unsaved(incident);
            }
        }
        locked(&self.0.book).resume(self.0.parts.clock.now(), unfinished);
        Ok(())
    }

    /// Takes in all that is wrong in the eyes of one source, in place of what it said before.
    pub fn report(&self, source: &'static str, wrong: Vec<Condition>) {
        locked(&self.0.reported).insert(source, wrong);
    }

    /// Notes that a request was answered; `took` is none where the time is the client's or the work's own.
    pub fn answered(&self, is_fault: bool, took: Option<Duration>) {
        locked(&self.0.requests).note(self.0.since.elapsed().as_secs(), is_fault, took);
    }

    /// Weighs all that was reported, keeps what changed and sends word. Once a second; what the database or a herald refuses is
    /// tried again, and nothing here waits for a herald.
    pub async fn turn(&self) {
        let now = self.0.parts.clock.now();
        let mut wrong = locked(&self.0.requests).judge(self.0.since.elapsed().as_secs());
        wrong.extend(locked(&self.0.reported).values().flatten().cloned());
        let new_id = || IncidentId::from_uuid(self.0.parts.clock.new_id());
        let changes = locked(&self.0.book).hear(now, &wrong, new_id);
        for change in changes {
            self.take_in(&change);
        }
        self.send_word(now);
        self.keep().await;
    }

    fn take_in(&self, change: &Change) {
        let incident = change.incident().clone();
        match change {
            Change::Opened(_) => {
                tracing::warn!(topic = ?incident.topic, worst = incident.worst, "an alert begins");
                self.queue(&incident, Turn::Opening);
                self.unsaved(incident);
            }
            Change::Worse(_) => self.unsaved(incident),
            Change::Closed(_) => {
                let lasted = incident.lasted(incident.opened_at).num_seconds();
                tracing::info!(topic = ?incident.topic, lasted, "an alert is over");
                let mut waiting = locked(&self.0.waiting);
                let opening = waiting.get(&(incident.id, Turn::Opening));
                if opening.is_some_and(|it| !it.is_going) {
                    // Nobody heard of it: nobody needs to hear that it is over.
                    waiting.remove(&(incident.id, Turn::Opening));
                    drop(waiting);
                    let mut incident = incident;
                    (incident.told.opening, incident.told.ending) = (true, true);
                    self.unsaved(incident);
                } else {
                    drop(waiting);
                    self.queue(&incident, Turn::Ending);
                    self.unsaved(incident);
                }
            }
        }
    }

    fn queue(&self, incident: &Incident, turn: Turn) {
        let mut waiting = locked(&self.0.waiting);
        let entry = Waiting { incident: incident.clone(), is_going: false };
        waiting.insert((incident.id, turn), entry);
        while waiting.len() > WAITING_MAX {
            let resting = waiting.iter().filter(|(_, it)| !it.is_going);
            let oldest = resting.min_by_key(|(_, it)| it.incident.opened_at).map(|(key, _)| *key);
            let Some(key) = oldest else { break };
            tracing::warn!(incident = %key.0, "too many alerts wait: this one is told on the page alone");
            waiting.remove(&key);
        }
    }

    fn unsaved(&self, incident: Incident) {
        let mut unsaved = locked(&self.0.unsaved);
        unsaved.insert(incident.id, incident);
        while unsaved.len() > UNSAVED_MAX {
            let oldest = unsaved.values().min_by_key(|it| (it.closed_at.is_none(), it.opened_at));
            let Some(id) = oldest.map(|it| it.id) else { break };
            unsaved.remove(&id);
        }
    }

    async fn keep(&self) {
        let unsaved: Vec<Incident> = locked(&self.0.unsaved).values().cloned().collect();
        for incident in unsaved {
            if let Err(error) = self.0.parts.incidents.save(&incident).await {
                // It stays in memory until the database is back.
                tracing::debug!(error = %error.chain(), "an incident could not be kept yet");
                return;
            }
            let mut unsaved = locked(&self.0.unsaved);
            if unsaved.get(&incident.id) == Some(&incident) {
                unsaved.remove(&incident.id);
            }
        }
    }

    fn send_word(&self, now: DateTime<Utc>) {
        let is_quiet = self.0.parts.quiet.is_some_and(|quiet| quiet.hold(now));
        let mut waiting = locked(&self.0.waiting);
        let openings: BTreeSet<IncidentId> =
            waiting.keys().filter(|(_, turn)| *turn == Turn::Opening).map(|(id, _)| *id).collect();
        for ((id, turn), it) in waiting.iter_mut().filter(|(_, it)| !it.is_going) {
            let waits_for_morning = is_quiet && it.incident.topic.weight() == Weight::Lesser;
            // The end never overtakes the beginning.
            if waits_for_morning || (*turn == Turn::Ending && openings.contains(id)) {
                continue;
            }
            it.is_going = true;
            let (alerts, turn, incident) = (self.clone(), *turn, it.incident.clone());
            tokio::spawn(async move { alerts.tell(incident, turn).await });
        }
    }

    async fn tell(&self, incident: Incident, turn: Turn) {
        let notice = self.notice(&incident, turn);
        let ways = self.0.parts.heralds.iter().map(|herald| self.tell_by(&**herald, &notice));
        futures::future::join_all(ways).await;
        locked(&self.0.waiting).remove(&(incident.id, turn));
        let told = match turn {
            Turn::Opening => locked(&self.0.book).told_opening(incident.id).or_else(|| {
                // It closed meanwhile: its end waits for us.
                let mut waiting = locked(&self.0.waiting);
                let ending = waiting.get_mut(&(incident.id, Turn::Ending))?;
                ending.incident.told.opening = true;
                Some(ending.incident.clone())
            }),
            Turn::Ending => {
                let mut incident = incident;
                (incident.told.opening, incident.told.ending) = (true, true);
                Some(incident)
            }
        };
        if let Some(incident) = told {
            self.unsaved(incident);
        }
    }

    /// Tries a way until it goes, is refused for good, or the tries are used up.
    async fn tell_by(&self, herald: &dyn Herald, notice: &Notice) {
        let mut pause = PAUSE_MIN;
        for attempt in 1..=TRIES_MAX {
            let told = match tokio::time::timeout(TELL_MAX, herald.tell(notice)).await {
                Ok(told) => told,
                Err(late) => Err(PortError::passing("tell of an alert in time", late)),
            };
            let Err(error) = told else {
                locked(&self.0.faults).remove(herald.way());
                return;
            };
            locked(&self.0.faults).insert(herald.way(), error.chain());
            tracing::warn!(way = herald.way(), attempt, error = %error.chain(), "an alert could not be told");
            if !error.retry {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn notice(&self, incident: &Incident, turn: Turn) -> Notice {
        let (title, text) = words::notice(incident, turn);
        Notice {
            about: incident.id,
            turn,
            is_urgent: incident.topic.weight() == Weight::Urgent,
            title,
            text,
            link: self.0.parts.link.clone(),
            at: match turn {
                Turn::Opening => incident.opened_at,
                Turn::Ending => incident.closed_at.unwrap_or(incident.opened_at),
            },
        }
    }

    /// Sends a notice every way once, to see whether it arrives; the ways with what went wrong.
    pub async fn rehearse(&self) -> Vec<Way> {
        let notice = Notice {
            about: IncidentId::from_uuid(self.0.parts.clock.new_id()),
            turn: Turn::Ending,
            is_urgent: false,
            title: "Essai des alertes de SPARK".to_owned(),
            text: "Si vous lisez ceci, les alertes arrivent.".to_owned(),
            link: self.0.parts.link.clone(),
            at: self.0.parts.clock.now(),
        };
        let tellings = self.0.parts.heralds.iter().map(async |herald| {
            let told = tokio::time::timeout(TELL_MAX, herald.tell(&notice)).await;
            let fault = match told {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.chain()),
                Err(late) => Some(late.to_string()),
            };
            let mut faults = locked(&self.0.faults);
            match &fault {
                Some(fault) => faults.insert(herald.way(), fault.clone()),
                None => faults.remove(herald.way()),
            };
            Way { name: herald.way(), fault }
        });
        futures::future::join_all(tellings).await
    }

    /// The ways to people, and whether they work.
    pub fn ways(&self) -> Vec<Way> {
        let faults = locked(&self.0.faults);
        let way = |herald: &Arc<dyn Herald>| Way {
            name: herald.way(),
            fault: faults.get(herald.way()).cloned(),
        };
        self.0.parts.heralds.iter().map(way).collect()
    }

    /// The hours in which lesser alerts wait.
    pub fn quiet(&self) -> Option<QuietHours> {
        self.0.parts.quiet
    }

    /// The key by which browsers know who wakes them.
    pub fn push_key(&self) -> Option<&str> {
        self.0.parts.push_key.as_deref()
    }

    /// What lasts now, what waits for a person first.
    pub fn open(&self) -> Vec<Incident> {
        locked(&self.0.book).open()
    }

    /// What ended within [`PAST`], the newest first, [`PAST_MAX`] at most.
    pub async fn past(&self) -> Result<Vec<Incident>, PortError> {
        self.0.parts.incidents.ended(self.0.parts.clock.now() - PAST, PAST_MAX).await
    }

    /// Somebody takes care of an incident. False when it is over, or somebody was first.
    pub async fn take(&self, id: IncidentId, by: PersonId) -> bool {
        let taken = Taken { by, at: self.0.parts.clock.now() };
        let Some(incident) = locked(&self.0.book).take(id, taken) else { return false };
        self.unsaved(incident);
        self.keep().await;
        true
    }

    /// Wakes this person's browser from now on.
    pub async fn add_device(&self, by: PersonId, endpoint: &str) -> Result<(), DeviceError> {
        if !endpoint.contains("://") || endpoint.len() > ENDPOINT_BYTES_MAX {
            return Err(DeviceError::Endpoint);
        }
        let added_at = self.0.parts.clock.now();
        let device = Device { endpoint: endpoint.to_owned(), person: by, added_at };
        Ok(self.0.parts.devices.add(&device).await?)
    }

    /// Wakes this browser no more.
    pub async fn remove_device(&self, endpoint: &str) -> Result<(), PortError> {
        self.0.parts.devices.remove(endpoint).await
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
