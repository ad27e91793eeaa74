//! What Twitch sends is understood as far as it can be, and nothing it sends is lost for a word nobody knows yet.

#[path = "support/eventsub.rs"]
mod eventsub;

use std::process::Command;
use std::time::Duration;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};
use spark::adapters::twitch::eventsub::catalogue::CATALOGUE;
use spark::adapters::twitch::eventsub::decode::{Decoded, decode};
use spark::adapters::twitch::eventsub::envelope::{
    ENVELOPE_BYTES_MAX, Envelope, Message, Notification, Proof,
};
use spark::domain::audience::happening::{Chat, Happening, Money, Phase, Tier, Viewer, What};

use eventsub::{frame, samples, webhook};

fn sent_at() -> DateTime<Utc> {
    "2026-11-20T20:00:05.000000001Z".parse().unwrap()
}

#[track_caller]
fn notification(json: &str) -> Notification<'_> {
    match Envelope::read(json.as_bytes()).expect("an envelope").message {
        Message::Notification(notification) => notification,
        other => panic!("no notification: {other:?}"),
    }
}

#[track_caller]
fn outcome(kind: &str, version: &str, event: &str) -> Decoded {
    decode(&notification(&webhook(kind, version, event)), "id-1", sent_at())
}

#[track_caller]
fn happening(kind: &str, version: &str, event: &str) -> Happening {
    match outcome(kind, version, event) {
        Decoded::Typed(Some(happening)) => *happening,
        other => panic!("{kind}: {other:?}"),
    }
}

/// The first sample of a kind, with some fields changed.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "json! is written in place")]
fn told(kind: &str, changes: Value) -> Happening {
    let sample = samples().into_iter().find(|sample| sample.kind == kind).expect("a sample");
    let mut event: Value = serde_json::from_str(&sample.event).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        event[name] = value.clone();
    }
    happening(kind, sample.version, &event.to_string())
}

#[track_caller]
fn reason(decoded: Decoded) -> String {
    match decoded {
        Decoded::Unknown { reason, .. } => reason,
        Decoded::Typed(typed) => panic!("it was typed: {typed:?}"),
    }
}

#[track_caller]
fn chat(happening: Happening) -> Chat {
    match happening.what {
        What::Chat(chat) => chat,
        other => panic!("no chat: {other:?}"),
    }
}

fn lea() -> Viewer {
    Viewer { id: "7".into(), name: "Léa".into() }
}

#[test]
fn every_kind_is_read_alike_from_a_socket_and_from_a_webhook() {
    for sample in samples() {
        let (kind, version) = (sample.kind, sample.version);
        let socket = frame(kind, version, &sample.event);
        let read = |json: &str| decode(&notification(json), "id-1", sent_at());
        let by_socket = read(&socket);
        assert!(matches!(by_socket, Decoded::Typed(_)), "{kind} {version}: {by_socket:?}");
        assert_eq!(by_socket, read(&webhook(kind, version, &sample.event)), "{kind}");
    }
}

#[test]
fn everything_we_subscribe_to_is_understood() {
    let samples = samples();
    for entry in CATALOGUE {
        assert!(
            samples.iter().any(|it| (it.kind, it.version) == (entry.kind, entry.version)),
            "no sample of {} {}",
            entry.kind,
            entry.version
        );
        assert!(!entry.lost.is_empty() && !entry.condition.is_empty(), "{}", entry.kind);
    }
    let first = CATALOGUE.first().expect("a catalogue");
    assert_eq!(first.kind, "channel.chat.message");
    assert!(first.is_allowed(&["bits:read", "user:read:chat"]) && !first.is_allowed(&[]));
    let either = CATALOGUE.iter().find(|it| it.kind == "channel.poll.end").expect("polls");
    assert!(either.is_allowed(&["channel:manage:polls"]));
}

