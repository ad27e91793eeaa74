//! The Linux host: what `/proc` and `/sys` say of this process and of the machine (proc_pid_status(5)).

mod cgroup;
mod cpu;
mod injected;
mod meters;
mod orphans;
mod root;
mod space;
mod tenants;
mod traffic;

pub use cpu::LinuxCpuClock;
pub use injected::{InjectedCpuClock, InjectedMeters};
pub use meters::LinuxMeters;
pub use orphans::sweep_orphans;
pub use root::HostRoot;
pub use tenants::LinuxTenants;

use crate::ports::PortError;
use crate::ports::host::{Host, ProcessMemory};

/// The machine we run on.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinuxHost;

impl Host for LinuxHost {
    fn memory(&self) -> Result<ProcessMemory, PortError> {
        let status = std::fs::read_to_string("/proc/self/status")
            .map_err(|e| PortError::lasting("read /proc/self/status", e))?;
        let bytes = |field: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
                .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
                .map(|kib| kib * 1024)
                .ok_or_else(|| PortError::plain(format!("find {field} in /proc/self/status")))
        };
        Ok(ProcessMemory { resident: bytes("VmRSS")?, anonymous: bytes("RssAnon")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_holds_some_memory() {
        let memory = LinuxHost.memory().unwrap();
        assert!(memory.anonymous > 0 && memory.resident >= memory.anonymous, "{memory:?}");
    }
}
