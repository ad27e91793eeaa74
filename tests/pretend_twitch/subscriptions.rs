//! The rules of subscriptions: tokens, scopes, conditions, doubles, limits, lists.

use serde_json::{Value, json};
use spark::rehearsal::twitch::{Act, PretendTwitch};

use crate::listener::{CHANNEL, Caller, Heard, Listener, MALO, NOUR, chat, text_of, twitch};

#[tokio::test]
async fn a_notification_carries_the_subscription_that_was_created() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    let created = nour.hear_chat(&listener).await;
    let id = twitch.say(CHANNEL, "Ami", "salut").unwrap();
    let frame = listener.event().await;
    let carried = &frame["payload"]["subscription"];
    for field in ["id", "status", "type", "version", "condition", "cost", "created_at"] {
        assert_eq!(carried[field], created[field], "{field}");
    }
    assert_eq!(carried["transport"], json!({"method": "websocket", "session_id": listener.id}));
    assert_eq!(frame["metadata"]["subscription_type"], "channel.chat.message");
    assert_eq!(frame["payload"]["event"]["message_id"], id.as_str());
    assert_eq!(frame["payload"]["event"]["broadcaster_user_login"], CHANNEL);
    assert_eq!(text_of(&frame), "salut");
}

#[tokio::test]
async fn wrong_wishes_are_refused_with_the_right_status() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let app = Caller::app(&twitch);
    let narrow = twitch.user_token(CHANNEL, &["bits:read"]).unwrap();
    let narrow = Caller::with(&twitch, &narrow.access);
    let listener = Listener::connect(&twitch.websocket_url()).await;
    let socket = json!({"method": "websocket", "session_id": listener.id});
    let wish = |kind: &str, version: &str, condition: Value, transport: &Value| json!({"type": kind, "version": version, "condition": condition, "transport": transport});
    let mine = json!({"broadcaster_user_id": NOUR});
    let dead = json!({"method": "websocket", "session_id": "gone"});
    let pigeon = json!({"method": "pigeon"});
    let webhook =
        json!({"method": "webhook", "callback": "http://127.0.0.1:9/hook", "secret": "0123456789"});
    let cases = [
        (&nour, wish("channel.nonsense", "1", mine.clone(), &socket), 400),
        (&nour, wish("channel.follow", "1", mine.clone(), &socket), 400),
        (&nour, wish("channel.chat.message", "1", mine.clone(), &socket), 400),
        (&nour, wish("stream.online", "1", json!({"broadcaster_user_id": 7}), &socket), 400),
        (
            &nour,
            wish("stream.online", "1", json!({"broadcaster_user_id": NOUR, "x": "y"}), &socket),
            400,
        ),
        (&nour, wish("stream.online", "1", mine.clone(), &dead), 400),
        (&nour, wish("stream.online", "1", mine.clone(), &pigeon), 400),
        (&nour, json!({"type": "stream.online"}), 400),
        (
            &nour,
            wish("user.authorization.grant", "1", json!({"client_id": "pretendclient"}), &socket),
            400,
        ),
        (&app, wish("stream.online", "1", mine.clone(), &socket), 401),
        (&nour, wish("stream.online", "1", mine.clone(), &webhook), 401),
        (&narrow, wish("channel.chat.message", "1", chat(), &socket), 403),
        (
            &nour,
            wish(
                "channel.chat.message",
                "1",
                json!({"broadcaster_user_id": NOUR, "user_id": MALO}),
                &socket,
            ),
            403,
        ),
        (&nour, wish("channel.cheer", "1", json!({"broadcaster_user_id": MALO}), &socket), 403),
        (&narrow, wish("channel.cheer", "1", mine.clone(), &socket), 202),
    ];
    for (caller, wish, status) in cases {
        let answer = caller.post("eventsub/subscriptions", wish.clone()).await;
        assert_eq!(answer.status, status, "{wish} gave {:?}", answer.body);
        if status >= 400 {
            assert_eq!(answer.body["status"], status);
            assert!(answer.body["message"].as_str().is_some_and(|text| !text.is_empty()));
        }
    }
    let nobody = Caller::with(&twitch, "made-up").get("eventsub/subscriptions").await;
    assert_eq!(
        (nobody.status, nobody.body["message"].as_str()),
        (401, Some("Invalid OAuth token"))
    );
}

