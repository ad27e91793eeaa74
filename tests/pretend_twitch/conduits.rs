//! Conduits: shards take turns, subscriptions outlive the sockets.

use std::time::Instant;

use serde_json::{Value, json};
use spark::rehearsal::twitch::{Act, PretendTwitch};

use crate::listener::{
    CHANNEL, Caller, Heard, Listener, MALO, NOUR, PATIENCE, chat, text_of, twitch,
};
use crate::webhooks::{Callback, SECRET};

async fn conduit(app: &Caller, shards: u32) -> String {
    let made = app.post("eventsub/conduits", json!({"shard_count": shards})).await;
    assert_eq!(made.status, 200, "{made:?}");
    made.body["data"][0]["id"].as_str().unwrap().to_owned()
}

async fn attach(app: &Caller, conduit: &str, shard: &str, on: &Listener) -> Value {
    let transport = json!({"method": "websocket", "session_id": on.id});
    let wish = json!({"conduit_id": conduit, "shards": [{"id": shard, "transport": transport}]});
    let answer = app.call("PATCH", "eventsub/conduits/shards", Some(wish)).await;
    assert_eq!(answer.status, 202);
    answer.body
}

async fn subscribe(app: &Caller, conduit: &str, kind: &str, condition: Value) {
    let transport = json!({"method": "conduit", "conduit_id": conduit});
    let wish =
        json!({"type": kind, "version": "1", "condition": condition, "transport": transport});
    let answer = app.post("eventsub/subscriptions", wish).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

fn house(twitch: &PretendTwitch) -> Caller {
    twitch.user_token(CHANNEL, &[]).unwrap();
    twitch.user_token(MALO, &[]).unwrap();
    Caller::app(twitch)
}

#[tokio::test]
async fn subscriptions_survive_a_drop_and_the_other_shard_steps_in() {
    let twitch = twitch().await;
    let app = house(&twitch);
    let id = conduit(&app, 2).await;
    let mut first = Listener::connect(&twitch.websocket_url()).await;
    let mut second = Listener::connect(&twitch.websocket_url()).await;
    assert_eq!(attach(&app, &id, "0", &first).await["data"][0]["status"], "enabled");
    attach(&app, &id, "1", &second).await;
    subscribe(&app, &id, "channel.chat.message", chat()).await;
    subscribe(&app, &id, "conduit.shard.disabled", json!({"client_id": "pretendclient"})).await;

    twitch.say(CHANNEL, "Ami", "par un canal").unwrap();
    let (heard, by_first) = tokio::select! {
        frame = first.event() => (frame, true),
        frame = second.event() => (frame, false),
    };
    assert_eq!(text_of(&heard), "par un canal");
    let transport = &heard["payload"]["subscription"]["transport"];
    assert_eq!(*transport, json!({"method": "conduit", "conduit_id": id}));

    // The socket that had the channel drops: the other one gets the news and the chat.
    let (mut gone, mut left) = if by_first { (first, second) } else { (second, first) };
    twitch.act(Act::Cut { socket: Some(gone.id.clone()), code: None }).unwrap();
    assert_eq!(gone.end().await, Heard::Gone);
    let news = left.event().await;
    assert_eq!(news["metadata"]["subscription_type"], "conduit.shard.disabled");
    assert_eq!(news["payload"]["event"]["status"], "websocket_disconnected");
    assert_eq!(twitch.counter("shard_disabled"), 1);
    twitch.say(CHANNEL, "Ami", "par l'autre").unwrap();
    assert_eq!(text_of(&left.event().await), "par l'autre");

    // A fresh session takes the place; nothing is subscribed anew.
    let mut fresh = Listener::connect(&twitch.websocket_url()).await;
    let shard = news["payload"]["event"]["shard_id"].as_str().unwrap();
    attach(&app, &id, shard, &fresh).await;
    twitch.say(CHANNEL, "Ami", "de retour").unwrap();
    assert_eq!(text_of(&fresh.event().await), "de retour");
    let shards = app.get(&format!("eventsub/conduits/shards?conduit_id={id}&status=enabled")).await;
    assert_eq!(shards.body["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn with_every_shard_disabled_events_are_dropped_but_noted() {
    let twitch = twitch().await;
    let app = house(&twitch);
    let id = conduit(&app, 1).await;
    let listener = Listener::connect(&twitch.websocket_url()).await;
    attach(&app, &id, "0", &listener).await;
    subscribe(&app, &id, "channel.chat.message", chat()).await;
    let status = "websocket_network_error".to_owned();
    twitch.act(Act::DisableShard { conduit: id, shard: 0, status }).unwrap();
    let lost = twitch.say(CHANNEL, "Ami", "perdu").unwrap();
    assert_eq!(twitch.counter("not_carried"), 1);
    let ledger = twitch.ledger();
    let entry = ledger.iter().find(|entry| *entry.business_id == *lost).unwrap();
    assert!(!entry.subscription_id.is_empty() && entry.taken_by.is_empty());
}

#[tokio::test]
async fn conduits_are_counted_resized_and_deleted() {
    let twitch = twitch().await;
    let app = house(&twitch);
    let id = conduit(&app, 3).await;
    for _ in 1..5 {
        conduit(&app, 1).await;
    }
    assert_eq!(app.post("eventsub/conduits", json!({"shard_count": 1})).await.status, 429);
    assert_eq!(app.post("eventsub/conduits", json!({"shard_count": 0})).await.status, 400);
    let smaller = json!({"id": id, "shard_count": 2});
    let resized = app.call("PATCH", "eventsub/conduits", Some(smaller)).await;
    assert_eq!(resized.body["data"][0]["shard_count"], 2);
    let listener = Listener::connect(&twitch.websocket_url()).await;
    let refused = attach(&app, &id, "2", &listener).await;
    assert_eq!(refused["errors"][0]["code"], "not_found");
    subscribe(&app, &id, "stream.online", json!({"broadcaster_user_id": NOUR})).await;
    assert_eq!(app.call("DELETE", &format!("eventsub/conduits?id={id}"), None).await.status, 204);
    let listed = app.get("eventsub/subscriptions").await.body;
    assert_eq!(listed["data"][0]["status"], "conduit_deleted");
    let nour = Caller::user(&twitch, CHANNEL);
    assert_eq!(nour.get("eventsub/conduits").await.status, 401);
}

#[tokio::test]
async fn an_app_reads_chat_only_with_the_readers_and_the_broadcasters_leave() {
    let twitch = twitch().await;
    let app = Caller::app(&twitch);
    let id = conduit(&app, 1).await;
    let transport = json!({"method": "conduit", "conduit_id": id});
    let both = json!({"broadcaster_user_id": MALO, "user_id": NOUR});
    let wish = json!({"type": "channel.chat.message", "version": "1", "condition": both, "transport": transport});
    twitch.user_token(CHANNEL, &["user:read:chat", "user:bot"]).unwrap();
    assert_eq!(app.post("eventsub/subscriptions", wish.clone()).await.status, 403);
    twitch.user_token(MALO, &["channel:bot"]).unwrap();
    assert_eq!(app.post("eventsub/subscriptions", wish).await.status, 202);
}

#[tokio::test]
async fn a_webhook_shard_is_challenged_as_a_shard() {
    let (twitch, callback) = (twitch().await, Callback::start().await);
    let app = house(&twitch);
    let id = conduit(&app, 1).await;
    let transport = json!({"method": "webhook", "callback": callback.url, "secret": SECRET});
    let wish = json!({"conduit_id": id, "shards": [{"id": "0", "transport": transport}]});
    app.call("PATCH", "eventsub/conduits/shards", Some(wish)).await;
    let challenge = &callback.wait("webhook_callback_verification", 1).await[0];
    assert_eq!(challenge.body["conduit_shard"], json!({"conduit_id": id, "shard": "0"}));
    let begun = Instant::now();
    let path = format!("eventsub/conduits/shards?conduit_id={id}");
    while app.get(&path).await.body["data"][0]["status"] != "enabled" {
        assert!(begun.elapsed() < PATIENCE, "the shard never got enabled");
    }
    subscribe(&app, &id, "channel.chat.message", chat()).await;
    twitch.say(CHANNEL, "Ami", "par le crochet").unwrap();
    let told = &callback.wait("notification", 1).await[0];
    assert_eq!(told.body["event"]["message"]["text"], "par le crochet");
}
