//! From Twitch's sockets to the log: what the pretend Twitch says it sent and what the house kept agree, message by message,
//! through dropped sockets, orders to reconnect, repeats and things nobody knows. Each fault proves that it took place.

#[path = "listening/conduit.rs"]
mod conduit;
#[path = "listening/gaps.rs"]
mod gaps;
#[path = "listening/listeners.rs"]
mod listeners;
#[path = "listening/sessions.rs"]
mod sessions;
#[path = "listening/storm.rs"]
mod storm;
mod support;
#[path = "listening/webhooks.rs"]
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use spark::adapters::clock::SystemClock;
use spark::adapters::local_spool::LocalSpool;
use spark::adapters::postgres::{
    PostgresAudienceLog, PostgresLedger, PostgresListeners, PostgresShelves,
};
use spark::adapters::twitch::eventsub::{
    Connection, EventsubHealth, EventsubSource, Transport, WebhookDoor,
};
use spark::adapters::twitch::{HelixLimits, TwitchHelix, TwitchSettings};
use spark::domain::audience::channel::ChannelId;
use spark::domain::audience::happening::What;
use spark::domain::audience::notice::{Notice, Reading};
use spark::ports::PortError;
use spark::ports::audience_log::AudienceLog;
use spark::ports::audience_source::{Bearers, Health, Listening, State};
use spark::ports::listeners::{Beat, Listener, Listeners};
use spark::ports::platform::{Bearer, Caller, PlatformError};
use spark::ports::vault::Secret;
use spark::rehearsal::twitch::{Act, Oddity, Person, PretendTwitch, Settings};
use spark::use_cases::audience::Audience;
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest a thing may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The channels of the rehearsal, with tokens as their owners would have given them.
struct Owners {
    twitch: Arc<PretendTwitch>,
    channels: Mutex<Vec<ChannelId>>,
    tokens: Mutex<BTreeMap<ChannelId, String>>,
    /// Processes that die instead of leaving.
    dying: Arc<Mutex<BTreeSet<String>>>,
    app: Mutex<Option<String>>,
    renewals: AtomicUsize,
    /// As the house does: a channel that took its permission back is none to listen to.
    forgets_revoked: bool,
    revoked: Mutex<Vec<ChannelId>>,
    log: PostgresAudienceLog,
}

impl Owners {
    fn of(twitch: Arc<PretendTwitch>, pool: &PgPool, channels: usize) -> Arc<Self> {
        Arc::new(Self::new(twitch, pool, channels))
    }

    /// Owners that let the application listen in their names.
    fn who_allow_the_application(
        twitch: Arc<PretendTwitch>,
        pool: &PgPool,
        channels: usize,
    ) -> Arc<Self> {
        let owners = Self { forgets_revoked: true, ..Self::new(twitch, pool, channels) };
        for index in 0..channels {
            owners.speak(&channel(index), false);
        }
        Arc::new(owners)
    }

    fn new(twitch: Arc<PretendTwitch>, pool: &PgPool, channels: usize) -> Self {
        Self {
            twitch,
            channels: Mutex::new((0..channels).map(channel).collect()),
            tokens: Mutex::default(),
            dying: Arc::default(),
            app: Mutex::default(),
            renewals: AtomicUsize::new(0),
            forgets_revoked: false,
            revoked: Mutex::default(),
            log: PostgresAudienceLog::new(pool.clone()),
        }
    }

    fn speak(&self, channel: &ChannelId, anew: bool) -> Bearer {
        let mut tokens = self.tokens.lock().unwrap();
        if anew {
            tokens.remove(channel);
        }
        let token = tokens
            .entry(channel.clone())
            .or_insert_with(|| self.twitch.user_token(channel.as_str(), &[]).unwrap().access);
        let token = Secret::new(token.clone());
        Bearer { caller: Caller::Channel(channel.clone()), token }
    }
}

#[async_trait]
impl Bearers for Owners {
    async fn channels(&self) -> Result<Vec<ChannelId>, PortError> {
        Ok(self.channels.lock().unwrap().clone())
    }

