//! Events that Twitch posts to our own pages: signed, sent again, kept once.

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use spark::ports::audience_source::{Mailbox, Received};
use spark::ports::clock::Clock;

use super::*;

const SECRET: &str = "a secret of ten or more";

/// An address of ours, on loopback; it is deaf on request.
struct Address {
    url: String,
    door: Arc<Mutex<Option<Arc<WebhookDoor>>>>,
    deaf: Arc<std::sync::atomic::AtomicBool>,
    refused: Arc<AtomicUsize>,
    old: Arc<AtomicUsize>,
}

impl Address {
    async fn open() -> Self {
        let door: Arc<Mutex<Option<Arc<WebhookDoor>>>> = Arc::default();
        let deaf = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (refused, old) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (inner, is_deaf, count) = (door.clone(), deaf.clone(), refused.clone());
        let count_old = old.clone();
        let take = move |headers: HeaderMap, body: Bytes| {
            let (door, is_deaf, count) = (inner.clone(), is_deaf.clone(), count.clone());
            let count_old = count_old.clone();
            async move {
                if is_deaf.load(SeqCst) {
                    return StatusCode::INTERNAL_SERVER_ERROR.into_response();
                }
                let texts = headers
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
                let door = door.lock().unwrap().clone().unwrap();
                match door.receive(&texts.collect(), &body).await {
                    Received::Taken => StatusCode::NO_CONTENT.into_response(),
                    Received::Old => {
                        count_old.fetch_add(1, SeqCst);
                        StatusCode::ACCEPTED.into_response()
                    }
                    Received::Answer(words) => words.into_response(),
                    Received::Busy => StatusCode::SERVICE_UNAVAILABLE.into_response(),
                    Received::Malformed => StatusCode::BAD_REQUEST.into_response(),
                    Received::Refused => {
                        count.fetch_add(1, SeqCst);
                        StatusCode::FORBIDDEN.into_response()
                    }
                }
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/twitch/eventsub", listener.local_addr().unwrap());
        let router = Router::new().route("/twitch/eventsub", post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, door, deaf, refused, old }
    }

    fn signed(&self, secret: &str) -> Transport {
        Transport::Webhooks { callback: self.url.clone(), secret: Secret::new(secret) }
    }

    fn opens_to(&self, door: WebhookDoor) {
        *self.door.lock().unwrap() = Some(Arc::new(door));
    }
}

/// `second` is how long one of Twitch's own seconds lasts.
async fn evening(channels: usize, second: Duration) -> (Evening, Address) {
    let people: Vec<Person> = (0..channels).map(Person::creator).collect();
    let settings = Settings { channels: people, second, ..Settings::default() };
    let twitch = Arc::new(PretendTwitch::start(settings).await.unwrap());
    let pool = support::fresh_database().await;
    let owners = Owners::who_allow_the_application(twitch, &pool, channels);
    let address = Address::open().await;
    let mut evening = Evening::by(owners, &pool, address.signed(SECRET));
    address.opens_to(evening.door.take().unwrap());
    for index in 0..channels {
        evening.until(|| evening.health(index).is_some_and(|it| it.confirmed > 20)).await;
    }
    // Asked for and proven are two things.
    let begun = Instant::now();
    loop {
        evening.twitch.say(&login(0), "anna", "essai").unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        if evening.twitch.ledger().iter().any(|it| !it.taken_by.is_empty()) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{:?}", evening.twitch.counters());
    }
    (evening, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_is_kept_once_through_repeats_and_false_signatures() {
    let (evening, address) = evening(2, Duration::from_millis(50)).await;
    let before = evening.twitch.ledger().iter().filter(|it| !it.taken_by.is_empty()).count();
    evening.twitch.faults(|faults| {
        faults.bad_signatures = 3;
        faults.stale_timestamps = 3;
        faults.duplicate_rate = 0.2;
    });
    for n in 0..100 {
        evening.twitch.say(&login(n % 2), "anna", &format!("n° {n}")).unwrap();
    }
    evening.agrees(before + 100).await;
    assert_eq!(evening.twitch.counter("bad_signature"), 3);
    assert_eq!(evening.twitch.counter("stale_timestamp"), 3);
    assert_eq!(address.refused.load(SeqCst), 3, "refused, and came again");
    assert_eq!(
        address.old.load(SeqCst),
        3,
        "what is played back has no effect, and is not asked for again"
    );
    assert!(evening.twitch.counter("duplicate") > 5);
    assert!(evening.audience.kept().repeated > 5);
    assert_eq!(evening.gaps().await, []);
    evening.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_is_refused_and_leaves_nothing() {
    let (evening, address) = evening(1, Duration::from_millis(50)).await;
    let kept = evening.logged().await.len();
    let client = reqwest::Client::new();
    let body = r#"{"subscription":{"type":"channel.follow","version":"2","status":"enabled","condition":{"broadcaster_user_id":"1"}},"event":{"user_id":"7"}}"#;
    let bare = client.post(&address.url).body(body).send().await.unwrap();
    assert_eq!(bare.status(), StatusCode::FORBIDDEN);
    let forged = client
        .post(&address.url)
        .header("Twitch-Eventsub-Message-Id", "1")
        .header("Twitch-Eventsub-Message-Timestamp", "2026-11-20T20:00:00Z")
        .header("Twitch-Eventsub-Message-Signature", format!("sha256={}", "0".repeat(64)))
        .body(body);
    assert_eq!(forged.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(evening.logged().await.len(), kept);
    evening.ends().await;
}

/// What is signed is read, whatever it says; what is changed on the way is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_door_stands_whatever_is_posted() {
    let (evening, address) = evening(1, Duration::from_millis(50)).await;
    let door = address.door.lock().unwrap().clone().unwrap();
    let body = br#"{"subscription":{"id":"1","type":"channel.follow","version":"2","status":"enabled","condition":{"broadcaster_user_id":"1"}},"event":{"user_id":"7","followed_at":"2026-11-20T20:00:00Z"}}"#;
    let of = |name: &str| format!("twitch-eventsub-message-{name}");
    let headers = |id: &str, stamp: &str, signature: String| {
        BTreeMap::from([
            (of("id"), id.to_owned()),
            (of("timestamp"), stamp.to_owned()),
            (of("signature"), signature),
        ])
    };
    let stamp = SystemClock.now().to_rfc3339();
    let whole = headers("m", &stamp, signature(SECRET, "m", &stamp, body));
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    let mut throw = || {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((dice >> 33) as usize, b' ' + (dice >> 24) as u8 % 95)
    };

    // Ten thousand forgeries: one character of the body or of a header is another one, or one is gone.
    let (mut forged, mut of_headers) = (0, 0);
    while forged < 10_000 {
        let (mut told, mut said) = (whole.clone(), body.to_vec());
        let (at, byte) = throw();
        match throw().0 % 4 {
            0 => {
                said.truncate(at % said.len());
            }
            1 => {
                let name = [of("id"), of("timestamp"), of("signature")][throw().0 % 3].clone();
                let mut text = told[&name].clone().into_bytes();
                let place = at % text.len();
                text[place] = byte;
                told.insert(name, String::from_utf8(text).unwrap());
                of_headers += 1;
            }
            _ => {
                let place = at % said.len();
                said[place] = byte;
            }
        }
        if (&told, said.as_slice()) == (&whole, body.as_slice()) {
            continue;
        }
        // In hexadecimal, great letters are small ones.
        let is_spelling = said == body
            && told[&of("signature")].to_lowercase() == whole[&of("signature")]
            && told[&of("id")] == "m"
            && told[&of("timestamp")] == stamp;
        let received = door.receive(&told, &said).await;
        assert!(received == Received::Refused || is_spelling, "{told:?}: {received:?}");
        forged += 1;
    }
    assert!(of_headers > 2_000, "{of_headers}");

    // Signed: whatever it says, it is read.
    let mut seen = BTreeMap::<String, usize>::new();
    for _ in 0..400 {
        let mut said = body.to_vec();
        let (at, byte) = throw();
        let place = at % said.len();
        said[place] = byte;
        let told = headers("m", &stamp, signature(SECRET, "m", &stamp, &said));
        *seen.entry(format!("{:?}", door.receive(&told, &said).await)).or_default() += 1;
    }
    assert!(seen["Malformed"] > 20 && seen["Taken"] > 20, "{seen:?}");
    assert!(!seen.contains_key("Refused"), "{seen:?}");

    // Of another time: no effect, however well signed.
    let kept = evening.audience.kept();
    for minutes in [-11, 11] {
        let old = (SystemClock.now() + chrono::TimeDelta::minutes(minutes)).to_rfc3339();
        let told = headers("old", &old, signature(SECRET, "old", &old, body));
        assert_eq!(door.receive(&told, body).await, Received::Old);
    }
    assert_eq!(evening.audience.kept().stored, kept.stored);
    evening.ends().await;
}

/// With a new secret Twitch's subscriptions are made anew: those of the old one would be refused for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_takes_the_place_of_the_old_one() {
    let (evening, address) = evening(1, Duration::from_millis(50)).await;
    let owners = evening.owners.clone();
    let said = |twitch: &PretendTwitch| {
        let taken = twitch.ledger().into_iter().filter(|it| !it.taken_by.is_empty());
        taken.map(|it| it.business_id.to_string()).collect::<BTreeSet<_>>()
    };
    evening.ends().await;
    let pool = support::fresh_database().await;
    let second = Ear::open(&owners, &pool, "second", address.signed("another secret, as long"));
    let Ear { audience, health, door, stop, listener, spool: _spool } = second;
    address.opens_to(door.unwrap());
    let begun = Instant::now();
    while health.health(&channel(0)).is_none_or(|it| it.confirmed <= 20) {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let refused = address.refused.load(SeqCst);
    let begun = Instant::now();
    loop {
        let id = owners.twitch.say(&login(0), "anna", "avec l'autre clé").unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        if said(&owners.twitch).contains(&id) && audience.kept().stored > 0 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{:?}", owners.twitch.counters());
    }
    assert_eq!(address.refused.load(SeqCst), refused, "nothing is signed by the old one any more");
    stop.cancel();
    listener.await.unwrap();
}

fn signature(secret: &str, id: &str, stamp: &str, body: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    for part in [id.as_bytes(), stamp.as_bytes(), body] {
        mac.update(part);
    }
    let digest = mac.finalize().into_bytes();
    format!("sha256={}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Our address fails for so long that Twitch gives up: the subscriptions are made anew, and the time between is told.
#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_that_twitch_gave_up_stand_again() {
    let (evening, address) = evening(1, Duration::from_millis(10)).await;
    address.deaf.store(true, SeqCst);
    for n in 0..5 {
        evening.twitch.say(&login(0), "anna", &format!("perdu {n}")).unwrap();
    }
    evening.until(|| evening.twitch.counter("notification_failures_exceeded") > 0).await;
    address.deaf.store(false, SeqCst);
    let begun = Instant::now();
    let mut said = BTreeSet::new();
    let is_heard = |said: &BTreeSet<String>| {
        let taken = evening.twitch.ledger().into_iter().filter(|it| !it.taken_by.is_empty());
        taken.into_iter().any(|it| said.contains(&*it.business_id))
    };
    while !is_heard(&said) {
        assert!(begun.elapsed() < 2 * PATIENCE, "{:?}", evening.twitch.counters());
        said.insert(evening.twitch.say(&login(0), "anna", "retrouvé").unwrap());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let begun = Instant::now();
    while evening.gaps().await.is_empty() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    evening.ends().await;
}
