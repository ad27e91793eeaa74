//! What every part of the pretend Twitch shares: one state behind one short lock that nobody holds across an await.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::rehearsal::chance::Dice;

use super::Settings;
use super::act::Act;
use super::conduits::Conduit;
use super::faults::{Counters, Faults};
use super::helix::Bucket;
use super::ledger::Ledger;
use super::people::{Channel, Person};
use super::session::Session;
use super::subscriptions::Subscription;
use super::tokens::Tokens;
use super::webhooks::{Delivery, Owner};

/// The server's inside. `Arc<Stage>` is the state of every handler.
pub(super) struct Stage {
    pub(super) settings: Settings,
    pub(super) address: SocketAddr,
    pub(super) stop: CancellationToken,
    state: Mutex<State>,
}

/// Everything that changes.
pub(super) struct State {
    pub(super) channels: Vec<Channel>,
    pub(super) tokens: Tokens,
    /// In order of their creation.
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) sessions: HashMap<Arc<str>, Session>,
    /// Open reconnect orders: challenge → the session that was ordered.
    pub(super) reconnects: HashMap<String, Arc<str>>,
    pub(super) conduits: Vec<Conduit>,
    /// Deliveries to webhooks, for their one dispatcher.
    pub(super) outbox: mpsc::Sender<Delivery>,
    /// Deliveries in a row that a webhook did not take.
    pub(super) failed_deliveries: HashMap<Owner, u32>,
    pub(super) faults: Faults,
    pub(super) counters: Counters,
    pub(super) ledger: Ledger,
    pub(super) dice: Dice,
    pub(super) buckets: HashMap<String, Bucket>,
}

impl Stage {
    pub(super) fn new(
        settings: Settings,
        address: SocketAddr,
        outbox: mpsc::Sender<Delivery>,
    ) -> Self {
        let state = State {
            channels: settings.channels.iter().cloned().map(Channel::new).collect(),
            tokens: Tokens::default(),
            subscriptions: Vec::new(),
            sessions: HashMap::new(),
            reconnects: HashMap::new(),
            conduits: Vec::new(),
            outbox,
            failed_deliveries: HashMap::new(),
            faults: Faults::default(),
            counters: Counters::default(),
            ledger: Ledger::default(),
            dice: Dice::new(settings.seed),
            buckets: HashMap::new(),
        };
        let stop = CancellationToken::new();
        Self { settings, address, stop, state: Mutex::new(state) }
    }

    /// The state. Never hold it across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes something happen later. What is not possible then, is counted.
    pub(super) fn act_after(self: &Arc<Self>, wait: Duration, act: Act) {
        let stage = Arc::clone(self);
        tokio::spawn(async move {
            let is_time = stage.stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_some();
            if is_time && stage.act(act).is_err() {
                stage.state().counters.one("act_failed");
            }
        });
    }

    /// So many of Twitch's seconds, as long as they last in this rehearsal.
    pub(super) fn seconds(&self, count: u64) -> Duration {
        self.settings.second.mul_f64(count as f64)
    }
}

impl State {
    /// The channel of that id or login.
    pub(super) fn channel(&mut self, id_or_login: &str) -> Option<&mut Channel> {
        let named = |channel: &&mut Channel| {
            channel.who.id == id_or_login || channel.who.login.eq_ignore_ascii_case(id_or_login)
        };
        self.channels.iter_mut().find(named)
    }

    /// The creator of that id or login, else the viewer of that name.
    pub(super) fn person(&self, name: &str) -> Person {
        let named = |channel: &&Channel| {
            channel.who.id == name || channel.who.login.eq_ignore_ascii_case(name)
        };
        let creator = self.channels.iter().find(named).map(|channel| channel.who.clone());
        creator.unwrap_or_else(|| Person::viewer(name))
    }

    /// The time for `message_timestamp`: the real one, plus the skew that is asked for.
    pub(super) fn stamp(&mut self) -> String {
        let skew = self.faults.clock_skew_ms;
        if skew != 0 {
            self.counters.one("skewed");
        }
        rfc3339(now() + TimeDelta::try_milliseconds(skew).unwrap_or_default())
    }
}

/// The real time.
pub(super) fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}

/// As Twitch writes times: nanoseconds and `Z`.
pub(super) fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// Whole seconds, as Helix writes times.
pub(super) fn rfc3339_seconds(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