    async fn scopes(&self, _: &ChannelId) -> Result<Vec<String>, PortError> {
        let all = spark::adapters::twitch::eventsub::catalogue::CATALOGUE.iter();
        let bots = ["user:bot", "channel:bot"];
        let all = all.flat_map(|kind| kind.scopes.concat()).chain(bots);
        Ok(all.map(str::to_owned).collect())
    }

    async fn bearer(&self, channel: &ChannelId) -> Result<Bearer, PlatformError> {
        Ok(self.speak(channel, false))
    }

    async fn app(&self) -> Result<Bearer, PlatformError> {
        let token = self.app.lock().unwrap().get_or_insert_with(|| self.twitch.app_token()).clone();
        Ok(Bearer { caller: Caller::App, token: Secret::new(token) })
    }

    async fn renewed(&self, stale: &Bearer) -> Result<Bearer, PlatformError> {
        self.renewals.fetch_add(1, SeqCst);
        match &stale.caller {
            Caller::Channel(channel) => Ok(self.speak(channel, true)),
            Caller::App => {
                self.app.lock().unwrap().take();
                self.app().await
            }
        }
    }

    async fn revoked(&self, channel: &ChannelId) {
        self.revoked.lock().unwrap().push(channel.clone());
        if self.forgets_revoked {
            self.channels.lock().unwrap().retain(|known| known != channel);
        }
    }

    async fn heard_until(&self, channel: &ChannelId) -> Option<DateTime<Utc>> {
        self.log.last_heard(channel.as_str()).await.unwrap()
    }
}

/// The list of those who listen, for one that may die without a word.
struct Mortal(PostgresListeners, Arc<Mutex<BTreeSet<String>>>);

#[async_trait]
impl Listeners for Mortal {
    async fn beat(&self, beat: &Beat) -> Result<(), PortError> {
        self.0.beat(beat).await
    }

    async fn leave(&self, name: &str) -> Result<(), PortError> {
        if self.1.lock().unwrap().contains(name) {
            return Ok(());
        }
        self.0.leave(name).await
    }

    async fn all(&self) -> Result<Vec<Listener>, PortError> {
        self.0.all().await
    }
}

/// One process that listens.
struct Ear {
    audience: Audience,
    health: EventsubHealth,
    door: Option<WebhookDoor>,
    stop: CancellationToken,
    listener: JoinHandle<()>,
    spool: tempfile::TempDir,
}

impl Ear {
    fn open(owners: &Arc<Owners>, pool: &PgPool, name: &str, transport: Transport) -> Self {
        let clock = Arc::new(SystemClock);
        let spool = tempfile::tempdir().unwrap();
        let audience = Audience::new(
            Arc::new(owners.log.clone()),
            Arc::new(PostgresLedger::new(pool.clone())),
            Arc::new(PostgresShelves::new(pool.clone())),
            Arc::new(LocalSpool::open(spool.path()).unwrap()),
            clock.clone(),
        );
        let settings = TwitchSettings {
            client_id: Some("pretendclient".to_owned()),
            ..TwitchSettings::at(&format!("http://{}", owners.twitch.address()))
        };
        let socket_url = settings.eventsub_url.clone();
        let helix = TwitchHelix::try_new(settings, HelixLimits::default(), clock.clone()).unwrap();
        let connection = Connection {
            client_id: "pretendclient".to_owned(),
            socket_url,
            deliveries: Arc::new(helix),
            bearers: owners.clone(),
            listeners: Arc::new(Mortal(PostgresListeners::new(pool.clone()), owners.dying.clone())),
            clock,
            name: name.to_owned(),
        };
        let source = EventsubSource::new(connection, transport);
        let (health, door, stop) = (source.health(), source.door(), CancellationToken::new());
        let listener = tokio::spawn(spark::workers::audience_listener::run(
            audience.clone(),
            Box::new(source),
            stop.clone(),
        ));
        Self { audience, health, door, stop, listener, spool }
    }

    fn health(&self, index: usize) -> Option<Health> {
        self.health.health(&channel(index))
    }

    async fn ends(self) {
        self.stop.cancel();
        self.listener.await.unwrap();
    }
}

