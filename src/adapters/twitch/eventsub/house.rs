//! What every way to Twitch's events shares: whom to ask, where notices go, how listening does, and who else listens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound, Utc};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::adapters::twitch::eventsub::standing::Standing;
use crate::domain::audience::channel::ChannelId;
use crate::domain::audience::happening::What;
use crate::domain::audience::notice::Notice;
use crate::ports::PortError;
use crate::ports::audience_source::{Bearers, Health};
use crate::ports::clock::Clock;
use crate::ports::listeners::{Beat, LISTENER_SILENT_MAX_S, Listener, Listeners};
use crate::ports::platform::Deliveries;

/// How often a process says that it listens, and looks whether channels were linked or unlinked and who else listens.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Whoever could not speak for this long could not hear either: that others seem silent says nothing of them yet.
const DEAF_MIN: Duration = Duration::from_secs(2 * LOOK_EVERY.as_secs());

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
    /// The shards of the conduit this process holds.
    held: Mutex<Vec<u32>>,
    /// The channels that were linked at the last reading that succeeded.
    linked: Mutex<Option<Vec<ChannelId>>>,
    /// When each kind of a channel's subscriptions was last seen standing.
    stood: Mutex<BTreeMap<ChannelId, BTreeMap<String, DateTime<Utc>>>>,
    /// Until when each channel had been listened to before this process began.
    heard_before: Mutex<BTreeMap<ChannelId, DateTime<Utc>>>,
    company: Mutex<Company>,
}

