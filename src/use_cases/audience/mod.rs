//! The audience: the channels we listen to, what reaches us of them while it happens, and how many watch.

pub mod boards;
pub mod channels;
pub mod elsewhere;
pub mod gaps;
mod keep;
mod mark;
mod moments;
mod on_air;
mod store;
pub mod viewers;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};

use crate::ports::audience_log::AudienceLog;
use crate::ports::clock::Clock;
use crate::ports::ledger::Ledger;
use crate::ports::shelves::Shelves;
use crate::ports::spool::Spool;

pub use keep::Kept;
pub use mark::Mark;
use on_air::OnAir;

/// The audience as it is heard.
#[derive(Clone)]
pub struct Audience {
    pub log: Arc<dyn AudienceLog>,
    pub ledger: Arc<dyn Ledger>,
    pub shelves: Arc<dyn Shelves>,
    pub spool: Arc<dyn Spool>,
    pub clock: Arc<dyn Clock>,
    state: Arc<State>,
}

/// What this process remembers; everything can be read anew.
#[derive(Default)]
struct State {
    on_air: Mutex<OnAir>,
    /// Since when a look at the streams does not find a live.
    unseen: Mutex<BTreeMap<String, DateTime<Utc>>>,
    /// The database was away: what comes waits behind what waits on the spool.
    spooling: AtomicBool,
    stored: AtomicU64,
    repeated: AtomicU64,
    spooled: AtomicU64,
    lost: AtomicU64,
}

impl Audience {
    pub fn new(
        log: Arc<dyn AudienceLog>,
        ledger: Arc<dyn Ledger>,
        shelves: Arc<dyn Shelves>,
        spool: Arc<dyn Spool>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { log, ledger, shelves, spool, clock, state: Arc::default() }
    }
}