/// A pretend Twitch, and a house that listens to it.
struct Evening {
    twitch: Arc<PretendTwitch>,
    owners: Arc<Owners>,
    audience: Audience,
    log: PostgresAudienceLog,
    health: EventsubHealth,
    door: Option<WebhookDoor>,
    stop: CancellationToken,
    listener: JoinHandle<()>,
    #[expect(dead_code, reason = "it is there as long as the evening")]
    spool: tempfile::TempDir,
}

fn channel(index: usize) -> ChannelId {
    ChannelId::try_new(Person::creator(index).id).unwrap()
}

fn login(index: usize) -> String {
    Person::creator(index).login
}

impl Evening {
    async fn with(channels: usize) -> Self {
        Self::on(support::fresh_database().await, channels).await
    }

    async fn on(pool: PgPool, channels: usize) -> Self {
        let people: Vec<Person> = (0..channels).map(Person::creator).collect();
        let settings = Settings { channels: people, ..Settings::default() };
        let twitch = Arc::new(PretendTwitch::start(settings).await.unwrap());
        let evening = Self::listening(twitch, &pool, channels);
        for index in 0..channels {
            evening.until(|| evening.health(index).is_some_and(|it| it.confirmed > 20)).await;
        }
        evening
    }

    fn listening(twitch: Arc<PretendTwitch>, pool: &PgPool, channels: usize) -> Self {
        let owners = Owners::of(twitch, pool, channels);
        Self::by(owners, pool, Transport::Sockets)
    }

    /// Events take another way.
    fn by(owners: Arc<Owners>, pool: &PgPool, transport: Transport) -> Self {
        let twitch = owners.twitch.clone();
        let ear = Ear::open(&owners, pool, "listener", transport);
        let log = owners.log.clone();
        let Ear { audience, health, door, stop, listener, spool } = ear;
        Self { twitch, owners, audience, log, health, door, stop, listener, spool }
    }

    fn health(&self, index: usize) -> Option<Health> {
        self.health.health(&channel(index))
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < PATIENCE, "{:?} {:?}", self.health(0), self.audience.kept());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn logged(&self) -> Vec<Notice> {
        let mut all = Vec::new();
        let mut from = 0;
        loop {
            let batch = self.log.after(from).await.unwrap();
            let Some(last) = batch.last() else { return all };
            from = last.seq;
            all.extend(batch.into_iter().map(|logged| logged.notice));
        }
    }

