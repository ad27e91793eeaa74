//! Alerts: told once when something is wrong and once when it is over, by mail, webhook and woken browsers, whatever is down
//! meanwhile.

mod process;
mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use spark::adapters::clock::SystemClock;
use spark::adapters::heralds::{MailHerald, MailSettings, PushHerald, PushKey, WebhookHerald};
use spark::adapters::memory::{
    MemoryAlerts, MemoryClock, MemoryHerald, MemoryMachine, MemoryPeople,
};
use spark::adapters::postgres::{PostgresAlerts, PostgresLedger, PostgresPeople};
use spark::domain::accounts::{AccountEvent, Role};
use spark::domain::alerts::{Condition, Incident, Taken, Told, Topic, Turn, Watcher, roles_told};
use spark::domain::ids::{IncidentId, PersonId};
use spark::domain::resources::Resource;
use spark::domain::resources::Sample;
use spark::domain::resources::trigger::{Action, Triggers, usual};
use spark::ports::alerts::{DEVICES_MAX, Device, Devices, Herald, Incidents, Notice};
use spark::ports::clock::Clock;
use spark::ports::people::{OneTimeLink, People, Person};
use spark::ports::vault::Secret;
use spark::use_cases::alerts::{AlertParts, Alerts};
use spark::use_cases::resources::Resources;
use spark::workers::alert_keeper::{self, Watched};
use support::databases::{Database, System};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

kept_by_memory_and_postgres!(
    an_incident_stands_as_it_was_kept_last,
    browsers_are_woken_while_their_person_may_know,
    the_newest_browsers_are_woken,
);

/// Longest wait for something that is on its way.
const PATIENCE: Duration = Duration::from_secs(20);
const CPU: Topic = Topic::Ceiling(Resource::Cpu);

/// What alerts are kept in, and the people beside it.
fn kept(db: &Database) -> (Arc<dyn Incidents>, Arc<dyn Devices>, Arc<dyn People>) {
    match &db.system {
        System::Memory(database, _) => {
            let people = MemoryPeople::beside(database.clone());
            let alerts = Arc::new(MemoryAlerts::new(people.clone()));
            (alerts.clone(), alerts, Arc::new(people))
        }
        System::Postgres(pool) => {
            let alerts = Arc::new(PostgresAlerts::new(pool.clone()));
            let people = PostgresPeople::new(PostgresLedger::new(pool.clone()));
            (alerts.clone(), alerts, Arc::new(people))
        }
    }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time")
}

fn incident(topic: Topic, opened: i64) -> Incident {
    Incident {
        id: IncidentId::from_uuid(SystemClock.new_id()),
        topic,
        opened_at: at(opened),
        closed_at: None,
        worst: Some(0.91),
        slowed: BTreeSet::from([Action::StopRenders, Action::HoldRenders]),
        taken: None,
        told: Told::default(),
    }
}

async fn somebody(people: &dyn People, role: Role) -> PersonId {
    let id = PersonId::from_uuid(SystemClock.new_id());
    let person = Person {
        id,
        email: None,
        name: String::new(),
        role,
        password_hash: None,
        created_at: at(0),
        closed_at: None,
    };
    let token_hash = SystemClock.new_secret();
    let link = OneTimeLink { token_hash, person: id, expires_at: at(1_000) };
    people
        .invite(person, link, AccountEvent::Invited { person: id, role, by: None })
        .await
        .unwrap();
    id
}

async fn an_incident_stands_as_it_was_kept_last(db: Database) {
    let (incidents, _, people) = kept(&db);
    let by = somebody(&*people, Role::Coordinator).await;
    let topics = [
        CPU,
        Topic::Blind(Resource::Memory),
        Topic::Stalled(Watcher::Governor),
        Topic::FillsSoon(Resource::Disk),
        Topic::PlanDiffers(Resource::Cpu),
        Topic::Availability,
        Topic::Latency,
        Topic::Conversion,
    ];
    let mut all: Vec<Incident> =
        topics.into_iter().zip(0..).map(|(topic, second)| incident(topic, second)).collect();
    for it in &all {
        incidents.save(it).await.unwrap();
    }
    assert_eq!(incidents.unfinished().await.unwrap(), all, "oldest first, each as it was given");
    all[0].taken = Some(Taken { by, at: at(30) });
    all[0].closed_at = Some(at(60));
    all[0].worst = Some(0.97);
    all[0].told.opening = true;
    incidents.save(&all[0]).await.unwrap();
    assert_eq!(incidents.unfinished().await.unwrap()[0], all[0], "its end was not told yet");
    all[0].told.ending = true;
    all[1].closed_at = Some(at(90));
    all[1].told = Told { opening: true, ending: true };
    incidents.save(&all[0]).await.unwrap();
    incidents.save(&all[1]).await.unwrap();
    assert_eq!(incidents.unfinished().await.unwrap(), all[2..]);
    let newest_first = [all[1].clone(), all[0].clone()];
    assert_eq!(incidents.ended(at(60), 10).await.unwrap(), newest_first);
    assert_eq!(incidents.ended(at(61), 10).await.unwrap(), newest_first[..1]);
    assert_eq!(incidents.ended(at(0), 1).await.unwrap(), newest_first[..1]);
}

