//! A conduit's shards, one process and several: what was said is kept once, whoever drops, joins or dies.

use super::*;
use spark::ports::clock::Clock;
use spark::ports::platform::{Caller, Deliveries, ListedSubscription, SubscriptionFilter};

const SHARDS: Transport = Transport::Conduit { shards: 2 };

async fn owners(channels: usize) -> (Arc<Owners>, PgPool) {
    let people: Vec<Person> = (0..channels).map(Person::creator).collect();
    let settings = Settings { channels: people, ..Settings::default() };
    let twitch = Arc::new(PretendTwitch::start(settings).await.unwrap());
    let pool = support::fresh_database().await;
    (Owners::who_allow_the_application(twitch, &pool, channels), pool)
}

async fn evening(channels: usize) -> (Evening, PgPool) {
    let (owners, pool) = owners(channels).await;
    let evening = Evening::by(owners, &pool, SHARDS);
    for index in 0..channels {
        evening.until(|| evening.health(index).is_some_and(|it| is_whole(&it))).await;
    }
    (evening, pool)
}

fn is_whole(health: &Health) -> bool {
    health.state == State::Listening && health.confirmed > 20 && health.confirmed == health.wanted
}

fn helix(evening: &Evening) -> (TwitchHelix, Bearer) {
    let settings = TwitchSettings {
        client_id: Some("pretendclient".to_owned()),
        ..TwitchSettings::at(&format!("http://{}", evening.twitch.address()))
    };
    let clock = Arc::new(SystemClock);
    let helix = TwitchHelix::try_new(settings, HelixLimits::default(), clock).unwrap();
    let token = Secret::new(evening.twitch.app_token());
    (helix, Bearer { caller: Caller::App, token })
}

async fn standing(evening: &Evening) -> Vec<ListedSubscription> {
    let (helix, app) = helix(evening);
    let mut all = helix.subscriptions(&app, &SubscriptionFilter::All).await.unwrap();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all
}

/// The shards each living process says that it holds.
async fn shares(pool: &PgPool) -> BTreeMap<String, Vec<u32>> {
    let all = PostgresListeners::new(pool.clone()).all().await.unwrap();
    let alive = all.into_iter().filter(|it| it.is_alive);
    alive.map(|it| (it.beat.name, it.beat.shards)).collect()
}

