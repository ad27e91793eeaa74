//! The Helix calls of the house, with the headers and refusals of production.

use std::time::Instant;

use serde_json::{Value, json};
use spark::rehearsal::twitch::{Act, PretendTwitch};

use crate::listener::{CHANNEL, Caller, Listener, MALO, NOUR, PATIENCE, chat, text_of, twitch};

async fn live() -> (PretendTwitch, Caller) {
    let twitch = twitch().await;
    twitch.act(Act::GoLive { channel: CHANNEL.into(), viewers: 321 }).unwrap();
    let nour = Caller::user(&twitch, CHANNEL);
    (twitch, nour)
}

#[tokio::test]
async fn every_answer_tells_the_points_left() {
    let (twitch, nour) = live().await;
    let points = |answer: &crate::listener::Answer| -> u32 {
        answer.headers["Ratelimit-Remaining"].to_str().unwrap().parse().unwrap()
    };
    let first = nour.get("users").await;
    assert_eq!(first.headers["Ratelimit-Limit"], "800");
    assert!(points(&nour.get("nothing-here").await) < 800);
    assert_eq!(nour.get("nothing-here").await.status, 404);
    // The app has a bucket of its own.
    assert_eq!(points(&Caller::app(&twitch).get("streams").await), 799);
    let mut refused = None;
    for _ in 0..1_500 {
        let answer = nour.get("users").await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("the points end");
    assert_eq!(points(&refused), 0);
    assert!(refused.headers.contains_key("Ratelimit-Reset"));
    assert!(twitch.counter("points_used_up") > 0);
}

#[tokio::test]
async fn a_stream_is_listed_while_it_is_live() {
    let (twitch, nour) = live().await;
    let path = format!("streams?user_id={NOUR}&user_id={MALO}");
    let streams = nour.get(&path).await.body;
    assert_eq!(streams["data"].as_array().unwrap().len(), 1);
    assert_eq!(streams["data"][0]["viewer_count"], 321);
    let videos = nour.get(&format!("videos?user_id={NOUR}")).await.body;
    assert_eq!(videos["data"][0]["stream_id"], streams["data"][0]["id"]);
    twitch.act(Act::GoOffline { channel: CHANNEL.into() }).unwrap();
    assert_eq!(nour.get(&path).await.body["data"], json!([]));
    assert_eq!(nour.get("videos?id=none").await.status, 404);
}

#[tokio::test]
async fn the_branded_flag_is_set_and_told() {
    let (twitch, nour) = live().await;
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    let alone = json!({"broadcaster_user_id": NOUR});
    assert_eq!(nour.subscribe(&listener, "channel.update", alone).await.status, 202);
    let path = format!("channels?broadcaster_id={NOUR}");
    let change = json!({"is_branded_content": true, "title": "Avec notre partenaire"});
    assert_eq!(nour.call("PATCH", &path, Some(change.clone())).await.status, 204);
    let shown = nour.get(&path).await.body;
    assert_eq!(shown["data"][0]["is_branded_content"], true);
    assert_eq!(listener.event().await["payload"]["event"]["title"], "Avec notre partenaire");
    let malo = Caller::user(&twitch, MALO);
    assert_eq!(malo.call("PATCH", &path, Some(change.clone())).await.status, 401);
    let narrow = twitch.user_token(CHANNEL, &["bits:read"]).unwrap();
    let narrow = Caller::with(&twitch, &narrow.access);
    let refused = narrow.call("PATCH", &path, Some(change)).await;
    assert_eq!(refused.status, 401);
    assert!(refused.body["message"].as_str().unwrap().contains("channel:manage:broadcast"));
}

#[tokio::test]
async fn markers_need_a_live_stream() {
    let (twitch, nour) = live().await;
    let wish = json!({"user_id": NOUR, "description": "le verre tombe"});
    let marked = nour.post("streams/markers", wish.clone()).await;
    assert_eq!(marked.status, 200);
    assert_eq!(marked.body["data"][0]["position_seconds"], 0);
    let listed = nour.get(&format!("streams/markers?user_id={NOUR}")).await.body;
    assert_eq!(listed["data"][0]["videos"][0]["markers"][0]["description"], "le verre tombe");
    let long = json!({"user_id": NOUR, "description": "x".repeat(141)});
    assert_eq!(nour.post("streams/markers", long).await.status, 400);
    twitch.act(Act::GoOffline { channel: CHANNEL.into() }).unwrap();
    assert_eq!(nour.post("streams/markers", wish).await.status, 404);
}

#[tokio::test]
async fn a_clip_is_there_a_little_after_it_was_asked_for() {
    let (twitch, nour) = live().await;
    let made = nour.post(&format!("clips?broadcaster_id={NOUR}"), Value::Null).await;
    assert_eq!(made.status, 202);
    let id = made.body["data"][0]["id"].as_str().unwrap().to_owned();
    let begun = Instant::now();
    loop {
        let listed = nour.get(&format!("clips?id={id}")).await.body;
        if listed["data"][0]["id"] == id.as_str() {
            assert!(listed["data"][0]["vod_offset"].is_i64());
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the clip never came");
        // Asking without a pause would use the points up.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let path = format!("clips/downloads?broadcaster_id={NOUR}&editor_id={NOUR}&clip_id={id}");
    let downloads = nour.get(&path).await.body;
    assert!(downloads["data"][0]["landscape_download_url"].is_string());
    assert!(downloads["data"][0]["portrait_download_url"].is_null());
    assert_eq!(nour.get("clips").await.status, 400);

    let videos = nour.get(&format!("videos?user_id={NOUR}")).await.body;
    let video = videos["data"][0]["id"].as_str().unwrap();
    let of_video = |end: u32| {
        format!(
            "videos/clips?editor_id={NOUR}&broadcaster_id={NOUR}&vod_id={video}&title=x&vod_offset={end}&duration=20"
        )
    };
    assert_eq!(nour.post(&of_video(60), Value::Null).await.status, 202);
    assert_eq!(nour.post(&of_video(10), Value::Null).await.status, 400, "the offset is the end");
    twitch.act(Act::GoOffline { channel: CHANNEL.into() }).unwrap();
    assert_eq!(nour.post(&format!("clips?broadcaster_id={NOUR}"), Value::Null).await.status, 404);
}

#[tokio::test]
async fn a_message_sent_by_call_is_heard_in_the_chat() {
    let (twitch, nour) = live().await;
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&listener).await;
    let wish = |text: &str| json!({"broadcaster_id": NOUR, "sender_id": NOUR, "message": text});
    let sent = nour.post("chat/messages", wish("bonsoir")).await;
    assert_eq!(sent.body["data"][0]["is_sent"], true);
    let heard = listener.event().await;
    assert_eq!(text_of(&heard), "bonsoir");
    assert_eq!(heard["payload"]["event"]["message_id"], sent.body["data"][0]["message_id"]);
    assert_eq!(nour.post("chat/messages", wish(&"x".repeat(501))).await.status, 422);
    let mut own = wish("x");
    own["for_source_only"] = true.into();
    assert_eq!(nour.post("chat/messages", own).await.status, 400);
    let announcement = format!("chat/announcements?broadcaster_id={NOUR}&moderator_id={NOUR}");
    let notices = nour.subscribe(&listener, "channel.chat.notification", chat()).await;
    assert_eq!(notices.status, 202);
    assert_eq!(nour.post(&announcement, json!({"message": "à table"})).await.status, 204);
    assert_eq!(listener.event().await["payload"]["event"]["notice_type"], "announcement");
}

#[tokio::test]
async fn a_poll_runs_from_its_begin_to_its_end() {
    let (twitch, nour) = live().await;
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    for kind in ["channel.poll.begin", "channel.poll.progress", "channel.poll.end"] {
        let alone = json!({"broadcaster_user_id": NOUR});
        assert_eq!(nour.subscribe(&listener, kind, alone).await.status, 202);
    }
    let wish = json!({"broadcaster_id": NOUR, "title": "Encore ?", "choices": [{"title": "Oui"}, {"title": "Non"}], "duration": 15});
    let poll = nour.post("polls", wish.clone()).await.body["data"][0].clone();
    assert_eq!(nour.post("polls", wish).await.status, 400, "one at a time");
    let mut kinds = Vec::new();
    while kinds.last().is_none_or(|kind| kind != "channel.poll.end") {
        let frame = listener.event().await;
        assert_eq!(frame["payload"]["event"]["id"], poll["id"]);
        kinds.push(frame["metadata"]["subscription_type"].as_str().unwrap().to_owned());
    }
    let progress = "channel.poll.progress";
    assert_eq!(kinds, ["channel.poll.begin", progress, progress, progress, "channel.poll.end"]);
    let listed = nour.get(&format!("polls?broadcaster_id={NOUR}")).await.body;
    assert_eq!(listed["data"][0]["status"], "COMPLETED");
}

#[tokio::test]
async fn a_raid_starts_after_a_while_unless_it_is_cancelled() {
    let (twitch, nour) = live().await;
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    let from = json!({"from_broadcaster_user_id": NOUR});
    assert_eq!(nour.subscribe(&listener, "channel.raid", from).await.status, 202);
    let path = format!("raids?from_broadcaster_id={NOUR}&to_broadcaster_id={MALO}");
    let cancel = format!("raids?broadcaster_id={NOUR}");
    assert_eq!(nour.post(&path, Value::Null).await.status, 200);
    assert_eq!(nour.post(&path, Value::Null).await.status, 409);
    assert_eq!(nour.call("DELETE", &cancel, None).await.status, 204);
    assert_eq!(nour.call("DELETE", &cancel, None).await.status, 404);
    assert_eq!(nour.post(&path, Value::Null).await.status, 200);
    let raid = listener.event().await;
    assert_eq!(raid["payload"]["event"]["to_broadcaster_user_id"], MALO);
    assert_eq!(raid["payload"]["event"]["viewers"], 321);
}

#[tokio::test]
async fn followers_grants_and_ads_are_told_to_whom_they_concern() {
    let (twitch, nour) = live().await;
    for viewer in ["Ami", "Amie", "Amis"] {
        let (channel, viewer) = (CHANNEL.to_owned(), viewer.to_owned());
        twitch.act(Act::Follow { channel, viewer }).unwrap();
    }
    let path = format!("channels/followers?broadcaster_id={NOUR}&first=2");
    let own = nour.get(&path).await.body;
    assert_eq!((&own["total"], own["data"].as_array().unwrap().len()), (&json!(3), 2));
    assert_eq!(own["data"][0]["user_login"], "amis", "the newest first");
    let others = Caller::user(&twitch, MALO).get(&path).await.body;
    assert_eq!((&others["total"], &others["data"]), (&json!(3), &json!([])));

    let app = Caller::app(&twitch);
    let grants = app.get(&format!("authorization/users?user_id={NOUR}&user_id=12")).await.body;
    assert_eq!(grants["data"][0]["has_authorized"], true);
    assert_eq!(grants["data"][1]["has_authorized"], false);
    assert_eq!(nour.get(&format!("authorization/users?user_id={NOUR}")).await.status, 401);

    let ads = nour.get(&format!("channels/ads?broadcaster_id={NOUR}")).await.body;
    assert!(ads["data"][0]["next_ad_at"].as_i64().unwrap() > 0);
    let commercial = json!({"broadcaster_id": NOUR, "length": 60});
    assert_eq!(nour.post("channels/commercial", commercial.clone()).await.status, 200);
    assert_eq!(nour.post("channels/commercial", commercial).await.status, 429);
}
