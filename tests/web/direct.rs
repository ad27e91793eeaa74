//! « Direct »: what the channel says reaches the page and its stream, once, and goes when it has to.

#[path = "../notices/mod.rs"]
mod notices;

use chrono::TimeDelta;
use futures::StreamExt;
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

/// The first frames of a stream that begins after `seen`, until one is as wanted.
async fn frame(
    house: &House,
    browser: &Browser,
    seen: Option<i64>,
    is_wanted: impl Fn(&Value) -> bool,
) -> Value {
    let mut request =
        house.get(&format!("/direct/{CHANNEL}/flux")).header("cookie", browser.cookie());
    if let Some(seen) = seen {
        request = request.header("last-event-id", seen);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut bytes = response.bytes_stream();
    let mut text = String::new();
    loop {
        let more = tokio::time::timeout(std::time::Duration::from_secs(20), bytes.next());
        let more = more.await.expect("a frame in time").expect("the stream goes on").unwrap();
        text.push_str(&String::from_utf8_lossy(&more));
        while let Some((event, rest)) = text.split_once("\n\n") {
            let data = event.lines().find_map(|line| line.strip_prefix("data: "));
            let found: Option<Value> = data.map(|data| serde_json::from_str(data).unwrap());
            text = rest.to_owned();
            if let Some(found) = found.filter(&is_wanted) {
                return found;
            }
        }
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
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        hears(&house, &[chat(2, "bob", "deux")]).await;
    };
    let (heard, ()) = tokio::join!(waits, speaks);
    assert_eq!(heard["whole"], false);
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
