//! The rules of a socket: welcome, keepalive, reconnect order, close codes.

use std::time::{Duration, Instant};

use serde_json::json;
use spark::rehearsal::twitch::{Act, PretendTwitch, Settings, StartError, Welcome};
use tokio_tungstenite::tungstenite::Message;

use crate::listener::{CHANNEL, Caller, Heard, Listener, NOUR, chat, text_of, twitch, twitch_with};

const SECOND: Duration = Duration::from_millis(40);

#[tokio::test]
async fn the_welcome_tells_the_session_and_clamps_the_keepalive() {
    let twitch = twitch().await;
    for (asked, told) in [
        ("", 10),
        ("?keepalive_timeout_seconds=3", 10),
        ("?keepalive_timeout_seconds=30", 30),
        ("?keepalive_timeout_seconds=9999", 600),
    ] {
        let listener = Listener::connect(&format!("{}{asked}", twitch.websocket_url())).await;
        let session = &listener.welcome["payload"]["session"];
        assert_eq!(session["status"], "connected");
        assert_eq!(session["keepalive_timeout_seconds"], told, "asked with `{asked}`");
        assert!(session["reconnect_url"].is_null() && session["connected_at"].is_string());
    }
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let settings = Settings { listen: ([192, 0, 2, 1], 0).into(), ..Settings::default() };
    let refused = PretendTwitch::start(settings).await.err();
    assert!(matches!(refused, Some(StartError::NotLoopback(_))));
}

#[tokio::test]
async fn a_socket_without_a_subscription_ends_with_4003() {
    let twitch = twitch().await;
    let begun = Instant::now();
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    assert_eq!(listener.end().await, Heard::Closed(4003));
    assert!(begun.elapsed() >= SECOND * 10);
    assert_eq!(twitch.counter("close_4003"), 1);
}

#[tokio::test]
async fn a_client_that_speaks_ends_with_4001_and_loses_its_subscriptions() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    for message in [Message::text("hello"), Message::Ping("hello".into())] {
        let mut listener = Listener::connect(&twitch.websocket_url()).await;
        nour.hear_chat(&listener).await;
        listener.send(message).await;
        assert_eq!(listener.end().await, Heard::Closed(4001));
    }
    let listed = nour.get("eventsub/subscriptions").await.body;
    for known in listed["data"].as_array().unwrap() {
        assert_eq!(known["status"], "websocket_received_inbound_traffic");
        assert!(known["transport"]["disconnected_at"].is_string());
    }
    assert_eq!(listed["data"].as_array().unwrap().len(), 2, "disabled ones stay listed");
}

#[tokio::test]
async fn a_ping_that_nobody_answers_ends_with_4002() {
    let twitch = twitch_with(Duration::from_millis(10)).await;
    let nour = Caller::user(&twitch, CHANNEL);
    let listener = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&listener).await;
    // Nothing reads the socket, so nothing answers its Pings.
    wait_for(&twitch, "close_4002").await;
    drop(listener);
}

#[tokio::test]
async fn a_client_that_only_answers_pings_stays() {
    let twitch = twitch_with(Duration::from_millis(10)).await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&listener).await;
    let until = Instant::now() + Duration::from_millis(10) * 100;
    while Instant::now() < until {
        assert_eq!(listener.frame().await["metadata"]["message_type"], "session_keepalive");
    }
    assert_eq!(twitch.counter("close_4002"), 0);
}

#[tokio::test]
async fn a_notification_restarts_the_keepalive() {
    let twitch = twitch_with(Duration::from_millis(100)).await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&listener).await;
    let first = listener.frame().await;
    assert_eq!(first["metadata"]["message_type"], "session_keepalive");
    let mut spoken = Instant::now();
    // One window of silence is one second here: messages every third of it keep the keepalive away.
    for number in 0..6 {
        tokio::time::sleep_until((spoken + Duration::from_millis(330)).into()).await;
        twitch.say(CHANNEL, "Ami", &number.to_string()).unwrap();
        assert_eq!(text_of(&listener.frame().await), number.to_string());
        spoken = Instant::now();
    }
    let after = listener.frame().await;
    assert_eq!(after["metadata"]["message_type"], "session_keepalive");
    assert!(spoken.elapsed() >= Duration::from_millis(900), "{:?}", spoken.elapsed());
}

