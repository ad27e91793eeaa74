//! The 80 % rule: what the machine has, how much of it is in use, and in whose eyes.

pub mod admission;
pub mod governor;
pub mod history;
pub mod plan;
pub mod trigger;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// No resource is used beyond this share of what there is.
pub const CEILING: f64 = 0.80;

/// Something a machine can run out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Seconds of a core in a second.
    Cpu,
    /// Bytes that are no cache.
    Memory,
    /// Bytes on the disk of the data folder.
    Disk,
    /// Files on the disk of the data folder.
    Inodes,
    /// Bytes a second, read and written.
    DiskRate,
    /// Bits a second, sent or received, whichever is more.
    NetworkRate,
    /// Bytes sent since the month began.
    Transfer,
    /// Processes, their threads counted.
    Processes,
    /// Open files and sockets of this process.
    Files,
    /// Connections to the database.
    Connections,
    /// Seconds between a request's arrival and its handler's start.
    QueueWait,
}

impl Resource {
    pub const ALL: [Self; 11] = [
        Self::Cpu,
        Self::Memory,
        Self::Disk,
        Self::Inodes,
        Self::DiskRate,
        Self::NetworkRate,
        Self::Transfer,
        Self::Processes,
        Self::Files,
        Self::Connections,
        Self::QueueWait,
    ];

    /// The word in settings, measures and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Inodes => "inodes",
            Self::DiskRate => "disk_rate",
            Self::NetworkRate => "network_rate",
            Self::Transfer => "transfer",
            Self::Processes => "processes",
            Self::Files => "files",
            Self::Connections => "connections",
            Self::QueueWait => "queue_wait",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.as_str() == word)
    }
}

/// In whose eyes a resource is counted; the tightest rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The whole machine.
    Host,
    /// The control group we were put into, and those around it.
    Cgroup,
    /// What the hosting plan promises.
    Plan,
    /// This process alone.
    Process,
    /// A service beside us, such as the database.
    Service,
}

impl Scope {
    /// The word in settings, measures and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Cgroup => "cgroup",
            Self::Plan => "plan",
            Self::Process => "process",
            Self::Service => "service",
        }
    }
}

/// How dear work is to the house: what gives way first, and what never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Renders, imports, exports, back-fills: first to go.
    Sheddable,
    /// Overlays, dashboards, pages that wait for another day.
    SheddablePlus,
    /// The live console, marks, logins, webhooks, interactive cuts. A cut is never stopped by the governor of the renders.
    Critical,
    /// The recorder and the listener: never touched.
    CriticalPlus,
}

/// How much of something is in use, in the resource's own unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub resource: Resource,
    pub scope: Scope,
    pub used: f64,
    /// More than nothing.
    pub capacity: f64,
}

impl Reading {
    /// The share in use; above 1 when more is used than there should be.
    pub fn ratio(&self) -> f64 {
        self.used / self.capacity
    }
}

/// What was measured of a resource whose capacity nobody knows: it has no share, yet is worth showing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Uncapped {
    pub resource: Resource,
    /// In the resource's own unit.
    pub used: f64,
}

/// A monitor that does not see. Never taken for a resource at rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blind {
    pub resource: Resource,
    pub scope: Scope,
    /// For the log and for people who keep the machine.
    pub why: String,
}

/// One look at everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub at: DateTime<Utc>,
    pub readings: Vec<Reading>,
    pub blind: Vec<Blind>,
    /// Never of a resource that has a reading.
    #[serde(default)]
    pub uncapped: Vec<Uncapped>,
}

impl Sample {
    /// The scope in which a resource is nearest its end.
    pub fn tightest(&self, resource: Resource) -> Option<&Reading> {
        self.readings
            .iter()
            .filter(|reading| reading.resource == resource)
            .max_by(|a, b| a.ratio().total_cmp(&b.ratio()))
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error as ValueError, StrDeserializer};

    use super::*;

    #[test]
    fn the_tightest_scope_rules() {
        let reading =
            |scope, used, capacity| Reading { resource: Resource::Memory, scope, used, capacity };
        let sample = Sample {
            at: DateTime::UNIX_EPOCH,
            readings: vec![reading(Scope::Host, 4.0, 16.0), reading(Scope::Cgroup, 1.5, 2.0)],
            blind: Vec::new(),
            uncapped: Vec::new(),
        };
        let tightest = sample.tightest(Resource::Memory).expect("two readings");
        assert_eq!((tightest.scope, tightest.ratio()), (Scope::Cgroup, 0.75));
        assert!(sample.tightest(Resource::Cpu).is_none(), "what nobody read has no share");
    }

    #[test]
    fn every_resource_has_its_own_word() {
        for resource in Resource::ALL {
            let word: StrDeserializer<'_, ValueError> = resource.as_str().into_deserializer();
            assert_eq!(Resource::deserialize(word), Ok(resource));
        }
    }
}
