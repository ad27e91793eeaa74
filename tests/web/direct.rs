//! « Direct »: what the channel says reaches the page and its stream, once, and goes when it has to.

#[path = "../notices/mod.rs"]
mod notices;

use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::TimeDelta;
use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::StatusCode;
use serde_json::Value;
use spark::domain::accounts::Role;
use spark::domain::audience::channel::{Channel, ChannelId};
use spark::domain::audience::notice::Notice;
use spark::domain::live::LiveEvent;
use spark::ports::clock::Clock;
use spark::ports::vault::{Secret, Tokens, Vault};

use self::notices::{CHANNEL, at, chat, deleted, follow, offline, online};
use crate::house::{Browser, House};

/// Longest a thing may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

async fn linked(house: &House) {
    let channel = Channel {
        id: ChannelId::try_new(CHANNEL).unwrap(),
        login: "ana".into(),
        name: "Ana".into(),
        scopes: std::collections::BTreeSet::new(),
        linked_at: house.clock.now(),
        validated_at: house.clock.now(),
        trouble: None,
    };
    let tokens = Tokens {
        access: Secret::new("access-secret"),
        refresh: None,
        expires_at: house.clock.now() + TimeDelta::hours(4),
    };
    house.vault.link(&channel, &tokens).await.unwrap();
}

/// Something happens, and the boards hear of it.
async fn hears(house: &House, notices: &[Notice]) {
    house.app.audience.store(notices).await.unwrap();
    while house.app.boards.step().await.unwrap() > 0 {}
}

async fn read(house: &House, browser: &Browser, path: &str) -> (StatusCode, String) {
    let response = house.get(path).header("cookie", browser.cookie()).send().await.unwrap();
    (response.status(), response.text().await.unwrap())
}

/// An open stream, event by event.
struct Flux {
    bytes: BoxStream<'static, reqwest::Result<Bytes>>,
    held: String,
    retry_ms: Option<u32>,
}

impl Flux {
    /// One that begins after `seen`, or with everything.
    async fn open(house: &House, browser: &Browser, seen: Option<i64>) -> Self {
        let mut request =
            house.get(&format!("/direct/{CHANNEL}/flux")).header("cookie", browser.cookie());
        if let Some(seen) = seen {
            request = request.header("last-event-id", seen);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { bytes: response.bytes_stream().boxed(), held: String::new(), retry_ms: None }
    }

    /// The next event as it was sent; `None` when the stream has ended.
    async fn event(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.held.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.held = rest;
                return Some(self.without_retry(event));
            }
            let more = tokio::time::timeout(PATIENCE, self.bytes.next()).await;
            let more = more.expect("a frame in time")?.unwrap();
            self.held.push_str(&String::from_utf8_lossy(&more));
        }
    }

    /// The first event says after how many milliseconds a page comes back that lost its stream.
    fn without_retry(&mut self, event: String) -> String {
        let Some((retry, event)) =
            event.strip_prefix("retry: ").and_then(|event| event.split_once('\n'))
        else {
            return event;
        };
        assert_eq!(self.retry_ms, None, "once a stream");
        self.retry_ms = Some(retry.parse().expect("milliseconds"));
        event.to_owned()
    }

    async fn frame(&mut self) -> Value {
        parsed(&self.event().await.expect("the stream goes on"))
    }

    /// The first event from here on whose frame is as wanted, as it was sent.
    async fn until(&mut self, is_wanted: impl Fn(&Value) -> bool) -> String {
        loop {
            let event = self.event().await.expect("the stream goes on");
            if is_wanted(&parsed(&event)) {
                return event;
            }
        }
    }
}

