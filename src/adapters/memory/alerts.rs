//! Incidents and the browsers that are woken, in memory; and a herald that remembers what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::adapters::memory::MemoryPeople;
use crate::domain::accounts::Role;
use crate::domain::alerts::Incident;
use crate::domain::ids::IncidentId;
use crate::ports::PortError;
use crate::ports::alerts::{DEVICES_MAX, Device, Devices, Herald, Incidents, Notice};
use crate::ports::people::People;

/// Incidents, and browsers that are woken. Clones share them.
#[derive(Clone)]
pub struct MemoryAlerts {
    rows: Arc<Mutex<Rows>>,
    people: MemoryPeople,
}

#[derive(Default)]
struct Rows {
    incidents: BTreeMap<IncidentId, Incident>,
    devices: BTreeMap<String, Device>,
    is_away: bool,
}

impl MemoryAlerts {
    /// With the people to whom browsers belong.
    pub fn new(people: MemoryPeople) -> Self {
        Self { rows: Arc::default(), people }
    }

    /// As if the database were down, or up again.
    pub fn set_away(&self, is_away: bool) {
        self.rows().is_away = is_away;
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<MutexGuard<'_, Rows>, PortError> {
        let rows = self.rows();
        if rows.is_away {
            return Err(PortError::passing("reach the incidents", std::io::Error::other("away")));
        }
        Ok(rows)
    }
}

#[async_trait]
impl Incidents for MemoryAlerts {
    async fn save(&self, incident: &Incident) -> Result<(), PortError> {
        self.open()?.incidents.insert(incident.id, incident.clone());
        Ok(())
    }

    async fn unfinished(&self) -> Result<Vec<Incident>, PortError> {
        let mut unfinished: Vec<Incident> = self.open()?.incidents.values().cloned().collect();
        unfinished.retain(|it| it.closed_at.is_none() || !it.told.ending);
        unfinished.sort_by_key(|it| (it.opened_at, it.id));
        Ok(unfinished)
    }

    async fn ended(&self, since: DateTime<Utc>, limit: u16) -> Result<Vec<Incident>, PortError> {
        let mut ended: Vec<Incident> = self.open()?.incidents.values().cloned().collect();
        ended.retain(|it| it.closed_at.is_some_and(|at| at >= since));
        ended.sort_by_key(|it| (std::cmp::Reverse(it.closed_at), it.id));
        ended.truncate(limit.into());
        Ok(ended)
    }
}

#[async_trait]
impl Devices for MemoryAlerts {
    async fn add(&self, device: &Device) -> Result<(), PortError> {
        let mut rows = self.open()?;
        rows.devices.insert(device.endpoint.clone(), device.clone());
        while rows.devices.len() as i64 > DEVICES_MAX {
            let oldest = rows.devices.values().min_by_key(|it| it.added_at);
            let Some(endpoint) = oldest.map(|it| it.endpoint.clone()) else { break };
            rows.devices.remove(&endpoint);
        }
        Ok(())
    }

    async fn remove(&self, endpoint: &str) -> Result<(), PortError> {
        self.open()?.devices.remove(endpoint);
        Ok(())
    }

    async fn of(&self, roles: &[Role]) -> Result<Vec<Device>, PortError> {
        let people = self.people.list().await?;
        let told: BTreeSet<_> =
            people.iter().filter(|it| roles.contains(&it.role)).map(|it| it.id).collect();
        let mut devices: Vec<Device> = self.open()?.devices.values().cloned().collect();
        devices.retain(|it| told.contains(&it.person));
        devices.sort_by(|a, b| (a.added_at, &a.endpoint).cmp(&(b.added_at, &b.endpoint)));
        Ok(devices)
    }
}

/// A herald that remembers what it was told, and refuses when it is asked to.
#[derive(Clone, Default)]
pub struct MemoryHerald(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    notices: Vec<Notice>,
    refuses: u32,
    refused: u32,
}

impl MemoryHerald {
    /// Refuses the next `times` notices, for a reason that may pass.
    pub fn refuse(&self, times: u32) {
        self.heard().refuses = times;
    }

    /// How many it has refused.
    pub fn refused(&self) -> u32 {
        self.heard().refused
    }

    /// What it was told, in order.
    pub fn notices(&self) -> Vec<Notice> {
        self.heard().notices.clone()
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Herald for MemoryHerald {
    fn way(&self) -> &'static str {
        "mail"
    }

    async fn tell(&self, notice: &Notice) -> Result<(), PortError> {
        let mut heard = self.heard();
        if heard.refuses > 0 {
            heard.refuses -= 1;
            heard.refused += 1;
            return Err(PortError::passing("tell of an alert", std::io::Error::other("refused")));
        }
        heard.notices.push(notice.clone());
        Ok(())
    }
}
