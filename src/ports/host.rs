//! The machine this process runs on, as far as a person who keeps it going wants to know.

use crate::ports::PortError;

/// Memory of this process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