#[tokio::test]
async fn a_page_that_lost_its_stream_comes_back_after_a_time_of_its_own() {
    let house = House::open().await;
    let browser = house.sign_in(Role::Streamer).await;
    let mut times = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let mut flux = Flux::open(&house, &browser, None).await;
        flux.event().await.expect("a frame");
        let retry_ms = flux.retry_ms.expect("a time to come back");
        assert!((1_000..2_000).contains(&retry_ms), "the console comes back soon: {retry_ms}");
        times.insert(retry_ms);
    }
    assert!(times.len() > 2, "not all at once: {times:?}");
    house.stop().await;
}

fn parsed(event: &str) -> Value {
    let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let frame: Value = serde_json::from_str(data).unwrap();
    assert!(event.starts_with(&format!("id: {}\n", frame["seq"])), "{event}");
    frame
}

/// The first frame of a stream that begins after `seen` that is as wanted.
async fn frame(
    house: &House,
    browser: &Browser,
    seen: Option<i64>,
    is_wanted: impl Fn(&Value) -> bool,
) -> Value {
    parsed(&Flux::open(house, browser, seen).await.until(is_wanted).await)
}

/// What the house counts under this name.
async fn counted(house: &House, name: &str) -> u64 {
    let text = house.get("/metrics").send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// Waits until no live page is fed any more.
async fn all_is_quiet(house: &House) {
    let begun = Instant::now();
    while counted(house, "spark_direct_tickers").await > 0 {
        assert!(begun.elapsed() < PATIENCE, "a ticker goes on although nobody reads");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn texts(frame: &Value) -> Vec<&str> {
    frame["lines"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn without_a_channel_the_page_says_what_to_do() {
    let house = House::open().await;
    let browser = house.sign_in(Role::Streamer).await;
    let (status, page) = read(&house, &browser, "/direct").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("Aucune chaîne à écouter"));
    assert!(!page.contains("Relier une chaîne"), "a streamer may not");
}

#[tokio::test]
async fn the_page_is_whole_without_a_script() {
    let house = House::open().await;
    linked(&house).await;
    let browser = house.sign_in(Role::Streamer).await;
    let said = chat(2, "<b>anna</b>", "<script>alert(1)</script>");
    hears(&house, &[online(0), said, follow(3, "bob")]).await;
    let (status, page) = read(&house, &browser, &format!("/direct/{CHANNEL}")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("&#60;script&#62;alert(1)") || page.contains("&lt;script&gt;alert(1)"));
    assert!(!page.contains("<script>alert"));
    assert!(page.contains("bob suit la chaîne"));
    assert!(page.contains("n'est pas écoutée") || page.contains("n&#39;est pas écoutée"));
    let (status, _) = read(&house, &browser, "/direct/4242").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_reader_who_comes_back_gets_what_they_lack_and_nothing_twice() {
    let house = House::open().await;
    linked(&house).await;
    let browser = house.sign_in(Role::Streamer).await;
    hears(&house, &[online(0), chat(1, "anna", "un"), chat(2, "bob", "deux")]).await;
    let whole = frame(&house, &browser, None, |_| true).await;
    assert_eq!((texts(&whole), &whole["whole"]), (vec!["un", "deux"], &Value::Bool(true)));
    let seen = whole["seq"].as_i64().unwrap();
    hears(&house, &[chat(3, "anna", "trois"), chat(4, "bob", "quatre"), deleted(5, 2)]).await;
    let missed = frame(&house, &browser, Some(seen), |_| true).await;
    assert_eq!((texts(&missed), &missed["whole"]), (vec!["trois", "quatre"], &Value::Bool(false)));
    assert_eq!(missed["gone"], serde_json::json!(["said-2"]));
    // Somebody who was away for a whole evening begins anew.
    let many: Vec<Notice> = (10..600).map(|n| chat(n, "anna", &format!("n° {n}"))).collect();
    hears(&house, &many).await;
    let anew = frame(&house, &browser, Some(seen), |_| true).await;
    assert_eq!(anew["whole"], true);
    assert_eq!(texts(&anew).last(), Some(&"n° 599"));
}

#[tokio::test]
async fn a_burst_is_merged_and_counted() {
    let house = House::open().await;
    linked(&house).await;
    let browser = house.sign_in(Role::Streamer).await;
    hears(&house, &[online(0)]).await;
    let seen = house.app.boards.look(&ChannelId::try_new(CHANNEL).unwrap(), |board| board.seq);
    let burst: Vec<Notice> = (1..=300).map(|n| chat(n, "anna", &format!("n° {n}"))).collect();
    hears(&house, &burst).await;
    let merged = frame(&house, &browser, Some(seen), |_| true).await;
    assert_eq!(texts(&merged).len(), 20);
    assert_eq!((&merged["more"], texts(&merged)[19]), (&Value::from(280), "n° 300"));
}

#[tokio::test]
async fn a_stream_that_is_open_hears_what_happens_next() {
    let house = House::open().await;
    linked(&house).await;
    let browser = house.sign_in(Role::Streamer).await;
    hears(&house, &[online(0), chat(1, "anna", "un")]).await;
    let waits = frame(&house, &browser, None, |frame| texts(frame) == ["deux"]);
    let speaks = async {
        // Only what comes after the first frame is sent by itself.
        tokio::time::sleep(Duration::from_millis(300)).await;
        hears(&house, &[chat(2, "bob", "deux")]).await;
    };
    let (heard, ()) = tokio::join!(waits, speaks);
    assert_eq!(heard["whole"], false);
}

#[tokio::test]
async fn readers_in_step_are_given_the_very_same_frame() {
    let house = House::open().await;
    linked(&house).await;
    let browser = house.sign_in(Role::Streamer).await;
    hears(&house, &[online(0), chat(1, "anna", "un")]).await;
    let mut ana = Flux::open(&house, &browser, None).await;
    let mut leo = Flux::open(&house, &browser, None).await;
    assert_eq!(texts(&ana.frame().await), texts(&leo.frame().await));
    for (n, word) in [(2, "deux"), (3, "trois"), (4, "quatre")] {
        hears(&house, &[chat(n, "bob", word)]).await;
        let told = ana.until(|frame| texts(frame) == [word]).await;
        assert_eq!(leo.until(|frame| texts(frame) == [word]).await, told);
    }
    assert_eq!(counted(&house, "spark_direct_own_frames_total").await, 2, "one each, at the start");
    assert!(counted(&house, "spark_direct_shared_frames_total").await >= 3);
    assert_eq!(counted(&house, "spark_direct_tickers").await, 1);
}

#[tokio::test]
async fn whoever_joins_in_the_middle_misses_nothing_and_sees_nothing_twice() {
    const LAST: i64 = 70;
    let house = House::open().await;
    linked(&house).await;
    let browser = house.sign_in(Role::Streamer).await;
    hears(&house, &[online(0)]).await;
    let channel = ChannelId::try_new(CHANNEL).unwrap();
    let seq = || house.app.boards.look(&channel, |board| board.seq);
    let number = |text: &str| text.strip_prefix("n° ").unwrap().parse::<i64>().unwrap();
    // Reads until the end; says every number it was shown. Some hang up on the way and come back.
    let reads = async |wait_ms: u64, page_is_open: bool, hangs_up: bool| {
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        // A page shows everything up to now already; else the stream begins with everything.
        let seen = page_is_open.then(seq);
        let first = house.app.boards.look(&channel, |board| board.messages as i64) + 1;
        let mut flux = Flux::open(&house, &browser, seen).await;
        let (mut shown, mut frames) = (Vec::new(), 0);
        while shown.last() != Some(&LAST) {
            let frame = flux.frame().await;
            assert_eq!(frame["more"], 0, "so few are all shown");
            assert_eq!(frame["whole"], !page_is_open && frames == 0);
            shown.extend(texts(&frame).into_iter().map(number));
            frames += 1;
            if hangs_up && frames % 4 == 0 {
                flux = Flux::open(&house, &browser, frame["seq"].as_i64()).await;
            }
        }
        let from = if page_is_open { first } else { 1 };
        assert_eq!(shown, (from..=LAST).collect::<Vec<_>>(), "{page_is_open} {hangs_up}");
    };
    let talks = async {
        for n in 1..=LAST {
            hears(&house, &[chat(n, "anna", &format!("n° {n}"))]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::join!(
        talks,
        reads(0, false, false),
        reads(130, true, false),
        reads(470, true, true),
        reads(810, false, false),
        reads(1_010, true, false),
        reads(1_130, false, true),
    );
}

#[tokio::test]
async fn what_has_to_go_goes_from_every_page() {
    let house = House::open().await;
    linked(&house).await;
    let browser = house.sign_in(Role::Streamer).await;
    hears(&house, &[online(0), chat(1, "anna", "un"), chat(2, "bob", "deux")]).await;
    let mut ana = Flux::open(&house, &browser, None).await;
    let mut leo = Flux::open(&house, &browser, None).await;
    assert_eq!((texts(&ana.frame().await).len(), texts(&leo.frame().await).len()), (2, 2));
    hears(&house, &[deleted(3, 1)]).await;
    let is_told = |frame: &Value| frame["gone"] == serde_json::json!(["said-1"]);
    assert_eq!(ana.until(is_told).await, leo.until(is_told).await);
    // An erasure is no notice of Twitch's: nothing new is said, and it is told all the same.
    house.clock.set(at(60));
    house.app.audience.erase_viewer(&notices::viewer_id("bob")).await.unwrap();
    house.app.boards.look_for_erasures().await.unwrap();
    let is_told = |frame: &Value| frame["gone"] == serde_json::json!(["said-2"]);
    tokio::join!(ana.until(is_told), leo.until(is_told));
}

#[tokio::test]
async fn a_hundred_at_once_are_twenty_and_a_number_for_everybody() {
    let house = House::open().await;
    linked(&house).await;
    let browser = house.sign_in(Role::Streamer).await;
    hears(&house, &[online(0)]).await;
    let mut ana = Flux::open(&house, &browser, None).await;
    let mut leo = Flux::open(&house, &browser, None).await;
    assert_eq!((texts(&ana.frame().await).len(), texts(&leo.frame().await).len()), (0, 0));
    let burst = |from: i64| {
        (from..from + 100).map(|n| chat(n, "anna", &format!("n° {n}"))).collect::<Vec<Notice>>()
    };
    let begun = Instant::now();
    hears(&house, &burst(1)).await;
    let is_told = |frame: &Value| frame["more"] != 0;
    let first = ana.until(is_told).await;
    assert_eq!(leo.until(is_told).await, first);
    let first = parsed(&first);
    assert_eq!((texts(&first).len(), &first["more"]), (20, &Value::from(80)));
    assert_eq!((texts(&first)[0], texts(&first)[19]), ("n° 81", "n° 100"), "the newest");
    // At once again: as many as the time allows, and those that were left out do not come later.
    hears(&house, &burst(101)).await;
    let next = parsed(&ana.until(is_told).await);
    let (shown, more) = (texts(&next).len() as u64, next["more"].as_u64().unwrap());
    assert_eq!(shown + more, 100);
    assert!(shown as f64 <= begun.elapsed().as_secs_f64() * 20.0, "{shown} more lines already");
    hears(&house, &[chat(300, "bob", "fin")]).await;
    let last = parsed(&ana.until(|frame| texts(frame).last() == Some(&"fin")).await);
    assert_eq!((texts(&last), &last["more"]), (vec!["fin"], &Value::from(0)));
}

#[tokio::test]
async fn a_ticker_ends_with_its_last_reader() {
    let house = House::open().await;
    linked(&house).await;
    let browser = house.sign_in(Role::Streamer).await;
    let mut ana = Flux::open(&house, &browser, None).await;
    let leo = Flux::open(&house, &browser, None).await;
    ana.frame().await;
    assert_eq!(counted(&house, "spark_direct_tickers").await, 1);
    drop(leo);
    hears(&house, &[online(0), chat(1, "anna", "un")]).await;
    ana.until(|frame| texts(frame) == ["un"]).await;
    drop(ana);
    all_is_quiet(&house).await;
    // Whoever comes then is fed again.
    let mut ana = Flux::open(&house, &browser, None).await;
    assert_eq!(texts(&ana.frame().await), ["un"]);
    hears(&house, &[chat(2, "bob", "deux")]).await;
    ana.until(|frame| texts(frame) == ["deux"]).await;
    // And the house does not wait for who reads.
    house.app.boards.close();
    while ana.event().await.is_some() {}
    all_is_quiet(&house).await;
}

#[tokio::test]
async fn a_reader_who_stops_reading_holds_nobody_up_and_catches_up() {
    const ROUNDS: i64 = 60;
    let house = House::open().await;
    linked(&house).await;
    let browser = house.sign_in(Role::Streamer).await;
    hears(&house, &[online(0)]).await;
    let mut quick = Flux::open(&house, &browser, None).await;
    let mut slow = Flux::open(&house, &browser, None).await;
    quick.frame().await;
    slow.frame().await;
    // Names so long that they fill every buffer on the way to who does not read.
    let long = "é".repeat(50_000);
    for round in 1..=ROUNDS {
        let follows = (0..8).map(|n| follow(round * 10 + n, &format!("{long}{round}{n}")));
        let mut happens: Vec<Notice> = follows.collect();
        happens.push(chat(round, "anna", &format!("n° {round}")));
        hears(&house, &happens).await;
        let word = format!("n° {round}");
        quick.until(|frame| texts(frame).last() == Some(&word.as_str())).await;
    }
    assert_eq!(counted(&house, "spark_direct_own_frames_total").await, 2, "nobody read on");
    let (mut shown, mut left_out) = (Vec::new(), 0);
    let last = format!("n° {ROUNDS}");
    while shown.last() != Some(&last) {
        let frame = slow.frame().await;
        assert_eq!(frame["whole"], false);
        shown.extend(texts(&frame).into_iter().map(str::to_owned));
        left_out += frame["more"].as_i64().unwrap();
    }
    assert_eq!(counted(&house, "spark_direct_own_frames_total").await, 3, "one to catch up");
    assert_eq!(shown.len() as i64 + left_out, ROUNDS);
    let numbers = shown.iter().map(|text| text[4..].parse::<i64>().unwrap());
    assert!(numbers.is_sorted_by(|one, next| one < next), "{shown:?}");
}

#[tokio::test]
async fn a_key_on_a_desk_marks_its_channel_and_no_other() {
    let house = House::open().await;
    linked(&house).await;
    hears(&house, &[online(0)]).await;
    let channel = |id| ChannelId::try_new(id).unwrap();
    let press = |key: String| {
        let request = house.post(&format!("/direct/{CHANNEL}/marque"));
        request.header("authorization", format!("Bearer {key}")).send()
    };
    let streamer = house.sign_in(Role::Streamer).await;
    let (_, page) = read(&house, &streamer, &format!("/direct/{CHANNEL}")).await;
    let key = house.app.mark_key(&channel(CHANNEL));
    assert!(page.contains(&key) && page.contains(&format!("/direct/{CHANNEL}/marque")));
    let guest = house.sign_in(Role::Sponsor).await;
    let (_, page) = read(&house, &guest, &format!("/direct/{CHANNEL}")).await;
    assert!(!page.contains(&key), "who may not mark gets no key");
    let answer = press(key).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let marked: Value = answer.json().await.unwrap();
    assert!(marked["offset_ms"].as_i64().is_some(), "{marked}");
    for wrong in [house.app.mark_key(&channel("4242")), String::new(), "x".repeat(43)] {
        assert_eq!(press(wrong).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    let live = spark::domain::ids::LiveId::on_air(CHANNEL, at(0));
    let history = house.app.audience.ledger.history(live.as_uuid()).await.unwrap();
    let marks = history.iter().filter(|it| {
        matches!(it.event, spark::domain::event::Event::Live(LiveEvent::Marked { by: None, .. }))
    });
    assert_eq!(marks.count(), 1);
}

#[tokio::test]
async fn an_erased_viewer_leaves_every_page_at_once() {
    let house = House::open().await;
    house.clock.set(at(60));
    linked(&house).await;
    let admin = house.sign_in(Role::Admin).await;
    hears(&house, &[online(0), chat(1, "anna", "mon secret"), chat(2, "bob", "salut")]).await;
    let seen = house.app.boards.look(&ChannelId::try_new(CHANNEL).unwrap(), |board| board.seq);
    let erase = |who: String| {
        house
            .post("/effacement")
            .header("cookie", admin.cookie())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("csrf={}&spectateur={who}", admin.csrf))
            .send()
    };
    let refused = erase("anna".into()).await.unwrap().text().await.unwrap();
    assert!(refused.contains("que des chiffres"), "{refused}");
    let (_, page) = read(&house, &admin, &format!("/direct/{CHANNEL}")).await;
    assert!(page.contains("mon secret"));
    let done = erase(notices::viewer_id("anna")).await.unwrap().text().await.unwrap();
    assert!(done.contains("tout est effacé"), "{done}");
    let (_, page) = read(&house, &admin, &format!("/direct/{CHANNEL}")).await;
    assert!(!page.contains("mon secret") && page.contains("salut"));
    let told = frame(&house, &admin, Some(seen), |_| true).await;
    assert_eq!(told["gone"], serde_json::json!(["said-1"]));
    let live = spark::domain::ids::LiveId::on_air(CHANNEL, at(0));
    let kept = house.app.audience.ledger.messages_of(live).await.unwrap();
    assert_eq!(kept.len(), 1);
}

#[tokio::test]
async fn votes_and_the_latest_moment_are_told() {
    let house = House::open().await;
    linked(&house).await;
    let browser = house.sign_in(Role::Streamer).await;
    hears(&house, &[online(0)]).await;
    let (_, page) = read(&house, &browser, &format!("/direct/{CHANNEL}")).await;
    assert!(page.contains("Dernier moment") && page.contains("Aucun encore"));
    let now = (house.clock.now() - at(0)).num_seconds();
    let votes = [chat(now - 2, "anna", "!clip"), chat(now - 1, "bob", "!CLIP vite")];
    hears(&house, &votes).await;
    let told = frame(&house, &browser, None, |_| true).await;
    let votes = told["figures"]["votes"].as_str().unwrap().replace('\u{a0}', " ");
    assert_eq!(votes, "2 personnes demandent un clip");
}

#[tokio::test]
async fn a_mark_is_set_while_the_channel_is_on_air_only() {
    let house = House::open().await;
    linked(&house).await;
    let browser = house.sign_in(Role::Streamer).await;
    let mark = || {
        house
            .post(&format!("/direct/{CHANNEL}/marque"))
            .header("cookie", browser.cookie())
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("csrf={}", browser.csrf))
            .send()
    };
    assert_eq!(mark().await.unwrap().status(), StatusCode::CONFLICT);
    hears(&house, &[online(0)]).await;
    let answer = mark().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let live = spark::domain::ids::LiveId::on_air(CHANNEL, at(0));
    let history = house.app.audience.ledger.history(live.as_uuid()).await.unwrap();
    let marks = history.iter().filter(|it| {
        matches!(it.event, spark::domain::event::Event::Live(LiveEvent::Marked { .. }))
    });
    assert_eq!(marks.count(), 1);
    hears(&house, &[offline(60)]).await;
    assert_eq!(mark().await.unwrap().status(), StatusCode::CONFLICT);
}