    /// Waits until Twitch has written so many messages to sockets and they are in the log, then gives both books, by the
    /// messages' own ids.
    async fn books(&self, sent: usize) -> (BTreeSet<String>, Vec<String>) {
        let begun = Instant::now();
        loop {
            let taken: BTreeSet<String> = self
                .twitch
                .ledger()
                .into_iter()
                .filter(|it| &*it.kind == "channel.chat.message" && !it.taken_by.is_empty())
                .map(|it| it.business_id.to_string())
                .collect();
            let said = |notice: Notice| notice.subject().map(str::to_owned);
            let kept: Vec<String> = self.logged().await.into_iter().filter_map(said).collect();
            let is_settled = taken.len() >= sent && taken.iter().all(|id| kept.contains(id));
            if is_settled || begun.elapsed() > PATIENCE {
                return (taken, kept);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The log holds what Twitch sent, each once.
    async fn agrees(&self, sent: usize) {
        let (taken, kept) = self.books(sent).await;
        assert_eq!(taken.len(), sent, "the pretend Twitch sent everything");
        let once: BTreeSet<String> = kept.iter().cloned().collect();
        assert_eq!(once.len(), kept.len(), "nothing is there twice");
        assert_eq!(once, taken, "nothing is lost");
    }

    async fn gaps(&self) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
        let of = |notice: Notice| match notice.happening()?.what {
            What::Missed { from, to, .. } => Some((from, to)),
            _ => None,
        };
        self.logged().await.into_iter().filter_map(of).collect()
    }

    async fn ends(self) {
        self.stop.cancel();
        self.listener.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_said_on_every_channel_is_kept_once_and_in_its_live() {
    let evening = Evening::with(3).await;
    evening.twitch.faults(|faults| {
        faults.duplicate_rate = 0.1;
        faults.reorder_window = 5;
    });
    for index in 0..3 {
        evening.twitch.act(Act::GoLive { channel: login(index), viewers: 300 }).unwrap();
    }
    for n in 0..300 {
        evening
            .twitch
            .say(&login(n % 3), &format!("viewer{}", n % 40), &format!("n° {n}"))
            .unwrap();
    }
    // On a busy machine the messages leave later: the weather changes once it was felt.
    let begun = Instant::now();
    while evening.twitch.counter("reordered") <= 10 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", evening.twitch.counters());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What waits to be shuffled comes out with calm weather.
    evening.twitch.faults(|faults| faults.reorder_window = 0);
    for index in 0..3 {
        evening.twitch.say(&login(index), "viewer", "fin").unwrap();
    }
    evening.agrees(303).await;
    assert!(evening.twitch.counter("duplicate") > 10, "{:?}", evening.twitch.counters());
    assert!(evening.twitch.counter("reordered") > 10, "{:?}", evening.twitch.counters());
    assert!(evening.audience.kept().repeated > 10, "{:?}", evening.audience.kept());
    assert_eq!(evening.gaps().await, []);
    evening.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_socket_comes_back_and_the_gap_is_told() {
    let evening = Evening::with(1).await;
    evening.twitch.act(Act::GoLive { channel: login(0), viewers: 3 }).unwrap();
    evening.twitch.say(&login(0), "anna", "avant").unwrap();
    evening.books(1).await;
    evening.twitch.act(Act::Cut { socket: None, code: None }).unwrap();
    evening.until(|| evening.health(0).unwrap().state != State::Listening).await;
    evening.twitch.say(&login(0), "anna", "dans le vide").unwrap();
    evening.until(|| evening.health(0).unwrap().confirmed > 20).await;
    evening.twitch.say(&login(0), "anna", "après").unwrap();
    evening.agrees(2).await;
    assert_eq!(evening.twitch.counter("vanished"), 1, "{:?}", evening.twitch.counters());
    let gaps = evening.gaps().await;
    let is_lost = |it: &spark::rehearsal::twitch::LedgerEntry| {
        &*it.kind == "channel.chat.message" && it.taken_by.is_empty()
    };
    let lost = evening.twitch.ledger().into_iter().find(is_lost).unwrap();
    assert_eq!(gaps.len(), 1);
    assert!(gaps[0].0 <= lost.at && lost.at <= gaps[0].1, "{gaps:?} holds {}", lost.at);
    evening.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_close_code_is_survived() {
    let evening = Evening::with(1).await;
    for (n, code) in [4000, 4003, 4006, 4007].into_iter().enumerate() {
        evening.twitch.act(Act::Cut { socket: None, code: Some(code) }).unwrap();
        let reconnects = n as u64 + 1;
        evening.until(|| evening.health(0).unwrap().reconnects == reconnects).await;
        let said = evening.health(0).unwrap().last_end.unwrap();
        assert!(said.contains(&code.to_string()), "{said}");
        evening.until(|| evening.health(0).unwrap().confirmed > 20).await;
        assert_eq!(evening.twitch.counter(&format!("close_{code}")), 1);
        evening.twitch.say(&login(0), "anna", &format!("après {code}")).unwrap();
        evening.agrees(n + 1).await;
    }
    evening.ends().await;
}

/// Twitch has not noticed the loss yet: what stands from the dead session is in the way.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_session_left_is_taken_down() {
    let evening = Evening::with(1).await;
    evening.twitch.faults(|faults| faults.leave_orphans = true);
    evening.twitch.act(Act::Cut { socket: None, code: None }).unwrap();
    evening.until(|| evening.health(0).unwrap().reconnects == 1).await;
    evening.until(|| evening.health(0).unwrap().confirmed > 20).await;
    assert!(evening.twitch.counter("orphan_conflict") > 0, "{:?}", evening.twitch.counters());
    assert_eq!(evening.health(0).unwrap().refused, []);
    evening.twitch.say(&login(0), "anna", "entendu").unwrap();
    evening.agrees(1).await;
    evening.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_is_kept_and_costs_no_socket() {
    let evening = Evening::with(1).await;
    let odd =
        [Oddity::MessageType, Oddity::Type, Oddity::Version, Oddity::EnumValue, Oddity::Field];
    for what in odd {
        evening.twitch.act(Act::Odd { channel: login(0), what }).unwrap();
    }
    evening.twitch.say(&login(0), "anna", "toujours là").unwrap();
    evening.until(|| evening.health(0).unwrap().unknown >= 3).await;
    for counter in ["odd_message_type", "odd_type", "odd_version", "odd_enum_value", "odd_field"] {
        assert_eq!(evening.twitch.counter(counter), 1, "{counter}");
    }
    evening.books(1).await;
    let unknown = evening.logged().await;
    let unknown = unknown.iter().filter(|it| matches!(it.reading, Reading::Unknown { .. }));
    assert!(unknown.count() >= 2);
    assert_eq!(evening.health(0).unwrap().reconnects, 0);
    evening.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ran_out_is_renewed_when_it_is_needed() {
    let evening = Evening::with(1).await;
    evening.twitch.act(Act::ExpireTokens { user: login(0) }).unwrap();
    evening.twitch.say(&login(0), "anna", "la connexion tient").unwrap();
    evening.agrees(1).await;
    evening.twitch.act(Act::Cut { socket: None, code: Some(4000) }).unwrap();
    evening.until(|| evening.health(0).unwrap().reconnects == 1).await;
    evening.until(|| evening.health(0).unwrap().confirmed > 20).await;
    assert!(evening.owners.renewals.load(SeqCst) > 0);
    evening.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_takes_its_permission_back_is_left_alone_at_once() {
    let evening = Evening::with(2).await;
    evening.twitch.act(Act::RevokeGrant { user: login(0) }).unwrap();
    evening.until(|| evening.health(0).is_some_and(|it| it.state == State::Revoked)).await;
    assert_eq!(*evening.owners.revoked.lock().unwrap(), [channel(0)]);
    evening.twitch.say(&login(1), "anna", "l'autre continue").unwrap();
    evening.agrees(1).await;
    evening.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_linked_or_unlinked_meanwhile_is_followed() {
    let evening = Evening::with(2).await;
    evening.owners.channels.lock().unwrap().pop();
    evening.until(|| evening.health(1).is_none()).await;
    evening.owners.channels.lock().unwrap().push(channel(1));
    evening.until(|| evening.health(1).is_some_and(|it| it.confirmed > 20)).await;
    evening.ends().await;
}

/// The socket is open and says nothing: dead, by its keepalive.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_socket_is_left_after_its_keepalive() {
    let evening = Evening::with(1).await;
    evening.twitch.faults(|faults| faults.keepalive_silent = true);
    let begun = Instant::now();
    evening.until(|| evening.health(0).unwrap().reconnects == 1).await;
    let waited = begun.elapsed().as_secs_f64();
    assert!((9.0..=20.0).contains(&waited), "found after {waited} s");
    assert!(evening.twitch.counter("keepalive_silenced") > 0);
    assert!(evening.health(0).unwrap().last_end.unwrap().contains("silent"));
    evening.ends().await;
}

/// What was said while no spark ran is a gap, told when one runs again.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_tells_since_when_nobody_listened() {
    let pool = support::fresh_database().await;
    let evening = Evening::on(pool.clone(), 1).await;
    evening.twitch.act(Act::GoLive { channel: login(0), viewers: 3 }).unwrap();
    evening.twitch.say(&login(0), "anna", "avant").unwrap();
    evening.books(1).await;
    let twitch = evening.twitch.clone();
    evening.ends().await;
    twitch.say(&login(0), "anna", "pendant").unwrap();
    let evening = Evening::listening(twitch, &pool, 1);
    evening.until(|| evening.health(0).is_some_and(|it| it.confirmed > 20)).await;
    evening.twitch.say(&login(0), "anna", "après").unwrap();
    evening.agrees(2).await;
    assert_eq!(evening.gaps().await.len(), 1);
    evening.ends().await;
}
