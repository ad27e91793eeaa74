//! What the house says about moments.

use serde::{Deserialize, Serialize};

use crate::domain::ids::{LiveId, MomentId};
use crate::domain::moments::moment::Moment;

/// Most moments kept of one live.
pub const MOMENTS_KEPT_MAX: usize = 60;

/// What happened to a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MomentEvent {
    /// The detector found it; `rank` counts from 0, the best of the live.
    Detected { moment: MomentId, live: LiveId, rank: u32, found: Moment },
    /// The detector found it while the live was on air; told again with another `found` when a vote came late.
    Told { moment: MomentId, live: LiveId, found: Moment },
}

impl MomentEvent {
    /// The moment this is about.
    pub const fn moment(&self) -> MomentId {
        match self {
            Self::Detected { moment, .. } | Self::Told { moment, .. } => *moment,
        }
    }
}