#[test]
fn a_chat_message_is_told_whole() {
    let heard = told("channel.chat.message", json!({}));
    assert_eq!(heard.message_id, "id-1");
    assert_eq!((heard.channel.as_str(), heard.at), ("101", sent_at()));
    assert_eq!(heard.business_id.as_deref(), Some("channel.chat.message:m1"));
    let expected = Chat {
        message_id: "m1".into(),
        viewer: lea(),
        text: "Cheer100 bravo".into(),
        trusted: true,
        bits: 100,
        copied_from: None,
    };
    assert_eq!(chat(heard), expected);
}

#[test]
fn no_novelty_costs_a_chat_message() {
    let novelties = json!({
        "message_type": "hologram",
        "message": {"text": "regarde", "fragments": [{"type": "gif", "text": "regarde", "gif": {"id": 3}}]},
        "badges": null,
        "cheer": "soon",
        "reply": 7,
        "brand_new": {"deep": [[[]]]},
    });
    let heard = chat(told("channel.chat.message", novelties));
    assert_eq!((heard.text.as_str(), heard.trusted, heard.bits), ("regarde", false, 0));
}

#[test]
fn the_creator_is_trusted_without_a_badge() {
    let heard = chat(told("channel.chat.message", json!({"chatter_user_id": "101", "badges": []})));
    assert!(heard.trusted);
    let other = chat(told("channel.chat.message", json!({"badges": [{"set_id": "vip"}]})));
    assert!(!other.trusted);
}

#[test]
fn a_copy_in_a_shared_chat_names_its_source_and_is_one_with_its_original() {
    let original = told(
        "channel.chat.message",
        json!({"source_broadcaster_user_id": "101", "source_message_id": "m1"}),
    );
    let copy = told(
        "channel.chat.message",
        json!({
            "broadcaster_user_id": "202", "message_id": "m1-in-202", "badges": [],
            "source_broadcaster_user_id": "101", "source_message_id": "m1",
            "source_badges": [{"set_id": "broadcaster"}],
        }),
    );
    assert_eq!(copy.business_id, original.business_id);
    let (copy, original) = (chat(copy), chat(original));
    assert_eq!((original.copied_from, copy.copied_from), (None, Some("101".into())));
    assert_eq!(copy.message_id, "m1-in-202", "a deletion on that channel names this id");
    assert!(!copy.trusted, "whoever moderates there does not moderate here");
}

#[test]
fn each_kind_of_money_is_counted_from_one_source() {
    let money = |kind: &str, changes| told(kind, changes).what.money();
    assert_eq!(money("channel.bits.use", json!({})), Some(Money::Bits(100)));
    assert_eq!(money("channel.cheer", json!({})), None);
    assert_eq!(money("channel.chat.message", json!({})), None);
    assert_eq!(money("channel.custom_power_up_redemption.add", json!({})), None);
    assert_eq!(money("channel.subscribe", json!({})), Some(Money::NewSub(Tier::One)));
    assert_eq!(money("channel.subscription.message", json!({})), Some(Money::Resub(Tier::Two)));
    assert_eq!(money("channel.chat.notification", json!({})), None);
    // A bomb of five: the gift counts, its five subs and its two kinds of notices do not.
    let five = Some(Money::GiftedSubs { total: 5, tier: Tier::One });
    assert_eq!(money("channel.subscription.gift", json!({})), five);
    assert_eq!(money("channel.subscribe", json!({"is_gift": true})), None);
    let notice = json!({"notice_type": "community_sub_gift"});
    assert_eq!(money("channel.chat.notification", notice), None);
}

