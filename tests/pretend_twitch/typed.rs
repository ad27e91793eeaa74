//! The types that others wrote for Twitch take what the pretend Twitch sends.

use serde_json::json;
use spark::rehearsal::twitch::Act;
use twitch_api::eventsub::Event;

use crate::listener::{CHANNEL, Caller, Listener, NOUR, chat, text_of, twitch};

#[tokio::test]
async fn the_types_of_twitch_api_take_what_is_sent() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    let own = json!({ "broadcaster_user_id": NOUR });
    let moderated = json!({ "broadcaster_user_id": NOUR, "moderator_user_id": NOUR });
    let kinds = [
        ("channel.follow", moderated),
        ("channel.raid", json!({ "to_broadcaster_user_id": NOUR })),
        ("channel.chat.notification", chat()),
        ("channel.chat.message_delete", chat()),
        ("channel.chat.clear_user_messages", chat()),
        ("channel.subscribe", own.clone()),
        ("channel.subscription.gift", own.clone()),
        ("channel.subscription.message", own.clone()),
        ("channel.cheer", own.clone()),
        ("channel.bits.use", own.clone()),
        ("channel.ad_break.begin", own.clone()),
        ("channel.channel_points_custom_reward_redemption.add", own.clone()),
        ("channel.poll.begin", own.clone()),
        ("channel.update", own.clone()),
        ("stream.online", own.clone()),
        ("stream.offline", own),
    ];
    nour.hear_chat(&listener).await;
    for (kind, condition) in &kinds {
        let answer = nour.subscribe(&listener, kind, condition.clone()).await;
        assert_eq!(answer.status, 202, "{kind}: {answer:?}");
    }
    let channel = || CHANNEL.to_owned();
    let viewer = || "Zoé".to_owned();
    let said = twitch.say(CHANNEL, "Bob", "à retirer").unwrap();
    for act in [
        Act::GoLive { channel: channel(), viewers: 12 },
        Act::Title { channel: channel(), title: "La villa".to_owned() },
        Act::Say {
            channel: channel(),
            viewer: viewer(),
            text: "Cheer100 bravo".to_owned(),
            bits: 100,
        },
        Act::DeleteMessage { channel: channel(), message_id: said },
        Act::Ban { channel: channel(), viewer: "Bob".to_owned(), seconds: Some(60) },
        Act::Follow { channel: channel(), viewer: viewer() },
        Act::Raid { channel: channel(), from: "Malo".to_owned(), viewers: 40 },
        Act::Subscribe { channel: channel(), viewer: viewer() },
        Act::Resubscribe {
            channel: channel(), viewer: viewer(), months: 5, text: "♥".to_owned()
        },
        Act::GiftBomb { channel: channel(), giver: viewer(), count: 3 },
        Act::AdBreak { channel: channel(), seconds: 60 },
        Act::GoOffline { channel: channel() },
    ] {
        twitch.act(act.clone()).unwrap_or_else(|error| panic!("{act:?}: {error}"));
    }
    twitch.say(CHANNEL, "Bob", "fin").unwrap();
    let mut heard = std::collections::BTreeSet::new();
    loop {
        let frame = listener.event().await;
        let text = frame.to_string();
        let read = Event::parse_websocket(&text);
        assert!(read.is_ok(), "{:?}: {text}", read.err());
        let kind = frame["metadata"]["subscription_type"].as_str().unwrap_or_default().to_owned();
        heard.insert(kind);
        if text_of(&frame) == "fin" {
            break;
        }
    }
    for kind in ["channel.raid", "channel.bits.use", "channel.subscription.gift", "stream.offline"]
    {
        assert!(heard.contains(kind), "{kind} in {heard:?}");
    }
}
