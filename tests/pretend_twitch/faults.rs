//! Every knob does what it says, and its counter tells how often.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use spark::rehearsal::twitch::{Act, ForcedAnswer, Oddity};

use crate::listener::{CHANNEL, Caller, Listener, NOUR, chat, text_of, twitch};

#[tokio::test]
async fn duplicates_repeat_the_message_id() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&listener).await;
    twitch.faults(|faults| faults.duplicate_rate = 0.3);
    for number in 0..200 {
        twitch.say(CHANNEL, "Ami", &number.to_string()).unwrap();
    }
    let doubled = twitch.counter("duplicate");
    assert!((30..90).contains(&doubled), "{doubled} of 200");
    let mut times: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..200 + doubled {
        let frame = listener.event().await;
        let id = frame["metadata"]["message_id"].as_str().unwrap().to_owned();
        *times.entry(id).or_default() += 1;
    }
    assert_eq!(times.len(), 200);
    assert_eq!(times.values().filter(|count| **count == 2).count() as u64, doubled);
}

#[tokio::test]
async fn a_window_reorders_within_its_width_and_loses_nothing() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&listener).await;
    twitch.faults(|faults| faults.reorder_window = 8);
    for number in 0..300 {
        twitch.say(CHANNEL, "Ami", &number.to_string()).unwrap();
    }
    let mut heard = Vec::new();
    for _ in 0..300 {
        heard.push(text_of(&listener.event().await).parse::<usize>().unwrap());
    }
    let mut sorted = heard.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..300).collect::<Vec<_>>());
    let mut highest = 0;
    let mut late = 0;
    for number in heard {
        late += u64::from(number < highest);
        highest = highest.max(number);
    }
    assert!(late > 20, "{late} came late");
    assert_eq!(twitch.counter("reordered"), late);
}

#[tokio::test]
async fn answers_can_be_forced_with_points_left_or_without() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let listener = Listener::connect(&twitch.websocket_url()).await;
    let forced = [
        (401, None),
        (403, None),
        (409, None),
        (429, Some(0)),
        (429, Some(500)),
        (500, None),
        (503, None),
    ];
    for (status, remaining) in forced {
        let answer = ForcedAnswer {
            method: Some("POST".into()),
            path: "eventsub/subscriptions".into(),
            status,
            remaining,
            times: 1,
            after_doing_it: false,
        };
        twitch.faults(|faults| faults.answers.push(answer));
        let answer = nour.subscribe(&listener, "channel.chat.message", chat()).await;
        assert_eq!(answer.status, status);
        if let Some(remaining) = remaining {
            let told = answer.headers["Ratelimit-Remaining"].to_str().unwrap();
            assert_eq!(told, remaining.to_string());
        }
        assert!(answer.headers.contains_key("Ratelimit-Reset"));
    }
    assert_eq!((twitch.counter("answer_429"), twitch.counter("answer_503")), (2, 1));
    nour.hear_chat(&listener).await;
}

/// Whether a frame shows what was asked for.
type Look = fn(&Value) -> bool;

#[tokio::test]
async fn oddities_come_as_frames_nobody_saw_before() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&listener).await;
    let looks: [(Oddity, &str, Look); 6] = [
        (Oddity::MessageType, "odd_message_type", |frame| {
            frame["metadata"]["message_type"] == "session_surprise"
        }),
        (Oddity::Type, "odd_type", |frame| {
            frame["payload"]["subscription"]["type"] == "channel.surprise"
        }),
        (Oddity::Version, "odd_version", |frame| frame["metadata"]["subscription_version"] == "99"),
        (Oddity::EnumValue, "odd_enum_value", |frame| {
            frame["payload"]["event"]["message_type"] == "hologram"
        }),
        (Oddity::Field, "odd_field", |frame| frame["payload"]["event"]["surprise"].is_object()),
        (Oddity::Null, "odd_null", |frame| frame["payload"]["event"]["badges"].is_null()),
    ];
    for (what, counter, look) in looks {
        twitch.act(Act::Odd { channel: CHANNEL.into(), what }).unwrap();
        let frame = listener.event().await;
        assert!(look(&frame), "{what:?} came as {frame}");
        assert_eq!(twitch.counter(counter), 1);
    }
}