#[tokio::test]
async fn a_double_on_one_socket_is_409_with_its_id_and_the_fourth_equal_one_is_429() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let first = Listener::connect(&twitch.websocket_url()).await;
    let created = nour.hear_chat(&first).await;
    let double = nour.subscribe(&first, "channel.chat.message", chat()).await;
    assert_eq!((double.status, &double.body["id"]), (409, &created["id"]));
    // Another condition of the same type is no double.
    let raid_to = json!({"to_broadcaster_user_id": NOUR});
    let raid_from = json!({"from_broadcaster_user_id": NOUR});
    assert_eq!(nour.subscribe(&first, "channel.raid", raid_to).await.status, 202);
    assert_eq!(nour.subscribe(&first, "channel.raid", raid_from).await.status, 202);

    let second = Listener::connect(&twitch.websocket_url()).await;
    let third = Listener::connect(&twitch.websocket_url()).await;
    let fourth = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&second).await;
    nour.hear_chat(&third).await;
    let too_many = nour.subscribe(&fourth, "channel.chat.message", chat()).await;
    assert_eq!(too_many.status, 429);
    let remaining = too_many.headers["Ratelimit-Remaining"].to_str().unwrap();
    assert_ne!(remaining, "0", "waiting does not help here");
    // Three sockets have enabled subscriptions: a fourth one is refused whatever it wants.
    let online = json!({"broadcaster_user_id": NOUR});
    let refused = nour.subscribe(&fourth, "stream.online", online).await;
    assert_eq!(refused.status, 429);
    assert!(refused.body["message"].as_str().unwrap().contains("websocket transports"));
}

#[tokio::test]
async fn two_equal_subscriptions_tell_one_event_under_two_message_ids() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut first = Listener::connect(&twitch.websocket_url()).await;
    let mut second = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&first).await;
    nour.hear_chat(&second).await;
    twitch.say(CHANNEL, "Ami", "deux fois").unwrap();
    let (one, two) = (first.event().await, second.event().await);
    assert_ne!(one["metadata"]["message_id"], two["metadata"]["message_id"]);
    assert_eq!(one["payload"]["event"]["message_id"], two["payload"]["event"]["message_id"]);
    let ledger = twitch.ledger();
    let entries: Vec<_> =
        ledger.iter().filter(|entry| &*entry.kind == "channel.chat.message").collect();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].happening, entries[1].happening);
}

#[tokio::test]
async fn one_socket_serves_one_user_and_each_user_has_a_list() {
    let twitch = twitch().await;
    let (nour, malo) = (Caller::user(&twitch, CHANNEL), Caller::user(&twitch, MALO));
    let listener = Listener::connect(&twitch.websocket_url()).await;
    let created = nour.hear_chat(&listener).await;
    let foreign = json!({"broadcaster_user_id": MALO});
    assert_eq!(malo.subscribe(&listener, "stream.online", foreign).await.status, 400);
    assert_eq!(malo.get("eventsub/subscriptions").await.body["total"], 0);
    let id = created["id"].as_str().unwrap();
    let path = format!("eventsub/subscriptions?id={id}");
    assert_eq!(malo.call("DELETE", &path, None).await.status, 404);
    assert_eq!(nour.call("DELETE", &path, None).await.status, 204);
    assert_eq!(nour.call("DELETE", &path, None).await.status, 404);
}

#[tokio::test]
async fn costs_are_for_users_who_did_not_authorise_and_stop_at_ten() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let listener = Listener::connect(&twitch.websocket_url()).await;
    assert_eq!(nour.hear_chat(&listener).await["cost"], 0);
    for number in 0..10 {
        let stranger = json!({"broadcaster_user_id": format!("55{number}")});
        let answer = nour.subscribe(&listener, "stream.online", stranger).await;
        assert_eq!((answer.status, &answer.body["data"][0]["cost"]), (202, &json!(1)));
        assert_eq!(answer.body["total_cost"], number + 1);
        assert_eq!(answer.body["max_total_cost"], 10);
    }
    let eleventh = json!({"broadcaster_user_id": "5599"});
    assert_eq!(nour.subscribe(&listener, "stream.online", eleventh).await.status, 429);
}

#[tokio::test]
async fn the_list_is_paged_and_filtered_by_one_thing() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let listener = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&listener).await;
    // Rewards differ in their condition, so that a socket can hold many.
    for number in 0..120 {
        let reward = json!({"broadcaster_user_id": NOUR, "reward_id": format!("r{number}")});
        let kind = "channel.channel_points_custom_reward_redemption.add";
        assert_eq!(nour.subscribe(&listener, kind, reward).await.status, 202);
    }
    let first = nour.get("eventsub/subscriptions").await.body;
    assert_eq!((first["data"].as_array().unwrap().len(), &first["total"]), (100, &json!(121)));
    let cursor = first["pagination"]["cursor"].as_str().unwrap();
    let rest = nour.get(&format!("eventsub/subscriptions?after={cursor}")).await.body;
    assert_eq!(rest["data"].as_array().unwrap().len(), 21);
    assert!(rest["pagination"]["cursor"].is_null());
    let chats = nour.get("eventsub/subscriptions?type=channel.chat.message").await.body;
    assert_eq!(chats["data"].as_array().unwrap().len(), 1);
    assert_eq!(nour.get("eventsub/subscriptions?status=enabled&type=x").await.status, 400);
    assert_eq!(nour.get("eventsub/subscriptions?after=nonsense").await.status, 400);
}

