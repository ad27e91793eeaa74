//! A machine that is as full as a test says.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::DateTime;

use crate::domain::resources::Sample;
use crate::ports::PortError;
use crate::ports::host::{CpuClock, CpuTime, Meters, Tenant, Tenants};

/// The meters, the processor time and the tenants of a machine; all can be set. Clones share them.
#[derive(Clone)]
pub struct MemoryMachine {
    state: Arc<Mutex<State>>,
}

struct State {
    sample: Sample,
    cpu: Vec<CpuTime>,
    tenants: Vec<Tenant>,
}

impl Default for MemoryMachine {
    fn default() -> Self {
        let sample = Sample {
            at: DateTime::UNIX_EPOCH,
            readings: Vec::new(),
            blind: Vec::new(),
            uncapped: Vec::new(),
        };
        let state = State { sample, cpu: Vec::new(), tenants: Vec::new() };
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