async fn browsers_are_woken_while_their_person_may_know(db: Database) {
    let (_, devices, people) = kept(&db);
    let chief = somebody(&*people, Role::Admin).await;
    let streamer = somebody(&*people, Role::Streamer).await;
    let leaves = somebody(&*people, Role::Coordinator).await;
    let device = |name: &str, person, second| Device {
        endpoint: format!("https://push.example/{name}"),
        person,
        added_at: at(second),
    };
    for it in [device("a", leaves, 1), device("b", chief, 2), device("c", streamer, 3)] {
        devices.add(&it).await.unwrap();
    }
    let of_all = devices.of(&roles_told()).await.unwrap();
    assert_eq!(of_all, [device("a", leaves, 1), device("b", chief, 2)]);
    people.close(leaves, at(10), AccountEvent::Closed { person: leaves, by: chief }).await.unwrap();
    assert_eq!(devices.of(&roles_told()).await.unwrap(), [device("b", chief, 2)]);
    devices.add(&device("b", streamer, 4)).await.unwrap();
    assert_eq!(devices.of(&roles_told()).await.unwrap(), [], "a browser is one person's");
    devices.remove("https://push.example/c").await.unwrap();
    devices.remove("https://push.example/never").await.unwrap();
    assert_eq!(devices.of(&[Role::Streamer]).await.unwrap(), [device("b", streamer, 4)]);
}

async fn the_newest_browsers_are_woken(db: Database) {
    let (_, devices, people) = kept(&db);
    let person = somebody(&*people, Role::Admin).await;
    for n in 0..DEVICES_MAX + 3 {
        let endpoint = format!("https://push.example/{n}");
        devices.add(&Device { endpoint, person, added_at: at(n) }).await.unwrap();
    }
    let woken = devices.of(&roles_told()).await.unwrap();
    assert_eq!((woken.len() as i64, woken[0].added_at), (DEVICES_MAX, at(3)));
}

/// Alerts in memory, by a clock that tests turn.
struct House {
    alerts: Alerts,
    kept: MemoryAlerts,
    herald: MemoryHerald,
    clock: MemoryClock,
}

impl House {
    fn new(quiet: Option<&str>) -> Self {
        let clock = MemoryClock::default();
        let kept = MemoryAlerts::new(MemoryPeople::beside(
            spark::adapters::memory::MemoryDatabase::new(clock.clone()),
        ));
        let herald = MemoryHerald::default();
        let alerts = Self::alerts(&kept, &herald, &clock, quiet);
        Self { alerts, kept, herald, clock }
    }

    fn alerts(
        kept: &MemoryAlerts,
        herald: &MemoryHerald,
        clock: &MemoryClock,
        quiet: Option<&str>,
    ) -> Alerts {
        Alerts::new(AlertParts {
            incidents: Arc::new(kept.clone()),
            devices: Arc::new(kept.clone()),
            heralds: vec![Arc::new(herald.clone())],
            clock: Arc::new(clock.clone()),
            quiet: quiet.map(|hours| hours.parse().expect("hours")),
            link: Some("https://spark.example/alertes".into()),
            push_key: None,
        })
    }

    /// Lets seconds pass in which these topics are reported.
    async fn pass(&self, seconds: u64, topics: &[Topic]) {
        for _ in 0..seconds {
            let wrong = topics.iter().map(|topic| Condition::new(*topic, Some(0.9))).collect();
            self.alerts.report("test", wrong);
            self.alerts.turn().await;
            self.clock.advance(Duration::from_secs(1));
        }
        // What was sent arrives.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        self.alerts.turn().await;
    }