#[test]
fn money_whose_amount_is_not_said_is_unknown_rather_than_nothing() {
    for (kind, event) in [
        ("channel.bits.use", r#"{"broadcaster_user_id":"101","user_id":"7","bits":null}"#),
        ("channel.subscribe", r#"{"broadcaster_user_id":"101","user_id":"7","tier":"1000"}"#),
        ("channel.subscription.gift", r#"{"broadcaster_user_id":"101","tier":"1000"}"#),
    ] {
        let reason = reason(outcome(kind, "1", event));
        assert!(reason.ends_with("is missing"), "{kind}: {reason}");
    }
}

#[test]
fn an_anonymous_gift_names_nobody() {
    let gift = told(
        "channel.subscription.gift",
        json!({"is_anonymous": true, "user_id": null, "cumulative_total": null}),
    );
    assert!(matches!(gift.what, What::SubsGifted { gifter: None, total: 5, .. }), "{gift:?}");
    assert_eq!(gift.business_id, None);
}

#[test]
fn what_two_subscriptions_tell_twice_has_one_business_id() {
    for kind in [
        "channel.follow",
        "channel.subscription.gift",
        "channel.subscription.message",
        "channel.channel_points_custom_reward_redemption.add",
        "channel.poll.end",
        "channel.ad_break.begin",
        "stream.online",
    ] {
        let once = told(kind, json!({})).business_id;
        assert!(once.is_some(), "{kind}");
        assert_eq!(once, told(kind, json!({})).business_id, "{kind}");
    }
    let next = told("channel.follow", json!({"followed_at": "2026-11-21T20:00:00Z"}));
    assert_ne!(next.business_id, told("channel.follow", json!({})).business_id);
    // The list of followers tells whole seconds: the same follow all the same.
    let listed = told("channel.follow", json!({"followed_at": "2026-11-20T20:00:00Z"}));
    assert_eq!(listed.business_id, told("channel.follow", json!({})).business_id);
}

#[test]
fn each_phase_is_told_once_and_each_progress_is_a_standing() {
    let polls = ["begin", "progress", "end"].map(|verb| {
        let poll = told(&format!("channel.poll.{verb}"), json!({}));
        let What::Poll { phase, choices, .. } = poll.what else { panic!("no poll") };
        (phase, poll.business_id, choices[0].votes, poll.at)
    });
    let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    let begin = "channel.poll.begin:s1".to_owned();
    let end = "channel.poll.end:s1".to_owned();
    assert_eq!(polls[0], (Phase::Begin, Some(begin), 0, time("2026-11-20T20:00:00Z")));
    assert_eq!(polls[1], (Phase::Progress, None, 5, sent_at()));
    assert_eq!(polls[2], (Phase::End, Some(end), 9, time("2026-11-20T20:01:00Z")));
}

#[test]
fn numbers_and_flags_written_as_texts_are_read() {
    let ads = told("channel.ad_break.begin", json!({})).what;
    assert_eq!(ads, What::AdBreak { duration_seconds: 60, automatic: true });
    let ads =
        told("channel.ad_break.begin", json!({"duration_seconds": 90, "is_automatic": false}));
    assert_eq!(ads.what, What::AdBreak { duration_seconds: 90, automatic: false });
}

#[test]
fn a_raid_comes_or_goes_by_what_was_asked_for() {
    let event = &samples().into_iter().find(|it| it.kind == "channel.raid").unwrap().event;
    let raid = |condition: &str| {
        let body = format!(
            r#"{{"subscription":{{"type":"channel.raid","version":"1","status":"enabled","condition":{condition}}},"event":{event}}}"#
        );
        match decode(&notification(&body), "id", sent_at()) {
            Decoded::Typed(Some(raid)) => (raid.channel, raid.what),
            other => panic!("{other:?}"),
        }
    };
    let (channel, what) = raid(r#"{"to_broadcaster_user_id":"101"}"#);
    assert!(channel == "101" && matches!(what, What::RaidIn { viewers: 42, .. }), "{what:?}");
    let (channel, what) = raid(r#"{"from_broadcaster_user_id":"202","to_broadcaster_user_id":""}"#);
    assert!(channel == "202" && matches!(what, What::RaidOut { viewers: 42, .. }), "{what:?}");
}

#[test]
fn a_moderator_s_timeout_is_a_ban_that_ends_and_other_deeds_are_let_be() {
    let timeout = told("channel.moderate", json!({})).what;
    assert!(matches!(timeout, What::Banned { until: Some(_), .. }), "{timeout:?}");
    let deed = |action: &str| {
        let event = format!(r#"{{"broadcaster_user_id":"101","action":"{action}"}}"#);
        outcome("channel.moderate", "2", &event)
    };
    assert_eq!(deed("subscribersoff"), Decoded::Typed(None));
    assert_eq!(reason(deed("ban")), "`ban` is missing");
}

#[test]
fn frames_about_the_connection_are_understood() {
    let read = |kind: &str, payload: &str| {
        let json = format!(
            r#"{{"metadata":{{"message_id":"m","message_type":"{kind}","message_timestamp":"2026-11-20T20:00:00Z"}},"payload":{payload}}}"#
        );
        format!("{:?}", Envelope::read(json.as_bytes()).expect("an envelope").message)
    };
    let session = r#"{"session":{"id":"s1","status":"connected","keepalive_timeout_seconds":10,"reconnect_url":null,"recovery_url":"new"}}"#;
    let welcome = read("session_welcome", session);
    let expected =
        format!("Session {{ id: \"s1\", keepalive: Some({:?}) }}", Duration::from_secs(10));
    assert_eq!(welcome, format!("Welcome({expected})"));
    assert_eq!(read("session_keepalive", "{}"), "Keepalive");
    let url = "wss://cell-a.example/ws?challenge=a%2Bb&id=1";
    let reconnect =
        read("session_reconnect", &format!(r#"{{"session":{{"reconnect_url":"{url}"}}}}"#));
    assert_eq!(reconnect, format!("Reconnect {{ url: {url:?} }}"));
    let revoked = read(
        "revocation",
        r#"{"subscription":{"id":"x","status":"brand_new_status","type":"channel.follow","version":"2"}}"#,
    );
    assert!(
        revoked.starts_with("Revocation(") && revoked.contains("brand_new_status"),
        "{revoked}"
    );
    let newer = read("session_dance", "{}");
    assert_eq!(newer, r#"Unknown { reason: "message type `session_dance` is none we know" }"#);
}

#[test]
fn webhooks_are_told_apart_by_their_content() {
    let follow = r#""subscription":{"id":"x","status":"S","type":"channel.follow","version":"2","condition":{"broadcaster_user_id":101}}"#;
    let read = |json: String| {
        let envelope = Envelope::read(json.as_bytes()).expect("an envelope");
        (envelope.message_type.clone(), format!("{:?}", envelope.message))
    };
    let pending = follow.replace('S', "webhook_callback_verification_pending");
    let (kind, challenge) = read(format!(r#"{{"challenge":"kappa",{pending}}}"#));
    assert_eq!(kind, "webhook_callback_verification");
    assert!(challenge.starts_with(r#"Challenge { answer: "kappa", proves: Subscription("#));
    let revoked = follow.replace('S', "authorization_revoked");
    let (kind, revocation) = read(format!("{{{revoked}}}"));
    assert!(kind == "revocation" && revocation.contains(r#""broadcaster_user_id": "101""#));
    let shard = br#"{"challenge":"abc","conduit_shard":{"conduit_id":"k","shard":"0"}}"#;
    let message = Envelope::read(shard).expect("an envelope").message;
    let Message::Challenge { answer, proves: Proof::ConduitShard { conduit_id } } = message else {
        panic!("no conduit challenge: {message:?}");
    };
    assert_eq!((answer.as_str(), conduit_id.as_deref()), ("abc", Some("k")));
    let empty = follow.replace('S', "enabled");
    let (kind, _) = read(format!("{{{empty}}}"));
    assert_eq!(kind, "notification");
}

#[test]
fn what_is_not_known_is_unknown_with_its_reason_and_keeps_its_id() {
    let frame = frame("channel.dance", "7", r#"{"any":"thing"}"#);
    let envelope = Envelope::read(frame.as_bytes()).expect("an envelope");
    assert_eq!(envelope.message_id.as_deref(), Some("id-1"));
    let unknown = decode(&notification(&frame), "id-1", sent_at());
    let expected = Decoded::Unknown {
        kind: "channel.dance".into(),
        version: "7".into(),
        reason: "this type is none we know".into(),
    };
    assert_eq!(unknown, expected);
    let version = reason(outcome("channel.follow", "9", "{}"));
    assert_eq!(version, "version `9` is none we know: 1, 2");
    assert_eq!(reason(outcome("channel.follow", "2", "null")), "the notification holds no event");
    let form = reason(outcome("channel.follow", "2", "[1]"));
    assert!(form.starts_with("the event: "), "{form}");
}

#[test]
fn what_is_no_envelope_is_refused_with_its_reason() {
    let refusal = |json: &[u8]| Envelope::read(json).expect_err("no envelope").reason;
    assert!(refusal(b"").starts_with("no JSON object"));
    assert!(refusal(b"[1,2]").starts_with("no JSON object"));
    assert!(refusal(b"{\"metadata\":{").starts_with("no JSON object"));
    assert!(refusal(b"{\"a\":\"\xff\"}").starts_with("no JSON object"));
    assert!(refusal(br#"{"broadcaster_user_id":"1","action":"mod"}"#).contains("no envelope"));
    let huge = vec![b' '; ENVELOPE_BYTES_MAX + 1];
    assert!(refusal(&huge).contains("at most 1048576 are taken"));
}

#[test]
fn the_last_of_two_fields_counts_as_everywhere() {
    let event = r#"{"broadcaster_user_id":"1","broadcaster_user_id":"101","user_id":"7","user_name":"Léa","followed_at":null}"#;
    let heard = happening("channel.follow", "2", event);
    assert_eq!((heard.channel.as_str(), heard.what), ("101", What::Followed { viewer: lea() }));
}

#[test]
fn half_a_surrogate_and_a_nul_become_a_mark() {
    let event = r#"{"broadcaster_user_id":"101","\udc00":1,"chatter_user_id":"7","chatter_user_name":"Léa","message_id":"m","message":{"text":"a\ud800b\u0000c\ud83d\udca5"}}"#;
    let heard = chat(happening("channel.chat.message", "1", event));
    let text: String = heard.text.chars().filter(|c| *c != '\u{fffd}').collect();
    assert_eq!(text, "abc💥");
    assert!(heard.text.starts_with("a\u{fffd}"));
}

#[test]
fn depth_costs_nothing() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let event = format!(
        r#"{{"broadcaster_user_id":"101","x":{deep},"user_id":"7","user_name":"Léa","followed_at":null}}"#
    );
    assert_eq!(happening("channel.follow", "2", &event).what, What::Followed { viewer: lea() });
    let open = format!(r#"{{"metadata":{}"#, "[".repeat(200_000));
    assert!(Envelope::read(open.as_bytes()).is_err());
}

/// A change to a payload that does not touch its outermost form.
#[derive(Debug, Clone)]
enum Change {
    ExtraField,
    Null,
    NewWord,
    OtherForm,
}

fn change(value: &mut Value, way: &[usize], change: &Change) {
    let Some((step, rest)) = way.split_first() else { return };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let at = step % fields.len();
            let inner = fields.iter_mut().nth(at).map(|(_, inner)| inner);
            if let Some(inner) = inner.filter(|it| it.is_object() && !rest.is_empty()) {
                return self::change(inner, rest, change);
            }
            let name = fields.keys().nth(at).cloned().unwrap_or_default();
            match change {
                Change::ExtraField => fields.insert("brand_new".into(), json!({"a": [1, null]})),
                Change::Null => fields.insert(name, Value::Null),
                Change::NewWord => fields.insert(name, json!("brand_new")),
                Change::OtherForm => fields.insert(name, json!([{"a": 1}])),
            };
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_event_is_typed_or_unknown_and_never_no_envelope(
        pick in any::<prop::sample::Index>(),
        way in prop::collection::vec(0_usize..20, 1..5),
        how in prop_oneof![
            Just(Change::ExtraField), Just(Change::Null), Just(Change::NewWord), Just(Change::OtherForm)
        ],
        kind in prop_oneof![Just(None), Just(Some("channel.brand_new"))],
        version in prop_oneof![Just(None), Just(Some("99"))],
    ) {
        let samples = samples();
        let sample = pick.get(&samples);
        let mut event: Value = serde_json::from_str(&sample.event).unwrap();
        change(&mut event, &way, &how);
        let (kind, version) = (kind.unwrap_or(sample.kind), version.unwrap_or(sample.version));
        let json = frame(kind, version, &event.to_string());
        let decoded = decode(&notification(&json), "id-1", sent_at());
        if (kind, version) != (sample.kind, sample.version) {
            prop_assert!(matches!(decoded, Decoded::Unknown { .. }), "{decoded:?}");
        } else if matches!(how, Change::ExtraField) {
            prop_assert!(matches!(decoded, Decoded::Typed(_)), "{decoded:?}");
        }
    }

    #[test]
    fn a_cut_frame_is_refused(pick in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>()) {
        let samples = samples();
        let sample = pick.get(&samples);
        let whole = frame(sample.kind, sample.version, &sample.event);
        prop_assert!(Envelope::read(&whole.as_bytes()[..cut.index(whole.len())]).is_err());
    }
}

#[test]
fn the_command_decodes_every_payload_of_every_readable_file() {
    let folder = tempfile::tempdir().unwrap();
    let follow = &samples().into_iter().find(|it| it.kind == "channel.follow").unwrap().event;
    let follow = frame("channel.follow", "2", follow);
    let keepalive = r#"{"metadata":{"message_id":"2","message_type":"session_keepalive","message_timestamp":"2026-11-20T20:00:00Z"},"payload":{}}"#;
    let pretty: Value = serde_json::from_str(&follow).unwrap();
    let files = [
        ("pretty", format!("\u{feff}{pretty:#}\r\n")),
        ("array", format!("[{follow},\n{keepalive}, 7]")),
        ("lines", format!("{follow}\r\n\n{{\"torn\n{keepalive}\n")),
        ("torn", format!("{pretty:#}").replace("\"payload\"", "payload")),
        ("unknown", webhook("channel.dance", "1", "{}")),
    ];
    let mut paths = vec![folder.path().join("absent"), folder.path().to_owned()];
    for (name, text) in &files {
        std::fs::write(folder.path().join(name), text).unwrap();
        paths.push(folder.path().join(name));
    }
    let run = |paths: &[std::path::PathBuf]| {
        let decode = ["twitch", "decode"];
        Command::new(env!("CARGO_BIN_EXE_spark")).args(decode).args(paths).output().unwrap()
    };
    let output = run(&paths);
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("absent") && complaint.lines().count() == 2, "{complaint}");
    let lines: Vec<(String, Value, String)> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let file = std::path::Path::new(line["file"].as_str().unwrap());
            let file = file.file_name().unwrap().to_string_lossy().into_owned();
            assert_eq!(line["reason"].is_null(), line["outcome"] == "typed", "{line}");
            (file, line["type"].clone(), line["outcome"].as_str().unwrap().to_owned())
        })
        .collect();
    let shown: Vec<String> =
        lines.iter().map(|(file, kind, outcome)| format!("{file} {kind} {outcome}")).collect();
    let expected = [
        r#"pretty "channel.follow" typed"#,
        r#"array "channel.follow" typed"#,
        r#"array "session_keepalive" typed"#,
        "array null invalid",
        r#"lines "channel.follow" typed"#,
        "lines null invalid",
        r#"lines "session_keepalive" typed"#,
        "torn null invalid",
        r#"unknown "channel.dance" unknown"#,
    ];
    assert_eq!(shown, expected);
    assert_eq!(run(&paths[2..]).status.code(), Some(0));
}