#[tokio::test]
async fn the_clock_can_be_wrong_and_the_keepalives_silent() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&listener).await;
    twitch.faults(|faults| {
        faults.clock_skew_ms = 3_600_000;
        faults.keepalive_silent = true;
    });
    while twitch.counter("keepalive_silenced") < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    twitch.say(CHANNEL, "Ami", "du futur").unwrap();
    let frame = listener.frame().await;
    assert_eq!(text_of(&frame), "du futur");
    let stamp = frame["metadata"]["message_timestamp"].as_str().unwrap();
    let stamp: std::time::SystemTime = chrono::DateTime::parse_from_rfc3339(stamp).unwrap().into();
    assert!(stamp > std::time::SystemTime::now() + std::time::Duration::from_secs(3_500));
    assert!(twitch.counter("skewed") > 0);
}

#[tokio::test]
async fn a_gift_bomb_brings_its_whole_family() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    let alone = json!({"broadcaster_user_id": NOUR});
    for (kind, condition) in [
        ("channel.chat.notification", chat()),
        ("channel.subscribe", alone.clone()),
        ("channel.subscription.gift", alone),
    ] {
        assert_eq!(nour.subscribe(&listener, kind, condition).await.status, 202);
    }
    twitch
        .act(Act::GiftBomb { channel: CHANNEL.into(), giver: "Mécène".into(), count: 5 })
        .unwrap();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..12 {
        let frame = listener.event().await;
        let event = &frame["payload"]["event"];
        let kind = frame["metadata"]["subscription_type"].as_str().unwrap();
        let name = event["notice_type"].as_str().unwrap_or(kind).to_owned();
        if name == "channel.subscribe" {
            assert_eq!(event["is_gift"], true);
        }
        if name == "channel.subscription.gift" {
            assert_eq!(event["total"], 5);
        }
        *seen.entry(name).or_default() += 1;
    }
    let family = [
        ("channel.subscribe", 5),
        ("channel.subscription.gift", 1),
        ("community_sub_gift", 1),
        ("sub_gift", 5),
    ];
    assert_eq!(seen, family.map(|(name, count)| (name.to_owned(), count)).into());
    let listed = nour.get(&format!("subscriptions?broadcaster_id={NOUR}")).await.body;
    assert_eq!((&listed["total"], &listed["points"]), (&json!(5), &json!(5)));
}

#[tokio::test]
async fn a_shared_chat_shows_one_message_in_every_channel_with_its_source() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&listener).await;
    let other = json!({"broadcaster_user_id": "700100201", "user_id": NOUR});
    assert_eq!(nour.subscribe(&listener, "channel.chat.message", other).await.status, 202);
    let channels = vec![CHANNEL.to_owned(), "villamalo".to_owned()];
    twitch.act(Act::SharedSay { channels, viewer: "Ami".into(), text: "partout".into() }).unwrap();
    let (one, two) = (listener.event().await, listener.event().await);
    let (one, two) = (&one["payload"]["event"], &two["payload"]["event"]);
    assert_eq!(one["source_message_id"], two["source_message_id"]);
    assert_eq!(one["message_id"], one["source_message_id"]);
    assert_ne!(one["message_id"], two["message_id"]);
    assert_eq!(two["source_broadcaster_user_id"], NOUR);
}

#[tokio::test]
async fn a_moderator_deletes_and_bans() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    for kind in ["channel.chat.message_delete", "channel.chat.clear_user_messages"] {
        assert_eq!(nour.subscribe(&listener, kind, chat()).await.status, 202);
    }
    let message_id = twitch.say(CHANNEL, "Troll", "grossier").unwrap();
    twitch
        .act(Act::DeleteMessage { channel: CHANNEL.into(), message_id: message_id.clone() })
        .unwrap();
    let deleted = listener.event().await;
    assert_eq!(deleted["payload"]["event"]["message_id"], message_id.as_str());
    assert_eq!(deleted["payload"]["event"]["target_user_login"], "troll");
    let again = twitch.act(Act::DeleteMessage { channel: CHANNEL.into(), message_id });
    assert!(again.is_err());
    twitch
        .act(Act::Ban { channel: CHANNEL.into(), viewer: "Troll".into(), seconds: Some(600) })
        .unwrap();
    let cleared = listener.event().await;
    assert_eq!(cleared["metadata"]["subscription_type"], "channel.chat.clear_user_messages");
}
