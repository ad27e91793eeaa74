//! The machine this process runs on, as far as a person who keeps it going wants to know.

use std::time::Duration;

use serde::Serialize;

use crate::domain::resources::{Sample, Scope};
use crate::ports::PortError;

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ProcessMemory {
    /// Resident pages of all kinds (`VmRSS`).
    pub resident: u64,
    /// Resident pages that belong to no file (`RssAnon`): what the process itself asked for.
    pub anonymous: u64,
}

/// The host.
pub trait Host: Send + Sync {
    /// What this process holds in memory now.
    fn memory(&self) -> Result<ProcessMemory, PortError>;
}

/// Reads how full the machine is, in the eyes of every scope it knows.
pub trait Meters: Send + Sync {
    /// One look at everything; rates are taken since the look before. What could not be read is among the blind.
    fn read(&self) -> Sample;
}

/// CPU time used in a scope so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuTime {
    pub scope: Scope,
    /// All but idle and waiting for a disk; what other guests of the machine took is counted (steal).
    pub busy: Duration,
    /// Cores of the scope; a quota of a core and a half is 1.5.
    pub cores: f64,
}

/// What the governor of the renders looks at ten times a second.
pub trait CpuClock: Send + Sync {
    /// One row a scope, the host's first. An error when not even the host can be read.
    fn cpu(&self) -> Result<Vec<CpuTime>, PortError>;
}

/// What a process of this house does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantRole {
    /// The pages, and all that `spark serve` does beside them.
    Serve,
    Record,
    Listen,
    Work,
    /// The private PostgreSQL, all its processes together.
    Database,
    Render,
    Demux,
    /// Another command of spark on this data folder, such as an import.
    Command,
}

impl TenantRole {
    /// The word on the command line and in measures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Record => "record",
            Self::Listen => "listen",
            Self::Work => "work",
            Self::Database => "database",
            Self::Render => "render",
            Self::Demux => "demux",
            Self::Command => "command",
        }
    }
}

/// A process of this data folder and what it takes; the database's processes are one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tenant {
    pub role: TenantRole,
    pub pid: u32,
    /// Cores it kept busy since the look before; none when it is seen for the first time.
    pub cores: Option<f64>,
    /// Of several processes: all that is their own, and what they share once.
    pub memory: ProcessMemory,
    pub threads: u64,
}

/// Who lives on this machine and works on our data folder.
pub trait Tenants: Send + Sync {
    /// By role, then by process id. The process that asks is among them when it has a role of its own.
    fn list(&self) -> Result<Vec<Tenant>, PortError>;
}