#[tokio::test]
async fn a_reconnect_order_keeps_both_sockets_until_the_new_welcome() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut old = Listener::connect(&twitch.websocket_url()).await;
    let subscription = nour.hear_chat(&old).await;
    twitch.act(Act::Reconnect { socket: None }).unwrap();
    let ordered = Instant::now();
    let order = old.event().await;
    assert_eq!(order["metadata"]["message_type"], "session_reconnect");
    assert_eq!(order["payload"]["session"]["status"], "reconnecting");
    assert!(order["payload"]["session"]["keepalive_timeout_seconds"].is_null());
    let url = order["payload"]["session"]["reconnect_url"].as_str().unwrap().to_owned();
    twitch.say(CHANNEL, "Ami", "encore sur l'ancienne").unwrap();
    assert_eq!(text_of(&old.event().await), "encore sur l'ancienne");

    let mut new = Listener::connect(&url).await;
    twitch.say(CHANNEL, "Ami", "sur la nouvelle").unwrap();
    let notification = new.event().await;
    assert_eq!(text_of(&notification), "sur la nouvelle");
    // The subscription moved by itself: same id, new session.
    let carried = &notification["payload"]["subscription"];
    assert_eq!(carried["id"], subscription["id"]);
    assert_eq!(carried["transport"]["session_id"], new.id.as_str());

    assert_eq!(old.end().await, Heard::Closed(4004));
    assert!(ordered.elapsed() >= SECOND * 30);
    twitch.say(CHANNEL, "Ami", "après").unwrap();
    assert_eq!(text_of(&new.event().await), "après");
    assert_eq!(nour.subscribe(&new, "channel.chat.message", chat()).await.status, 409);
    assert_eq!((twitch.counter("reconnect_order"), twitch.counter("reconnected")), (1, 1));
}

#[tokio::test]
async fn closing_the_old_socket_after_the_new_welcome_loses_nothing() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut old = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&old).await;
    let mut heard = Vec::new();
    for round in 0..5 {
        twitch.act(Act::Reconnect { socket: Some(old.id.clone()) }).unwrap();
        // Talk goes on around the change.
        let talk = |part: &str| {
            for number in 0..50 {
                twitch.say(CHANNEL, "Ami", &format!("{round} {part} {number}")).unwrap();
            }
        };
        talk("before");
        let order = old.event().await;
        let url = order["payload"]["session"]["reconnect_url"].as_str().unwrap();
        let mut new = Listener::open(url).await;
        talk("between");
        let welcome = new.event().await;
        assert_eq!(welcome["metadata"]["message_type"], "session_welcome");
        new.id = welcome["payload"]["session"]["id"].as_str().unwrap().to_owned();
        talk("after");
        // Whatever the old socket got was written before the new welcome.
        while heard.len() < (round + 1) * 150 {
            let frame = tokio::select! {
                frame = old.hear() => frame,
                frame = new.hear() => frame,
            };
            if let Heard::Frame(frame) = frame
                && frame["metadata"]["message_type"] == "notification"
            {
                heard.push(frame["payload"]["event"]["message_id"].as_str().unwrap().to_owned());
            }
        }
        old.close().await;
        old = new;
    }
    heard.sort();
    heard.dedup();
    assert_eq!(heard.len(), 5 * 150);
    // The ledger says so too, once the last write is entered.
    let begun = Instant::now();
    let chat = || {
        let ledger = twitch.ledger().into_iter();
        ledger.filter(|entry| &*entry.kind == "channel.chat.message").collect::<Vec<_>>()
    };
    while !chat().iter().all(|entry| entry.taken_by.len() == 1) {
        assert!(begun.elapsed() < crate::listener::PATIENCE, "every one was on one socket");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(chat().len(), 5 * 150);
}

#[tokio::test]
async fn who_follows_an_order_too_late_gets_4007_and_its_subscriptions_are_gone() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut old = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&old).await;
    twitch.act(Act::Reconnect { socket: None }).unwrap();
    let order = old.event().await;
    let url = order["payload"]["session"]["reconnect_url"].as_str().unwrap().to_owned();
    assert_eq!(old.end().await, Heard::Closed(4004));
    let mut late = Listener::open(&url).await;
    assert_eq!(late.end().await, Heard::Closed(4007));
    let listed = nour.get("eventsub/subscriptions").await.body;
    assert_eq!(listed["data"][0]["status"], "websocket_failed_to_reconnect");
    // A made-up challenge is no better.
    let forged = format!("{}?challenge=mine&id=mine", twitch.websocket_url());
    assert_eq!(Listener::open(&forged).await.end().await, Heard::Closed(4007));
}

