//! A machine that is as full as a test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::resources::history::Minute;
use crate::domain::resources::{Reading, Resource, Sample, Scope};
use crate::ports::PortError;
use crate::ports::host::{CpuClock, CpuTime, Meters, Tenant, Tenants};
use crate::ports::resource_minutes::{DatabaseMeter, ResourceMinutes};

/// The meters, the processor time and the tenants of a machine; all can be set. Clones share them.
#[derive(Clone)]
pub struct MemoryMachine {
    state: Arc<Mutex<State>>,
}

struct State {
    sample: Sample,
    cpu: Vec<CpuTime>,
    tenants: Vec<Tenant>,
    minutes: BTreeMap<(DateTime<Utc>, Resource), Minute>,
    is_away: bool,
}

impl Default for MemoryMachine {
    fn default() -> Self {
        let sample = Sample {
            at: DateTime::UNIX_EPOCH,
            readings: Vec::new(),
            blind: Vec::new(),
            uncapped: Vec::new(),
        };
        let (cpu, tenants, minutes) = (Vec::new(), Vec::new(), BTreeMap::new());
        let state = State { sample, cpu, tenants, minutes, is_away: false };
        Self { state: Arc::new(Mutex::new(state)) }
    }
}

impl MemoryMachine {
    /// What the next looks see.
    pub fn set_sample(&self, sample: Sample) {
        self.with(|state| state.sample = sample);
    }

    /// What the processor clock shows; without a row it cannot be read.
    pub fn set_cpu(&self, cpu: Vec<CpuTime>) {
        self.with(|state| state.cpu = cpu);
    }

    /// Who lives here.
    pub fn set_tenants(&self, tenants: Vec<Tenant>) {
        self.with(|state| state.tenants = tenants);
    }

    /// As if the database were down, or up again.
    pub fn set_away(&self, is_away: bool) {
        self.with(|state| state.is_away = is_away);
    }

    fn reach<T>(&self, what: impl FnOnce(&mut State) -> T) -> Result<T, PortError> {
        self.with(|state| {
            if state.is_away {
                return Err(PortError::passing("reach the minutes", std::io::Error::other("away")));
            }
            Ok(what(state))
        })
    }

    fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        what(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Meters for MemoryMachine {
    fn read(&self) -> Sample {
        self.with(|state| state.sample.clone())
    }
}

impl CpuClock for MemoryMachine {
    fn cpu(&self) -> Result<Vec<CpuTime>, PortError> {
        let cpu = self.with(|state| state.cpu.clone());
        if cpu.is_empty() { Err(PortError::plain("read the processor time")) } else { Ok(cpu) }
    }
}

impl Tenants for MemoryMachine {
    fn list(&self) -> Result<Vec<Tenant>, PortError> {
        Ok(self.with(|state| state.tenants.clone()))
    }
}

#[async_trait]
impl ResourceMinutes for MemoryMachine {
    async fn keep(&self, minutes: &[(Resource, Minute)]) -> Result<(), PortError> {
        let kept = |it: &Minute| Minute::kept(it.at, it.mean, it.most);
        let rows = minutes.iter().map(|(resource, it)| ((it.at, *resource), kept(it)));
        self.reach(|state| state.minutes.extend(rows))
    }

    async fn since(&self, since: DateTime<Utc>) -> Result<Vec<(Resource, Minute)>, PortError> {
        self.reach(|state| {
            let since = state.minutes.iter().filter(|((at, _), _)| *at >= since);
            since.map(|((_, resource), minute)| (*resource, *minute)).collect()
        })
    }

    async fn forget(&self, before: DateTime<Utc>) -> Result<(), PortError> {
        self.reach(|state| state.minutes.retain(|(at, _), _| *at >= before))
    }
}

#[async_trait]
impl DatabaseMeter for MemoryMachine {
    async fn connections(&self) -> Result<Reading, PortError> {
        let (resource, scope) = (Resource::Connections, Scope::Service);
        self.reach(|_| Reading { resource, scope, used: 1.0, capacity: 100.0 })
    }
}
