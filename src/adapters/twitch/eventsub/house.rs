//! What every way to Twitch's events shares: whom to ask, where notices go, how listening does, and who else listens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::domain::audience::channel::ChannelId;
use crate::domain::audience::happening::What;
use crate::domain::audience::notice::Notice;
use crate::ports::audience_source::{Bearers, Health};
use crate::ports::clock::Clock;
use crate::ports::listeners::{Beat, Listener, Listeners};
use crate::ports::platform::Deliveries;

/// How often a process says that it listens, and looks whether channels were linked or unlinked and who else listens.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What listening to Twitch needs.
pub struct Connection {
    /// Our application's id at Twitch.
    pub client_id: String,
    /// Where sockets are opened.
    pub socket_url: String,
    pub deliveries: Arc<dyn Deliveries>,
    pub bearers: Arc<dyn Bearers>,
    pub listeners: Arc<dyn Listeners>,
    pub clock: Arc<dyn Clock>,
    /// This process among those that listen; the same after a restart.
    pub name: String,
}

/// A notice on its way to the log, and who waits to hear whether it was kept.
pub(super) struct Told {
    pub(super) notice: Notice,
    pub(super) kept: Option<oneshot::Sender<bool>>,
}

/// What all lines of a process share.
pub(super) struct House {
    pub(super) client_id: String,
    pub(super) socket_url: String,
    pub(super) deliveries: Arc<dyn Deliveries>,
    pub(super) bearers: Arc<dyn Bearers>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) out: mpsc::Sender<Told>,
    /// Somebody should look now, and not at the next turn.
    pub(super) look: Notify,
    listeners: Arc<dyn Listeners>,
    name: String,
    since: DateTime<Utc>,
    health: Mutex<BTreeMap<ChannelId, Health>>,
    /// Who listened at the last look that succeeded.
    seen: Mutex<Vec<Listener>>,
    /// Whose absence was told as a gap already, by name and last word.
    absences: Mutex<BTreeSet<(String, DateTime<Utc>)>>,
}

/// Our place among those that listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// 0 is who has listened longest.
    pub(super) rank: usize,
    /// How many listen, ourselves included.
    pub(super) of: usize,
}

impl House {
    pub(super) fn new(connection: Connection, out: mpsc::Sender<Told>) -> Self {
        let Connection { client_id, socket_url, deliveries, bearers, listeners, clock, name } =
            connection;
        // As precise as the database keeps it, so that our own row is known again.
        let since = clock.now().trunc_subsecs(6);
        Self {
            client_id,
            socket_url,
            deliveries,
            bearers,
            clock,
            out,
            look: Notify::new(),
            listeners,
            name,
            since,
            health: Mutex::default(),
            seen: Mutex::default(),
            absences: Mutex::default(),
        }
    }

    pub(super) fn healths(&self) -> MutexGuard<'_, BTreeMap<ChannelId, Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how listening to a channel does.
    pub(super) fn note(&self, channel: &ChannelId, change: impl FnOnce(&mut Health)) {
        change(self.healths().entry(channel.clone()).or_default());
    }

    /// Hands a notice on. When it says that a permission was withdrawn, that holds at once.
    pub(super) async fn tell(&self, notice: Notice) {
        self.heed(&notice).await;
        // Nobody listens any more: the house is closing.
        let _ = self.out.send(Told { notice, kept: None }).await;
    }

    /// Does at once what a notice asks of those who listen.
    pub(super) async fn heed(&self, notice: &Notice) {
        if notice.kind == "conduit.shard.disabled" {
            self.look.notify_one();
        }
        let Some(happening) = notice.happening() else { return };
        if matches!(happening.what, What::AuthorizationRevoked)
            && let Ok(channel) = ChannelId::try_new(happening.channel.clone())
        {
            tracing::warn!(%channel, "a channel took its permission back");
            self.bearers.revoked(&channel).await;
            self.look.notify_one();
        }
    }

    /// Reads who listened before this process began, before it speaks for the first time.
    pub(super) async fn look_around(&self) {
        match self.listeners.all().await {
            Ok(all) => *self.seen() = all,
            Err(error) => tracing::warn!(error = %error.chain(), "cannot see who listens"),
        }
    }

    /// Says that this process listens and sees who else does. While the database is away, what was seen last holds.
    pub(super) async fn beat(
        &self,
        shards: Vec<u32>,
        health: BTreeMap<ChannelId, Health>,
    ) -> Place {
        let beat = Beat { name: self.name.clone(), since: self.since, shards, health };
        let beaten = async {
            self.listeners.beat(&beat).await?;
            self.listeners.all().await
        };
        match beaten.await {
            Ok(all) => *self.seen() = all,
            Err(error) => tracing::warn!(error = %error.chain(), "cannot say that we listen"),
        }
        let seen = self.seen();
        let mut others = seen.iter().filter(|it| it.is_alive && it.beat.name != self.name);
        let ours = (self.since, &self.name);
        let rank = others.clone().filter(|it| (it.beat.since, &it.beat.name) < ours).count();
        Place { rank, of: others.by_ref().count() + 1 }
    }

    /// Says that this process listens no more.
    pub(super) async fn leave(&self) {
        if let Err(error) = self.listeners.leave(&self.name).await {
            tracing::info!(error = %error.chain(), "others find out by themselves that we left");
        }
    }

    /// When anybody but this process spoke last, an earlier run of it included.
    pub(super) fn last_listened(&self) -> Option<DateTime<Utc>> {
        let seen = self.seen();
        seen.iter().filter(|it| it.beat.since != self.since).map(|it| it.seen_at).max()
    }

    /// Whether nobody told yet of what was missed after this listener (or nobody at all) fell silent.
    pub(super) fn tells_absence(&self, of: Option<&Listener>) -> bool {
        let absence = of.map_or_else(
            || (String::new(), DateTime::UNIX_EPOCH),
            |listener| (listener.beat.name.clone(), listener.seen_at),
        );
        self.absences.lock().unwrap_or_else(PoisonError::into_inner).insert(absence)
    }

    /// Who held a shard by what they said last; an earlier run of this process as well.
    pub(super) fn holder_of(&self, shard: u32) -> Option<Listener> {
        let seen = self.seen();
        let held = seen.iter().filter(|it| it.beat.shards.contains(&shard));
        held.filter(|it| it.beat.since != self.since).max_by_key(|it| it.seen_at).cloned()
    }
}