#[tokio::test]
async fn a_successor_may_be_welcomed_late_never_or_behind_its_first_notification() {
    let twitch = twitch_with(Duration::from_millis(200)).await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut old = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&old).await;

    twitch.faults(|faults| faults.successor_welcome = Welcome::LateMs(300));
    let mut new = Listener::open(&order(&twitch, &mut old).await).await;
    twitch.say(CHANNEL, "Ami", "pendant l'attente").unwrap();
    assert_eq!(text_of(&old.event().await), "pendant l'attente");
    assert_eq!(new.event().await["metadata"]["message_type"], "session_welcome");
    assert_eq!(twitch.counter("welcome_late"), 1);

    twitch.faults(|faults| faults.successor_welcome = Welcome::Overtaken);
    let mut newer = Listener::open(&order(&twitch, &mut new).await).await;
    wait_for_count(&twitch, "reconnected", 2).await;
    twitch.say(CHANNEL, "Ami", "avant l'accueil").unwrap();
    assert_eq!(text_of(&newer.event().await), "avant l'accueil");
    assert_eq!(newer.event().await["metadata"]["message_type"], "session_welcome");
    assert_eq!(twitch.counter("welcome_overtaken"), 1);

    twitch.faults(|faults| faults.successor_welcome = Welcome::Never);
    let _silent = Listener::open(&order(&twitch, &mut newer).await).await;
    assert_eq!(newer.end().await, Heard::Closed(4004));
    assert_eq!(twitch.counter("welcome_never"), 1);
}

#[tokio::test]
async fn every_close_code_ends_a_socket_with_its_status() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let statuses = [
        (Some(4000), "websocket_internal_error"),
        (Some(4001), "websocket_received_inbound_traffic"),
        (Some(4002), "websocket_failed_ping_pong"),
        (Some(4003), "websocket_connection_unused"),
        (Some(4004), "websocket_failed_to_reconnect"),
        (Some(4005), "websocket_network_timeout"),
        (Some(4006), "websocket_network_error"),
        (Some(4007), "websocket_failed_to_reconnect"),
        (None, "websocket_disconnected"),
    ];
    for (code, status) in statuses {
        let mut listener = Listener::connect(&twitch.websocket_url()).await;
        let subscription = nour.hear_chat(&listener).await;
        twitch.act(Act::Cut { socket: Some(listener.id.clone()), code }).unwrap();
        assert_eq!(listener.end().await, code.map_or(Heard::Gone, Heard::Closed));
        let id = subscription["id"].as_str().unwrap();
        let listed = nour.get(&format!("eventsub/subscriptions?subscription_id={id}")).await.body;
        assert_eq!(listed["data"][0]["status"], status);
        let name = code.map_or("vanished".to_owned(), |code| format!("close_{code}"));
        assert_eq!(twitch.counter(&name), 1, "{name}");
    }
}

#[tokio::test]
async fn what_happens_while_nobody_listens_is_in_the_ledger_alone() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut first = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&first).await;
    twitch.act(Act::Cut { socket: None, code: None }).unwrap();
    assert_eq!(first.end().await, Heard::Gone);
    wait_for(&twitch, "vanished").await;
    let lost = twitch.say(CHANNEL, "Ami", "personne").unwrap();
    let mut second = Listener::connect(&twitch.websocket_url()).await;
    let subscription = nour.hear_chat(&second).await;
    let kept = twitch.say(CHANNEL, "Ami", "quelqu'un").unwrap();
    assert_eq!(second.event().await["payload"]["event"]["message_id"], kept.as_str());
    let ledger = twitch.ledger();
    let entry = |id: &str| ledger.iter().find(|entry| &*entry.business_id == id).unwrap();
    assert!(entry(&lost).subscription_id.is_empty() && entry(&lost).taken_by.is_empty());
    assert_eq!(&*entry(&kept).channel, NOUR);
    assert_eq!(json!(entry(&kept).subscription_id), subscription["id"]);
}

async fn order(twitch: &PretendTwitch, on: &mut Listener) -> String {
    twitch.act(Act::Reconnect { socket: None }).unwrap();
    let order = on.event().await;
    order["payload"]["session"]["reconnect_url"].as_str().expect("an order").to_owned()
}

/// Waits until a fault has really happened.
async fn wait_for(twitch: &PretendTwitch, counter: &str) {
    wait_for_count(twitch, counter, 1).await;
}

async fn wait_for_count(twitch: &PretendTwitch, counter: &str, count: u64) {
    let begun = Instant::now();
    while twitch.counter(counter) < count {
        assert!(begun.elapsed() < crate::listener::PATIENCE, "`{counter}` never came to {count}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