async fn until_shares(pool: &PgPool, wanted: &[(&str, &[u32])]) {
    let wanted: BTreeMap<String, Vec<u32>> =
        wanted.iter().map(|(name, shards)| ((*name).to_owned(), shards.to_vec())).collect();
    let begun = Instant::now();
    while shares(pool).await != wanted {
        assert!(begun.elapsed() < PATIENCE, "{:?} and not {wanted:?}", shares(pool).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn until_gaps(evening: &Evening, count: usize) {
    let begun = Instant::now();
    while evening.gaps().await.len() != count {
        assert!(begun.elapsed() < PATIENCE, "{:?}", evening.gaps().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn say(evening: &Evening, channels: usize, what: &str, count: usize) {
    for n in 0..count {
        evening.twitch.say(&login(n % channels), "anna", &format!("{what} {n}")).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_drops_costs_no_subscription_and_the_other_one_steps_in() {
    let (evening, _) = evening(3).await;
    let before = standing(&evening).await;
    assert!(before.iter().all(|it| it.method == "conduit" && it.status == "enabled"));
    say(&evening, 3, "avant", 30).await;
    evening.agrees(30).await;
    assert_eq!(evening.gaps().await, []);

    // One of the two sockets vanishes without a word; what is said meanwhile comes by the other.
    let socket = evening
        .twitch
        .ledger()
        .into_iter()
        .find_map(|it| it.taken_by.first().map(ToString::to_string));
    evening.twitch.act(Act::Cut { socket, code: None }).unwrap();
    evening.until(|| evening.twitch.counter("shard_disabled") == 1).await;
    assert_eq!(evening.twitch.counter("vanished"), 1);
    say(&evening, 3, "pendant", 30).await;
    evening.agrees(60).await;
    evening.until(|| evening.health(0).is_some_and(|it| it.reconnects == 1 && is_whole(&it))).await;
    say(&evening, 3, "après", 30).await;
    evening.agrees(90).await;
    let same = |a: &ListedSubscription, b: &ListedSubscription| a.id == b.id;
    let after = standing(&evening).await;
    assert!(before.len() == after.len() && before.iter().zip(&after).all(|(a, b)| same(a, b)));
    // What was on its way in the lost socket may be missing on any channel: it is told of each.
    until_gaps(&evening, 3).await;
    evening.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_to_reconnect_moves_a_shard_without_loss() {
    let (evening, _) = evening(2).await;
    evening.twitch.act(Act::Reconnect { socket: None }).unwrap();
    say(&evening, 2, "en route", 200).await;
    evening.agrees(200).await;
    assert_eq!(evening.twitch.counter("reconnected"), 2, "{:?}", evening.twitch.counters());
    assert_eq!(evening.gaps().await, []);
    evening.ends().await;
}

/// A second process takes its share without a word lost; when it dies, its share comes back.
#[tokio::test(flavor = "multi_thread")]
async fn shards_are_shared_out_among_processes_and_come_back_from_a_dead_one() {
    let (evening, pool) = evening(4).await;
    until_shares(&pool, &[("listener", &[0, 1])]).await;
    let second = Ear::open(&evening.owners, &pool, "second", SHARDS);
    let talk = async {
        say(&evening, 4, "passage", 1_500).await;
        evening.agrees(1_500).await;
    };
    let ((), ()) = tokio::join!(talk, until_shares(&pool, &[("listener", &[0]), ("second", &[1])]));
    assert_eq!(evening.gaps().await, [], "a share handed over is no gap");
    let (first, other) = (evening.audience.kept().stored, second.audience.kept().stored);
    assert!(first > 0 && other > 0, "both have heard: {first}, {other}");

    // The second process dies: no word, no leave.
    evening.owners.dying.lock().unwrap().insert("second".to_owned());
    second.ends().await;
    evening.until(|| evening.twitch.counter("shard_disabled") > 0).await;
    say(&evening, 4, "malgré tout", 40).await;
    evening.agrees(1_540).await;
    until_shares(&pool, &[("listener", &[0, 1])]).await;
    say(&evening, 4, "ensuite", 40).await;
    evening.agrees(1_580).await;
    until_gaps(&evening, 4).await;
    evening.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_taken_back_is_heard_at_once() {
    let (evening, _) = evening(2).await;
    evening.twitch.act(Act::RevokeGrant { user: login(0) }).unwrap();
    let is_known = || evening.owners.revoked.lock().unwrap().contains(&channel(0));
    evening.until(is_known).await;
    evening.until(|| evening.health(0).is_none()).await;
    let left = standing(&evening).await;
    let is_about = |it: &ListedSubscription| {
        it.status == "enabled" && it.condition.values().any(|id| id == channel(0).as_str())
    };
    assert!(!left.iter().any(is_about), "{left:?}");
    evening.twitch.say(&login(1), "anna", "l'autre continue").unwrap();
    evening.agrees(1).await;
    evening.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_linked_later_is_heard_by_the_conduit_too() {
    let (evening, _) = evening(2).await;
    evening.owners.channels.lock().unwrap().pop();
    evening.until(|| evening.health(1).is_none()).await;
    let of_second = |all: Vec<ListedSubscription>| {
        all.iter().filter(|it| it.condition.values().any(|id| id == channel(1).as_str())).count()
    };
    assert_eq!(of_second(standing(&evening).await), 0, "what nobody wants is taken down");
    evening.owners.channels.lock().unwrap().push(channel(1));
    evening.until(|| evening.health(1).is_some_and(|it| is_whole(&it))).await;
    evening.twitch.say(&login(1), "anna", "de retour").unwrap();
    evening.agrees(1).await;
    evening.ends().await;
}

/// Somebody deleted the conduit in Twitch's console: it is made anew, and the time between is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_conduit_that_is_gone_is_made_anew() {
    let (evening, _) = evening(1).await;
    say(&evening, 1, "avant", 3).await;
    evening.agrees(3).await;
    let (helix, app) = helix(&evening);
    let conduit = helix.conduits(&app).await.unwrap().remove(0);
    helix.delete_conduit(&app, &conduit.id).await.unwrap();
    let begun = Instant::now();
    loop {
        let now = helix.conduits(&app).await.unwrap();
        let stands = standing(&evening).await.iter().filter(|it| it.status == "enabled").count();
        if now.first().is_some_and(|it| it.id != conduit.id) && stands > 20 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{now:?}, {stands} subscriptions");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let begun = Instant::now();
    while evening.gaps().await.is_empty() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    evening.until(|| evening.health(0).is_some_and(|it| is_whole(&it))).await;
    say(&evening, 1, "après", 3).await;
    evening.agrees(6).await;
    evening.ends().await;
}

/// One kind falls while the chat goes on: it is made again, and its gap reaches back to before it fell.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_fell_alone_is_made_again_and_its_gap_holds_the_fall() {
    let (evening, _) = evening(1).await;
    let (helix, app) = helix(&evening);
    let is_follow = |it: &ListedSubscription| it.kind == "channel.follow" && it.status == "enabled";
    let fallen = standing(&evening).await.into_iter().find(is_follow).unwrap();
    helix.unsubscribe(&app, &fallen.id).await.unwrap();
    let fell_at = SystemClock.now();
    let begun = Instant::now();
    let mut said = 0;
    while evening.gaps().await.is_empty() {
        assert!(begun.elapsed() < PATIENCE);
        say(&evening, 1, "pendant", 20).await;
        said += 20;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(standing(&evening).await.iter().any(is_follow));
    let gaps = evening.gaps().await;
    assert!(gaps.len() == 1 && gaps[0].0 < fell_at && fell_at < gaps[0].1, "{gaps:?}: {fell_at}");
    evening.agrees(said).await;
    evening.ends().await;
}

/// Two processes made a conduit each before they saw each other: both settle on the first, and the other one goes.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_conduits_one_stays() {
    let (evening, _) = evening(1).await;
    let (helix, app) = helix(&evening);
    let ours = helix.conduits(&app).await.unwrap().remove(0);
    let other = loop {
        let made = helix.create_conduit(&app, 2).await.unwrap();
        if made.id < ours.id {
            break made;
        }
        helix.delete_conduit(&app, &made.id).await.unwrap();
    };
    let begun = Instant::now();
    let (mut said, mut is_heard) = (0, false);
    while !is_heard {
        assert!(begun.elapsed() < 2 * PATIENCE);
        tokio::time::sleep(Duration::from_millis(500)).await;
        say(&evening, 1, "suite", 1).await;
        said += 1;
        let mut stands = standing(&evening).await;
        stands.retain(|it| it.status == "enabled");
        is_heard =
            stands.len() > 20 && stands.iter().all(|it| it.conduit_id.as_ref() == Some(&other.id));
    }
    let left: Vec<String> =
        helix.conduits(&app).await.unwrap().into_iter().map(|it| it.id).collect();
    assert_eq!(left, [other.id]);
    evening.until(|| evening.health(0).is_some_and(|it| is_whole(&it))).await;
    assert!(!evening.gaps().await.is_empty(), "the change is told");
    assert!(said > 0);
    evening.ends().await;
}

/// In the plain way a second process would only cost: it stands by, and takes over when the first leaves.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_with_sockets_one_listens() {
    let pool = support::fresh_database().await;
    let evening = Evening::on(pool.clone(), 1).await;
    let second = Ear::open(&evening.owners, &pool, "second", Transport::Sockets);
    until_shares(&pool, &[("listener", &[]), ("second", &[])]).await;
    evening.twitch.say(&login(0), "anna", "une fois").unwrap();
    evening.agrees(1).await;
    assert_eq!(second.health(0), None);
    assert_eq!(evening.twitch.ledger().iter().flat_map(|it| &it.taken_by).count(), 1);
    let (twitch, log) = (evening.twitch.clone(), evening.log.clone());
    evening.ends().await;
    let begun = Instant::now();
    while !second.health(0).is_some_and(|it| is_whole(&it)) {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    twitch.say(&login(0), "anna", "par le second").unwrap();
    let begun = Instant::now();
    while log.after(0).await.unwrap().iter().filter_map(|it| it.notice.subject()).count() < 2 {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    second.ends().await;
}
