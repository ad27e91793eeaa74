//! Time and chance, asked of one place so that tests can decide both.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The wall clock and the source of random bytes.
pub trait Clock: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> DateTime<Utc>;

    /// A new random id.
    fn new_id(&self) -> Uuid;

    /// 256 random bits fit for a secret.
    fn new_secret(&self) -> [u8; 32];
}