    fn told(&self) -> Vec<(Turn, String)> {
        self.herald.notices().into_iter().map(|it| (it.turn, it.title)).collect()
    }
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_alert_when_it_starts_and_one_when_it_ends() {
    let house = House::new(None);
    house.pass(40, &[CPU]).await;
    assert_eq!(house.told().len(), 1);
    assert_eq!(house.alerts.open().len(), 1);
    house.pass(120, &[]).await;
    let told = house.told();
    assert_eq!(told[0], (Turn::Opening, "Le processeur a atteint 80\u{a0}%".into()));
    assert_eq!(told[1], (Turn::Ending, "Terminé\u{a0}: le processeur a atteint 80\u{a0}%".into()));
    assert_eq!(told.len(), 2);
    assert!(house.alerts.open().is_empty());
    let past = house.alerts.past().await.unwrap();
    assert_eq!(past[0].lasted(past[0].opened_at), TimeDelta::seconds(40));
    assert_eq!(past[0].told, Told { opening: true, ending: true });
    assert!(house.kept.unfinished().await.unwrap().is_empty());
    assert!(
        house.herald.notices()[1].text.contains("Cela a duré 40"),
        "{:?}",
        house.herald.notices()
    );
}

#[tokio::test]
async fn the_night_is_for_what_is_urgent() {
    // The clock in memory begins at one in the afternoon in Paris: a night as good as any.
    let house = House::new(Some("12:30-20:00"));
    house.pass(90, &[CPU, Topic::Latency]).await;
    assert_eq!(house.told().len(), 1, "{:?}", house.told());
    assert_eq!(house.alerts.open().len(), 2, "the page tells both");
    // It ends before the morning: nobody hears of it.
    house.pass(400, &[]).await;
    assert_eq!(house.told().len(), 2, "{:?}", house.told());
    assert!(house.told().iter().all(|(_, title)| title.contains("processeur")));
    assert!(house.kept.unfinished().await.unwrap().is_empty(), "there is nothing left to tell");
    // One that lasts is told in the morning.
    house.pass(61, &[Topic::Latency]).await;
    assert_eq!(house.told().len(), 2);
    house.clock.advance(Duration::from_hours(9));
    house.pass(1, &[Topic::Latency]).await;
    assert_eq!(house.told()[2], (Turn::Opening, "Les pages sont lentes".into()));
}

#[tokio::test]
async fn a_database_that_is_down_keeps_nobody_from_being_told() {
    let house = House::new(None);
    house.kept.set_away(true);
    assert!(house.kept.unfinished().await.is_err(), "it is down");
    house.pass(5, &[CPU]).await;
    assert_eq!(house.told().len(), 1);
    house.kept.set_away(false);
    house.pass(1, &[CPU]).await;
    let kept = house.kept.unfinished().await.unwrap();
    assert_eq!((kept.len(), kept[0].told.opening), (1, true));
}

#[tokio::test]
async fn a_herald_that_refuses_is_tried_again_and_shown() {
    let house = House::new(None);
    house.herald.refuse(1);
    house.pass(1, &[CPU]).await;
    assert_eq!(house.herald.refused(), 1, "it did refuse");
    assert!(house.alerts.ways()[0].fault.as_ref().is_some_and(|fault| fault.contains("refused")));
    until("the notice", || house.herald.notices().pop()).await;
    assert_eq!(house.herald.notices().len(), 1);
    until("the way", || house.alerts.ways()[0].fault.is_none().then_some(())).await;
}

#[tokio::test]
async fn another_process_goes_on_where_the_first_ended() {
    let house = House::new(None);
    house.pass(5, &[CPU]).await;
    let second =
        House { alerts: House::alerts(&house.kept, &house.herald, &house.clock, None), ..house };
    second.alerts.resume().await.unwrap();
    second.pass(5, &[CPU]).await;
    assert_eq!(second.told().len(), 1, "nobody is told twice");
    second.pass(120, &[]).await;
    assert_eq!(second.told().len(), 2);
    let lasted = second.alerts.past().await.unwrap()[0].lasted(second.clock.now());
    assert!(lasted >= TimeDelta::seconds(9), "{lasted}: from the first process on");
}

#[tokio::test]
async fn one_person_takes_an_incident() {
    let house = House::new(None);
    house.pass(1, &[CPU]).await;
    let id = house.alerts.open()[0].id;
    let (ana, ben) = (1, 2);
    let person = |n: u128| PersonId::from_uuid(uuid::Uuid::from_u128(n));
    assert!(house.alerts.take(id, person(ana)).await);
    assert!(!house.alerts.take(id, person(ben)).await, "somebody was first");
    let taken = house.kept.unfinished().await.unwrap()[0].taken;
    assert_eq!(taken.map(|it| it.by), Some(person(ana)));
}

#[tokio::test]
async fn a_sampler_or_a_governor_that_stands_still_is_an_alert() {
    let house = House::new(None);
    let machine = MemoryMachine::default();
    let look = |resources: &Resources| {
        machine.set_sample(Sample { at: house.clock.now(), ..Sample::default() });
        resources.look();
    };
    let resources =
        Resources::new(Arc::new(machine.clone()), Triggers::try_new(usual()).expect("triggers"));
    let watched = Watched {
        resources: resources.clone(),
        plan: None,
        is_governed: false,
        clock: Arc::new(house.clock.clone()),
    };
    let stop = CancellationToken::new();
    let keeper = tokio::spawn(alert_keeper::run(house.alerts.clone(), watched, stop.clone()));
    for _ in 0..10 {
        look(&resources);
        house.clock.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert!(house.alerts.open().is_empty(), "{:?}", house.alerts.open());
    // Nobody looks any more: the clock goes on alone.
    for _ in 0..12 {
        house.clock.advance(Duration::from_secs(1));
    }
    let open = until("the alert", || house.alerts.open().pop()).await;
    assert_eq!(open.topic, Topic::Stalled(Watcher::Looks));
    assert!(open.worst.is_some_and(|seconds| seconds <= 15.0), "{open:?}");
    look(&resources);
    house.clock.advance(Duration::from_mins(3));
    look(&resources);
    until("its end", || house.alerts.open().is_empty().then_some(())).await;
    stop.cancel();
    keeper.await.unwrap();
}

#[tokio::test]
async fn requests_that_fail_are_an_alert() {
    let house = House::new(None);
    for _ in 0..3 {
        house.alerts.answered(true, Some(Duration::from_millis(3)));
    }
    house.pass(1, &[]).await;
    assert_eq!(house.alerts.open()[0].topic, Topic::Availability);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overload_is_told_within_seconds_and_its_end_too() {
    let (server, posts) = post_server().await;
    let home = process::Home::on_shared_server().await;
    let injected = home.write("shares.json", r#"{"cpu": 0.2, "memory": 0.3}"#);
    let spark = home.start_with(
        &["serve", "--listen", "127.0.0.1:0"],
        &[
            ("SPARK_RESOURCES_INJECTED", injected.to_str().expect("a path")),
            ("SPARK_ALERTS_WEBHOOK", &format!("{server}/hook")),
        ],
    );
    let posts_now = || {
        let heard = posts.heard.lock().unwrap();
        let title = |body: &[u8]| {
            let post: serde_json::Value = serde_json::from_slice(body).expect("JSON");
            post["embeds"][0]["title"].as_str().expect("a title").to_owned()
        };
        heard.iter().map(|(_, _, body)| title(body)).collect::<Vec<_>>()
    };
    let pool = home.pool().await;
    let open = "select count(*) from incidents where closed_at is null";
    // It looks at the machine once it is up: nothing is wrong with what it sees.
    until("the server", || spark.said().contains("SPARK: http").then_some(())).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(posts_now(), [] as [String; 0]);
    home.write("shares.json", r#"{"cpu": 0.2, "memory": 0.9}"#);
    let injected_at = Instant::now();
    let told = until("the alert", || posts_now().pop()).await;
    assert!(injected_at.elapsed() < Duration::from_secs(5), "{:?}", injected_at.elapsed());
    assert_eq!(told, "La mémoire a atteint 80\u{a0}%");
    let count: i64 = sqlx::query_scalar(open).fetch_one(&pool).await.unwrap();
    assert_eq!(count, 1);
    // The herald had its turn: what was told is kept.
    let told = "select count(*) from incidents where told_opening";
    let begun = Instant::now();
    while sqlx::query_scalar::<_, i64>(told).fetch_one(&pool).await.unwrap() == 0 {
        assert!(begun.elapsed() < PATIENCE, "nobody kept that it was told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    spark.signal("TERM");
    spark.ended().well();
}

fn notice(turn: Turn) -> Notice {
    Notice {
        about: IncidentId::from_uuid(uuid::Uuid::from_u128(7)),
        turn,
        is_urgent: true,
        title: "Le disque a atteint 80\u{a0}%".into(),
        text: "Au plus fort\u{a0}: 83\u{a0}%. Le direct continue.".into(),
        link: Some("https://spark.example/alertes".into()),
        at: at(0),
    }
}

/// A mail server that takes everything; mails as they came over the wire.
async fn mail_server() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mails: Arc<Mutex<Vec<String>>> = Arc::default();
    let taken = mails.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            let taken = taken.clone();
            tokio::spawn(async move {
                write.write_all(b"220 mail\r\n").await?;
                let mut mail: Option<String> = None;
                while let Some(line) = lines.next_line().await? {
                    let answer: &[u8] = match &mut mail {
                        Some(_) if line == "." => {
                            taken.lock().unwrap().extend(mail.take());
                            b"250 taken\r\n"
                        }
                        Some(text) => {
                            text.push_str(&line);
                            text.push('\n');
                            continue;
                        }
                        None if line.starts_with("DATA") => {
                            mail = Some(String::new());
                            b"354 go on\r\n"
                        }
                        None if line.starts_with("EHLO") => b"250 mail\r\n",
                        None if line.starts_with("RCPT") && line.contains("unknown") => {
                            b"550 no such person\r\n"
                        }
                        None => b"250 fine\r\n",
                    };
                    write.write_all(answer).await?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    (format!("smtp://{address}"), mails)
}

fn mail(server: &str, to: &str) -> MailHerald {
    let settings = MailSettings {
        server: Secret::new(server),
        from: "SPARK <spark@villa.example>".into(),
        to: to.into(),
    };
    MailHerald::new(&settings).expect("settings")
}

#[tokio::test]
async fn mails_of_one_incident_are_one_conversation() {
    let (server, mails) = mail_server().await;
    let herald = mail(&server, "ana@villa.example, Ben <ben@villa.example>");
    herald.tell(&notice(Turn::Opening)).await.unwrap();
    herald.tell(&notice(Turn::Ending)).await.unwrap();
    let mails = mails.lock().unwrap().clone();
    let [opening, ending] = &mails[..] else { panic!("{mails:?}") };
    let id = format!("<{}@villa.example>", notice(Turn::Opening).about);
    assert!(opening.contains(&format!("Message-ID: {id}")), "{opening}");
    assert!(ending.contains(&format!("In-Reply-To: {id}")), "{ending}");
    for words in ["From: SPARK <spark@villa.example>", "ana@villa.example", "ben@villa.example"] {
        assert!(opening.contains(words), "{words}: {opening}");
    }
    assert!(opening.contains("https://spark.example/alertes") || opening.contains("base64"));
}

#[tokio::test]
async fn a_mail_that_is_refused_for_good_is_not_tried_again() {
    let (server, _) = mail_server().await;
    let refused = mail(&server, "unknown@villa.example").tell(&notice(Turn::Opening)).await;
    let error = refused.expect_err("nobody is there");
    assert!(!error.retry && error.chain().contains("no such person"), "{}", error.chain());
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let away =
        mail(&format!("smtp://{port}"), "ana@villa.example").tell(&notice(Turn::Opening)).await;
    assert!(away.expect_err("nobody listens").retry, "a server that is down may come back");
}

#[derive(Clone, Default)]
struct Posts {
    heard: Arc<Mutex<Vec<(Uri, HeaderMap, Vec<u8>)>>>,
    answers: Arc<Mutex<Vec<StatusCode>>>,
}

/// A server that answers in turn as it is told, then 204, and remembers what was posted.
async fn post_server() -> (String, Posts) {
    let posts = Posts::default();
    let hear = async |State(posts): State<Posts>,
                      uri: Uri,
                      headers: HeaderMap,
                      body: axum::body::Bytes| {
        posts.heard.lock().unwrap().push((uri, headers, body.to_vec()));
        posts.answers.lock().unwrap().pop().unwrap_or(StatusCode::NO_CONTENT)
    };
    let router = Router::new().fallback(hear).with_state(posts.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}"), posts)
}

#[tokio::test]
async fn a_webhook_gets_what_discord_reads_and_rings_for_nobody() {
    let (server, posts) = post_server().await;
    let secret = "api/webhooks/123/very-secret";
    let herald = WebhookHerald::new(&Secret::new(format!("{server}/{secret}"))).unwrap();
    herald.tell(&notice(Turn::Opening)).await.unwrap();
    let (uri, _, body) = posts.heard.lock().unwrap()[0].clone();
    assert_eq!(uri.path(), "/api/webhooks/123/very-secret");
    let post: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(post["embeds"][0]["title"], "Le disque a atteint 80\u{a0}%");
    assert_eq!(post["allowed_mentions"]["parse"], serde_json::json!([]));
    for (status, retry) in [
        (StatusCode::TOO_MANY_REQUESTS, true),
        (StatusCode::BAD_GATEWAY, true),
        (StatusCode::NOT_FOUND, false),
    ] {
        posts.answers.lock().unwrap().push(status);
        let error = herald.tell(&notice(Turn::Ending)).await.expect_err("it refused");
        assert_eq!(error.retry, retry, "{status}");
        assert!(!error.chain().contains("very-secret"), "{}", error.chain());
    }
    assert!(WebhookHerald::new(&Secret::new("discord")).is_err());
}

#[tokio::test]
async fn a_browser_is_woken_by_who_it_knows_and_learns_nothing_on_the_way() {
    let (service, posts) = post_server().await;
    let folder = tempfile::tempdir().unwrap();
    let key = PushKey::open(folder.path()).unwrap();
    assert_eq!(PushKey::open(folder.path()).unwrap().public(), key.public(), "it is kept");
    let db = Database::in_memory();
    let (_, devices, people) = kept(&db);
    let person = somebody(&*people, Role::Admin).await;
    let device = |endpoint: String| Device { endpoint, person, added_at: at(0) };
    devices.add(&device(format!("{service}/send/abc"))).await.unwrap();
    // Nobody makes the house post to wherever they like.
    devices.add(&device("http://127.0.0.1:9/inside".into())).await.unwrap();
    let contact = "mailto:spark@villa.example".to_owned();
    let clock = Arc::new(SystemClock);
    let herald =
        PushHerald::new(key.clone(), devices.clone(), clock, contact, Some(service.clone()))
            .unwrap();
    herald.tell(&notice(Turn::Opening)).await.unwrap();
    assert_eq!(
        devices.of(&roles_told()).await.unwrap().len(),
        1,
        "what is no push service is forgotten"
    );
    let (uri, headers, body) = posts.heard.lock().unwrap()[0].clone();
    assert_eq!((uri.path(), body.len()), ("/send/abc", 0));
    assert_eq!(
        (&headers["urgency"], &headers["ttl"]),
        (&"high".parse().unwrap(), &"14400".parse().unwrap())
    );
    let claims = verified(headers["authorization"].to_str().unwrap(), key.public());
    assert_eq!(claims["aud"], service);
    assert_eq!(claims["sub"], "mailto:spark@villa.example");
    let left = claims["exp"].as_i64().unwrap() - SystemClock.now().timestamp();
    assert!((0..=86_400).contains(&left), "{left} s: a push service takes a day at most");
    posts.answers.lock().unwrap().push(StatusCode::GONE);
    herald.tell(&notice(Turn::Ending)).await.unwrap();
    assert!(
        devices.of(&roles_told()).await.unwrap().is_empty(),
        "a browser that is gone is forgotten"
    );
}

/// Checks a VAPID header as a push service does; what it claims.
fn verified(authorization: &str, public: &str) -> serde_json::Value {
    let fields = authorization.strip_prefix("vapid ").expect("the scheme");
    let (token, key) = fields.split_once(", ").expect("two fields");
    let (token, key) = (token.strip_prefix("t=").unwrap(), key.strip_prefix("k=").unwrap());
    assert_eq!(key, public);
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert_eq!(signature.len(), 64);
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let point = URL_SAFE_NO_PAD.decode(key).unwrap();
    assert_eq!((point.len(), point[0]), (65, 4), "an uncompressed point");
    let point = EcPoint::from_bytes(&group, &point, &mut BigNumContext::new().unwrap()).unwrap();
    let key = EcKey::from_public_key(&group, &point).unwrap();
    let half = |bytes: &[u8]| BigNum::from_slice(bytes).unwrap();
    let signature =
        EcdsaSig::from_private_components(half(&signature[..32]), half(&signature[32..])).unwrap();
    let digest = openssl::sha::sha256(signed.as_bytes());
    assert!(signature.verify(&digest, &key).unwrap(), "the signature is ours");
    let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.').unwrap().1).unwrap();
    serde_json::from_slice(&claims).unwrap()
}
