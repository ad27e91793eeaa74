//! Where incidents are kept, who carries word of them, and the browsers that asked to be woken.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::accounts::Role;
use crate::domain::alerts::{Incident, Turn};
use crate::domain::ids::{IncidentId, PersonId};
use crate::ports::PortError;

/// Longest address of a browser's push service, in bytes; those of today have some 200.
pub const ENDPOINT_BYTES_MAX: usize = 1_024;
/// Browsers that are woken at most; one more takes the place of the oldest.
pub const DEVICES_MAX: i64 = 64;

/// The incidents of the house.
#[async_trait]
pub trait Incidents: Send + Sync {
    /// Keeps an incident as it stands now, in place of what was kept of it.
    async fn save(&self, incident: &Incident) -> Result<(), PortError>;

    /// What lasts, or was not told of to its end, oldest first.
    async fn unfinished(&self) -> Result<Vec<Incident>, PortError>;

    /// What ended since `since`, the newest first, `limit` at most.
    async fn ended(&self, since: DateTime<Utc>, limit: u16) -> Result<Vec<Incident>, PortError>;
}

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The same for both ends of an incident.
    pub about: IncidentId,
    pub turn: Turn,
    pub is_urgent: bool,
    /// A short sentence without a full stop.
    pub title: String,
    /// One sentence or two.
    pub text: String,
    /// Where the alerts are read, when the house has an address.
    pub link: Option<String>,
    pub at: DateTime<Utc>,
}

/// Carries word to people.
#[async_trait]
pub trait Herald: Send + Sync {
    /// The word for this way in pages and logs: `mail`, `webhook`, `push`.
    fn way(&self) -> &'static str;

    /// Hands the notice over. An error that may pass is tried again.
    async fn tell(&self, notice: &Notice) -> Result<(), PortError>;
}

/// A browser that asked to be woken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its push service's address; it alone lets us in, so it is a secret.
    pub endpoint: String,
    pub person: PersonId,
    pub added_at: DateTime<Utc>,
}

/// The browsers that asked to be woken.
#[async_trait]
pub trait Devices: Send + Sync {
    /// Adds a browser, or gives it to this person.
    async fn add(&self, device: &Device) -> Result<(), PortError>;

    /// Forgets a browser; one that is not known is no error.
    async fn remove(&self, endpoint: &str) -> Result<(), PortError>;

    /// Those of people with one of these roles whose account is open.
    async fn of(&self, roles: &[Role]) -> Result<Vec<Device>, PortError>;
}