#[tokio::test]
async fn a_revocation_is_told_once_with_its_status() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    let statuses = ["authorization_revoked", "user_removed", "version_removed", "chat_user_banned"];
    for status in statuses {
        let created = nour.hear_chat(&listener).await;
        let subscription = created["id"].as_str().unwrap().to_owned();
        twitch.act(Act::Revoke { subscription, status: status.into() }).unwrap();
        let told = listener.event().await;
        assert_eq!(told["metadata"]["message_type"], "revocation");
        assert_eq!(told["payload"]["subscription"]["status"], status);
        assert_eq!(told["payload"]["subscription"]["id"], created["id"]);
        assert_eq!(twitch.counter(&format!("revoked_{status}")), 1);
    }
    twitch.say(CHANNEL, "Ami", "personne ne l'entend").unwrap();
    twitch.act(Act::Cut { socket: None, code: Some(4000) }).unwrap();
    assert_eq!(listener.end().await, Heard::Closed(4000));
}

#[tokio::test]
async fn a_user_who_takes_back_the_grant_ends_tokens_and_subscriptions() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&listener).await;
    twitch.act(Act::RevokeGrant { user: CHANNEL.into() }).unwrap();
    let told = listener.event().await;
    assert_eq!(told["payload"]["subscription"]["status"], "authorization_revoked");
    assert_eq!(nour.get("users").await.status, 401);
    assert_eq!(twitch.counter("grant_revoked"), 1);
}

#[tokio::test]
async fn an_orphan_of_a_dead_session_blocks_with_409_until_it_is_deleted() {
    let twitch = twitch().await;
    twitch.faults(|faults| faults.leave_orphans = true);
    let nour = Caller::user(&twitch, CHANNEL);
    let mut dead = Listener::connect(&twitch.websocket_url()).await;
    let orphan = nour.hear_chat(&dead).await;
    twitch.act(Act::Cut { socket: None, code: None }).unwrap();
    assert_eq!(dead.end().await, Heard::Gone);
    let mut next = Listener::connect(&twitch.websocket_url()).await;
    let refused = nour.subscribe(&next, "channel.chat.message", chat()).await;
    assert_eq!((refused.status, &refused.body["id"]), (409, &orphan["id"]));
    let listed = nour.get("eventsub/subscriptions").await.body;
    assert_eq!(listed["data"][0]["transport"]["session_id"], dead.id.as_str());
    let id = orphan["id"].as_str().unwrap();
    nour.call("DELETE", &format!("eventsub/subscriptions?id={id}"), None).await;
    nour.hear_chat(&next).await;
    twitch.say(CHANNEL, "Ami", "enfin").unwrap();
    assert_eq!(text_of(&next.event().await), "enfin");
    assert_eq!((twitch.counter("orphan"), twitch.counter("orphan_conflict")), (1, 1));
}

#[tokio::test]
async fn every_type_of_the_table_can_be_subscribed_to_and_heard() {
    let twitch: PretendTwitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    let with_moderator = json!({"broadcaster_user_id": NOUR, "moderator_user_id": NOUR});
    let alone = json!({"broadcaster_user_id": NOUR});
    let kinds = [
        ("channel.hype_train.begin", "2", &alone),
        ("channel.channel_points_automatic_reward_redemption.add", "2", &alone),
        ("channel.moderate", "2", &with_moderator),
        ("automod.message.hold", "2", &with_moderator),
        ("channel.suspicious_user.message", "1", &with_moderator),
        ("channel.guest_star_session.begin", "beta", &with_moderator),
        ("channel.bits.use", "1", &alone),
        ("channel.shared_chat.begin", "1", &alone),
    ];
    for (kind, version, condition) in kinds {
        let transport = json!({"method": "websocket", "session_id": listener.id});
        let wish = json!({"type": kind, "version": version, "condition": condition, "transport": transport});
        let answer = nour.post("eventsub/subscriptions", wish).await;
        assert_eq!(answer.status, 202, "{kind}: {:?}", answer.body);
        assert_eq!(twitch.emit(kind, version, NOUR, &json!({"id": kind})), 1, "{kind}");
        let frame = listener.event().await;
        assert_eq!(frame["metadata"]["subscription_type"], kind);
        assert_eq!(frame["metadata"]["subscription_version"], version);
    }
}
