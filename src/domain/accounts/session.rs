//! How long a browser session lives, by role (OWASP ASVS 5.0, V7).

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::accounts::Role;

/// When a session ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Longest time without a request.
    pub idle: TimeDelta,
    /// Longest time since the login, whatever is done meanwhile.
    pub absolute: TimeDelta,
}

/// The limits of a role: an administrator's session is worth more to a thief.
pub const fn session_limits(role: Role) -> SessionLimits {
    match role {
        Role::Admin => {
            SessionLimits { idle: TimeDelta::minutes(30), absolute: TimeDelta::hours(12) }
        }
        Role::Coordinator | Role::Streamer | Role::Editor | Role::Sponsor | Role::Artist => {
            SessionLimits { idle: TimeDelta::hours(12), absolute: TimeDelta::days(7) }
        }
    }
}

impl SessionLimits {
    /// Whether a session opened at `created_at` and last used at `seen_at` still holds at `now`.
    pub fn hold(
        self,
        created_at: DateTime<Utc>,
        seen_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> bool {
        now - seen_at < self.idle && now - created_at < self.absolute
    }
}