/// Who listens, as far as this process knows.
struct Company {
    /// Who had listened before this process spoke for the first time, an earlier run of it included.
    before: Vec<Listener>,
    /// Who listened at the last look that succeeded.
    seen: Vec<Listener>,
    place: Place,
    heard_at: Option<Instant>,
    /// Until then, whoever was alive before this process fell deaf is believed to be so still.
    doubts_until: Option<Instant>,
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
            held: Mutex::default(),
            linked: Mutex::default(),
            stood: Mutex::default(),
            heard_before: Mutex::default(),
            company: Mutex::new(Company {
                before: Vec::new(),
                seen: Vec::new(),
                place: Place { rank: 0, of: 1 },
                heard_at: None,
                doubts_until: None,
            }),
        }
    }

    pub(super) fn healths(&self) -> MutexGuard<'_, BTreeMap<ChannelId, Health>> {
        hold(&self.health)
    }

    /// The linked channels. While the database is away, those it named last.
    pub(super) async fn channels(&self) -> Result<Vec<ChannelId>, PortError> {
        let read = self.bearers.channels().await;
        let mut linked = hold(&self.linked);
        match (read, linked.as_ref()) {
            (Ok(channels), _) => Ok(linked.insert(channels).clone()),
            (Err(error), Some(known)) => {
                tracing::warn!(error = %error.chain(), "cannot read which channels are linked");
                Ok(known.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Notes which subscriptions of a channel stood at a comparison begun `at`; says since when those that had to be made had
    /// not been seen standing: the earliest, if any had stood before. `Err` when this process compares for the first time.
    pub(super) fn stands(
        &self,
        channel: &ChannelId,
        standing: &Standing,
        at: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, NeverCompared> {
        let mut all = hold(&self.stood);
        let is_first = !all.contains_key(channel);
        let of_channel = all.entry(channel.clone()).or_default();
        let fell_after =
            standing.made.iter().filter_map(|kind| of_channel.get(kind)).min().copied();
        for kind in standing.there.iter().chain(&standing.made) {
            of_channel.insert(kind.clone(), at);
        }
        if is_first { Err(NeverCompared) } else { Ok(fell_after) }
    }

    /// Of other channels than these nothing is known any more.
    pub(super) fn forget_others(&self, channels: &BTreeMap<ChannelId, Standing>) {
        hold(&self.stood).retain(|channel, _| channels.contains_key(channel));
    }

    /// The shards of the conduit this process holds from now on.
    pub(super) fn holds(&self, shards: Vec<u32>) {
        *hold(&self.held) = shards;
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

    /// Begins to say that this process listens, and goes on to every few seconds, whatever else it waits for, until `stop`.
    pub(super) async fn speak_up(self: &Arc<Self>, stop: CancellationToken) -> JoinHandle<()> {
        match self.listeners.all().await {
            Ok(all) => hold(&self.company).before = all,
            Err(error) => tracing::warn!(error = %error.chain(), "cannot see who listens"),
        }
        for channel in self.channels().await.unwrap_or_default() {
            if let Some(heard) = self.bearers.heard_until(&channel).await {
                hold(&self.heard_before).insert(channel, heard);
            }
        }
        self.beat().await;
        let house = self.clone();
        tokio::spawn(async move {
            while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
                let before = house.place();
                house.beat().await;
                if house.place() != before {
                    house.look.notify_one();
                }
            }
        })
    }

    /// Says that this process listens and sees who else does. While the database is away, what was seen last holds.
    async fn beat(&self) {
        let (shards, health) = (hold(&self.held).clone(), self.healths().clone());
        let beat = Beat { name: self.name.clone(), since: self.since, shards, health };
        let beaten = async {
            self.listeners.beat(&beat).await?;
            self.listeners.all().await
        };
        match tokio::time::timeout(LOOK_EVERY, beaten).await {
            Ok(Ok(all)) => {
                let mut company = hold(&self.company);
                company.hears(all, Instant::now());
                company.place = company.place_of(&self.name, self.since);
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %error.chain(), "cannot say that we listen");
            }
            Err(_) => tracing::warn!("the database is slow: cannot say that we listen"),
        }
    }

    /// Our place among those that listen.
    pub(super) fn place(&self) -> Place {
        hold(&self.company).place
    }

    /// Says that this process listens no more. `speaking` is what [`Self::speak_up`] began, and was told to stop.
    pub(super) async fn leave(&self, speaking: JoinHandle<()>) {
        let _ = speaking.await;
        if let Err(error) = self.listeners.leave(&self.name).await {
            tracing::info!(error = %error.chain(), "others find out by themselves that we left");
        }
    }

    /// Until when a channel had been listened to before this process began; `None` when it never was.
    pub(super) fn heard_before(&self, channel: &ChannelId) -> Option<DateTime<Utc>> {
        hold(&self.heard_before).get(channel).copied()
    }

    /// When anybody but this process spoke last, an earlier run of it included.
    pub(super) fn last_listened(&self) -> Option<DateTime<Utc>> {
        let company = hold(&self.company);
        company.others(self.since).map(|it| it.seen_at).max()
    }

    /// Who held a shard by what they said last; an earlier run of this process as well.
    pub(super) fn holder_of(&self, shard: u32) -> Option<Listener> {
        let company = hold(&self.company);
        let held = company.others(self.since).filter(|it| it.beat.shards.contains(&shard));
        held.max_by_key(|it| it.seen_at).cloned()
    }
}

/// This process had not compared a channel's subscriptions before.
pub(super) struct NeverCompared;

impl Company {
    /// Takes up who listens. After a stretch without a word from the database, it was perhaps away for everybody: whoever
    /// was alive before and did not say that they leave has a while to speak again.
    fn hears(&mut self, mut all: Vec<Listener>, now: Instant) {
        if self.heard_at.is_some_and(|at| now - at > DEAF_MIN) {
            self.doubts_until = Some(now + Duration::from_secs(LISTENER_SILENT_MAX_S.into()));
        }
        self.heard_at = Some(now);
        if self.doubts_until.is_some_and(|until| now < until) {
            let was_alive = |name: &str| {
                self.seen.iter().any(|known| known.is_alive && known.beat.name == name)
            };
            for listener in all.iter_mut().filter(|it| !it.has_left) {
                listener.is_alive |= was_alive(&listener.beat.name);
            }
        }
        self.seen = all;
    }

    fn place_of(&self, name: &str, since: DateTime<Utc>) -> Place {
        let others = || self.seen.iter().filter(|it| it.is_alive && it.beat.name != name);
        let is_elder = |it: &&Listener| (it.beat.since, it.beat.name.as_str()) < (since, name);
        Place { rank: others().filter(is_elder).count(), of: others().count() + 1 }
    }

    /// Everybody but the run that began `since`.
    fn others(&self, since: DateTime<Utc>) -> impl Iterator<Item = &Listener> {
        self.before.iter().chain(&self.seen).filter(move |it| it.beat.since != since)
    }
}

/// A lock whose holder cannot break what it guards.
pub(super) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(name: &str, is_alive: bool, has_left: bool) -> Listener {
        let since = DateTime::UNIX_EPOCH;
        let beat =
            Beat { name: name.to_owned(), since, shards: Vec::new(), health: BTreeMap::new() };
        Listener { beat, seen_at: since, is_alive, has_left }
    }

    fn alive(company: &Company) -> Vec<&str> {
        let alive = company.seen.iter().filter(|it| it.is_alive);
        alive.map(|it| it.beat.name.as_str()).collect()
    }

    #[test]
    fn after_the_database_was_away_nobody_is_dead_before_they_could_speak() {
        let place = Place { rank: 0, of: 1 };
        let (before, seen) = (Vec::new(), Vec::new());
        let mut company = Company { before, seen, place, heard_at: None, doubts_until: None };
        let begun = Instant::now();
        let at = |s: u64| begun + Duration::from_secs(s);
        let (here, silent) =
            (|name: &str| listener(name, true, false), |name: &str| listener(name, false, false));
        company.hears(vec![here("a"), here("b"), here("c"), silent("d")], at(0));
        assert_eq!(alive(&company), ["a", "b", "c"]);
        // In calm weather who is silent is dead at once.
        company.hears(vec![here("a"), here("b"), silent("c")], at(5));
        assert_eq!(alive(&company), ["a", "b"]);
        // A minute without a word from the database; meanwhile nobody could speak, and one left.
        let left = listener("b", false, true);
        company.hears(vec![silent("a"), left, silent("c"), silent("d")], at(65));
        assert_eq!(alive(&company), ["a"]);
        company.hears(vec![silent("a")], at(75));
        assert_eq!(alive(&company), ["a"]);
        company.hears(vec![silent("a")], at(80));
        assert_eq!(alive(&company), [] as [&str; 0], "it had its while");
    }
}
