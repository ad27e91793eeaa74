//! Where the minutes of the machine are kept, so that a restart forgets nothing; and how many connections the database has left.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::resources::history::Minute;
use crate::domain::resources::{Reading, Resource};
use crate::ports::PortError;

/// The minutes of all resources.
#[async_trait]
pub trait ResourceMinutes: Send + Sync {
    /// Keeps minutes; one that is kept already is replaced.
    async fn keep(&self, minutes: &[(Resource, Minute)]) -> Result<(), PortError>;

    /// Those since `since`, in the order of time.
    async fn since(&self, since: DateTime<Utc>) -> Result<Vec<(Resource, Minute)>, PortError>;

    /// Forgets those before `before`.
    async fn forget(&self, before: DateTime<Utc>) -> Result<(), PortError>;
}

/// Reads how many connections to the database are taken.
#[async_trait]
pub trait DatabaseMeter: Send + Sync {
    /// Connections of everybody, against those that are not kept for its administrators.
    async fn connections(&self) -> Result<Reading, PortError>;
}
