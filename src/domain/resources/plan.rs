//! What a hosting plan promises, and where the machine says otherwise.

use serde::{Deserialize, Deserializer, Serialize};

use crate::domain::resources::{Resource, Sample, Scope};

/// A hosting plan. What it does not name, it does not limit, or nobody knows. Sizes are decimal (1 GB is 10^9 bytes), the
/// smaller reading of what a price list says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// As the seller calls it.
    pub name: String,
    #[serde(default, deserialize_with = "more_than_nothing")]
    pub cores: Option<f64>,
    #[serde(default, deserialize_with = "more_than_nothing")]
    pub memory_gb: Option<f64>,
    #[serde(default, deserialize_with = "more_than_nothing")]
    pub disk_gb: Option<f64>,
    #[serde(default, deserialize_with = "more_than_nothing")]
    pub inodes: Option<f64>,
    /// Processes of the account, their threads counted.
    #[serde(default, deserialize_with = "more_than_nothing")]
    pub processes: Option<f64>,
    #[serde(default, deserialize_with = "more_than_nothing")]
    pub database_connections: Option<f64>,
    /// Sent in a calendar month, in TB (10^12 bytes).
    #[serde(default, deserialize_with = "more_than_nothing")]
    pub transfer_tb_a_month: Option<f64>,
    #[serde(default, deserialize_with = "more_than_nothing")]
    pub link_mbit_s: Option<f64>,
    /// Read and written together.
    #[serde(default, deserialize_with = "more_than_nothing")]
    pub disk_mb_s: Option<f64>,
}

impl Plan {
    /// How much of a resource it promises, in the resource's own unit.
    pub fn capacity(&self, resource: Resource) -> Option<f64> {
        let times = |amount: Option<f64>, unit: f64| Some(amount? * unit);
        match resource {
            Resource::Cpu => self.cores,
            Resource::Memory => times(self.memory_gb, 1e9),
            Resource::Disk => times(self.disk_gb, 1e9),
            Resource::Inodes => self.inodes,
            Resource::DiskRate => times(self.disk_mb_s, 1e6),
            Resource::NetworkRate => times(self.link_mbit_s, 1e6),
            Resource::Transfer => times(self.transfer_tb_a_month, 1e12),
            Resource::Processes => self.processes,
            Resource::Connections => self.database_connections,
            Resource::Files | Resource::QueueWait => None,
        }
    }
}

/// A capacity of nothing would make every share infinite.
fn more_than_nothing<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    let amount = f64::deserialize(from)?;
    let is_some = amount.is_finite() && amount > 0.0;
    is_some.then_some(Some(amount)).ok_or_else(|| {
        serde::de::Error::custom("a capacity is more than nothing; leave out what is not known")
    })
}

/// The plan says one thing, the machine another. The smaller of both rules in any case.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Disagreement {
    pub resource: Resource,
    /// What the plan promises, in the resource's own unit.
    pub planned: f64,
    /// What the machine and its control groups have.
    pub detected: f64,
}

/// Cores are counted, not measured: a share of one is a disagreement.
const CORES_APART_MAX: f64 = 0.05;
/// Share of memory that a kernel keeps for itself before it counts, and of what GB and GiB differ.
const MEMORY_APART_MAX: f64 = 0.15;
/// The same of a file system's own tables and what it keeps back for root.
const DISK_APART_MAX: f64 = 0.15;
/// How many files a disk takes is the file system's choice: only another size of machine shows.
const INODES_APART_MAX: f64 = 0.5;

/// Where plan and machine differ by more than measuring can. A machine that takes more processes than the plan is no
/// disagreement: sellers count those of an account.
pub fn disagreements(plan: &Plan, detected: &Sample) -> Vec<Disagreement> {
    let apart_max = |resource| match resource {
        Resource::Cpu => Some(CORES_APART_MAX),
        Resource::Memory => Some(MEMORY_APART_MAX),
        Resource::Disk => Some(DISK_APART_MAX),
        Resource::Inodes => Some(INODES_APART_MAX),
        Resource::Processes => Some(0.0),
        _ => None,
    };
    let found = Resource::ALL.into_iter().filter_map(|resource| {
        let (apart_max, planned) = (apart_max(resource)?, plan.capacity(resource)?);
        let detected = detected
            .readings
            .iter()
            .filter(|it| {
                it.resource == resource && [Scope::Host, Scope::Cgroup].contains(&it.scope)
            })
            .map(|it| it.capacity)
            .min_by(f64::total_cmp)?;
        let apart = (detected - planned) / planned;
        let is_fine = match resource {
            Resource::Processes => apart >= 0.0,
            _ => apart.abs() <= apart_max,
        };
        (!is_fine).then_some(Disagreement { resource, planned, detected })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::resources::Reading;

    fn plan() -> Plan {
        Plan {
            name: "two cores".into(),
            cores: Some(2.0),
            memory_gb: Some(8.0),
            disk_gb: Some(100.0),
            inodes: None,
            processes: Some(200.0),
            database_connections: None,
            transfer_tb_a_month: Some(8.0),
            link_mbit_s: None,
            disk_mb_s: None,
        }
    }

    #[track_caller]
    fn check(detected: &[(Resource, Scope, f64)], expected: &[Resource]) {
        let readings = detected.iter().map(|&(resource, scope, capacity)| Reading {
            resource,
            scope,
            used: 0.0,
            capacity,
        });
        let sample = Sample {
            at: DateTime::UNIX_EPOCH,
            readings: readings.collect(),
            blind: Vec::new(),
            uncapped: Vec::new(),
        };
        let found: Vec<Resource> =
            disagreements(&plan(), &sample).iter().map(|it| it.resource).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_measuring_explains_is_no_disagreement() {
        check(&[], &[]);
        check(
            &[
                (Resource::Cpu, Scope::Host, 2.0),
                (Resource::Memory, Scope::Host, 8.2e9),
                (Resource::Disk, Scope::Host, 98e9),
                (Resource::Inodes, Scope::Host, 1.0),
                (Resource::Processes, Scope::Host, 32_768.0),
            ],
            &[],
        );
    }

    #[test]
    fn another_machine_than_the_plan_is_told() {
        check(&[(Resource::Cpu, Scope::Host, 4.0)], &[Resource::Cpu]);
        check(&[(Resource::Memory, Scope::Host, 4.1e9)], &[Resource::Memory]);
        check(&[(Resource::Disk, Scope::Host, 50e9)], &[Resource::Disk]);
        check(&[(Resource::Processes, Scope::Cgroup, 100.0)], &[Resource::Processes]);
    }

    #[test]
    fn the_smaller_of_machine_and_control_group_counts_and_the_plan_itself_does_not() {
        check(&[(Resource::Cpu, Scope::Host, 8.0), (Resource::Cpu, Scope::Cgroup, 2.0)], &[]);
        check(
            &[(Resource::Cpu, Scope::Host, 8.0), (Resource::Cpu, Scope::Plan, 2.0)],
            &[Resource::Cpu],
        );
    }

    #[test]
    fn a_capacity_is_in_the_unit_of_its_resource() {
        assert_eq!(plan().capacity(Resource::Memory), Some(8e9));
        assert_eq!(plan().capacity(Resource::Transfer), Some(8e12));
        assert_eq!(plan().capacity(Resource::NetworkRate), None);
    }
}
