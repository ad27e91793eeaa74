//! Past chats, scripts and the house's own evening are played; the program serves them alone.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use spark::rehearsal::twitch::{Act, Programme};

use crate::listener::{CHANNEL, Caller, Listener, NOUR, chat, text_of, twitch};

#[tokio::test]
async fn a_past_chat_is_played_in_order_with_timestamps_of_now() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&listener).await;
    let log =
        "# seconds, user, text\n3600.0\tAmi\tun\n3601.5\tAmie\tdeux\ttabulé\n3604.0\tAmi\ttrois\n";
    let programme = Programme::of_chat_log(log).unwrap();
    let begun = Instant::now();
    let playing = twitch.play(CHANNEL, programme, 20.0).unwrap();
    for text in ["un", "deux\ttabulé", "trois"] {
        let frame = listener.event().await;
        assert_eq!(text_of(&frame), text);
        let stamp = frame["metadata"]["message_timestamp"].as_str().unwrap();
        let stamp: SystemTime = chrono::DateTime::parse_from_rfc3339(stamp).unwrap().into();
        assert!(stamp.elapsed().unwrap() < Duration::from_secs(5));
    }
    // Four seconds at twenty times the speed.
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    assert_eq!(playing.await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_no_log_and_no_script_is_told_with_its_line() {
    let error = Programme::of_chat_log("1\tAmi\tok\nhello").err().unwrap().to_string();
    assert!(error.contains("line 2") && error.contains("seconds"), "{error}");
    let error = Programme::of_script("{\"at\": 1, \"do\": \"dance\"}").err().unwrap().to_string();
    assert!(error.contains("line 1"), "{error}");
    let twitch = twitch().await;
    assert!(twitch.play(CHANNEL, Programme::default(), 0.0).is_err());
    assert!(twitch.play("nobody", Programme::default(), 1.0).is_err());
}

#[tokio::test]
async fn a_script_makes_things_happen() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&listener).await;
    let online = json!({"broadcaster_user_id": NOUR});
    nour.subscribe(&listener, "stream.online", online).await;
    let script = r#"
        {"at": 0.5, "do": "say", "channel": "villanour", "viewer": "Ami", "text": "salut"}
        {"at": 0, "do": "go_live", "channel": "villanour"}
        {"at": 1, "do": "cut", "code": 4000}"#;
    let playing = twitch.play(CHANNEL, Programme::of_script(script).unwrap(), 10.0).unwrap();
    assert_eq!(listener.event().await["metadata"]["subscription_type"], "stream.online");
    assert_eq!(text_of(&listener.event().await), "salut");
    assert_eq!(listener.end().await, crate::listener::Heard::Closed(4000));
    assert_eq!(playing.await.unwrap(), 0);
}

#[tokio::test]
async fn the_houses_own_evening_has_raids_gifts_polls_and_an_end() {
    let twitch = twitch().await;
    let programme = Programme::of_evening(CHANNEL, 7, 240);
    let failed = twitch.play(CHANNEL, programme, 1_000.0).unwrap().await.unwrap();
    assert_eq!(failed, 0);
    let ledger = twitch.ledger();
    let count = |kind: &str| ledger.iter().filter(|entry| &*entry.kind == kind).count();
    assert!(count("channel.chat.message") > 1_500, "{}", count("channel.chat.message"));
    for (kind, times) in [
        ("stream.online", 1),
        ("stream.offline", 1),
        ("channel.raid", 1),
        ("channel.subscription.gift", 1),
        ("channel.subscribe", 50),
    ] {
        assert_eq!(count(kind), times, "{kind}");
    }
    for kind in ["channel.poll.begin", "channel.follow", "channel.cheer", "channel.hype_train.end"]
    {
        assert!(count(kind) > 0, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_twenty_thousand_arrives_whole() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    let mut listener = Listener::connect(&twitch.websocket_url()).await;
    nour.hear_chat(&listener).await;
    let begun = Instant::now();
    let (channel, text) = (CHANNEL.to_owned(), "MDR".to_owned());
    let ids = twitch.act(Act::Burst { channel, count: 20_000, text }).unwrap();
    let made = begun.elapsed();
    for id in ids {
        assert_eq!(listener.event().await["payload"]["event"]["message_id"], id.as_str());
    }
    println!("20,000 messages: made in {made:?}, heard after {:?}", begun.elapsed());
    assert_eq!(twitch.counter("burst"), 1);
    assert_eq!(twitch.counter("slow_reader"), 0);
}

#[tokio::test]
async fn the_program_serves_it_alone_and_another_process_drives_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("chat.tsv");
    std::fs::write(&log, "0\tAmi\tun\n").unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_spark"))
        .args(["rehearse", "twitch", "--listen", "127.0.0.1:0", "--channels", "2", "--chat"])
        .arg(&log)
        .arg("--data")
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let address = lines.find_map(|line| {
        let line = line.unwrap();
        line.strip_prefix("The pretend Twitch is on ").map(str::to_owned)
    });
    let address = address.expect("it says where it is");
    lines.find(|line| line.as_ref().unwrap().starts_with("Ctrl-C")).unwrap().unwrap();
    let http = reqwest::Client::new();
    let control = |path: &str| format!("http://{address}/control/{path}");
    let wish = json!({"user": CHANNEL});
    let tokens: Value =
        http.post(control("tokens")).json(&wish).send().await.unwrap().json().await.unwrap();
    let mut listener = Listener::connect(&format!("ws://{address}/ws")).await;
    let transport = json!({"method": "websocket", "session_id": listener.id});
    let wish = json!({"type": "channel.chat.message", "version": "1", "condition": chat(), "transport": transport});
    let subscribed = http
        .post(format!("http://{address}/helix/eventsub/subscriptions"))
        .bearer_auth(tokens["access_token"].as_str().unwrap())
        .header("Client-Id", "pretendclient")
        .json(&wish)
        .send()
        .await
        .unwrap();
    assert_eq!(subscribed.status().as_u16(), 202);
    let act = json!({"do": "say", "channel": CHANNEL, "viewer": "Ami", "text": "de loin"});
    let said: Value =
        http.post(control("act")).json(&act).send().await.unwrap().json().await.unwrap();
    let frame = listener.event().await;
    assert_eq!(frame["payload"]["event"]["message_id"], said["ids"][0]);
    let faults = json!({"duplicate_rate": 1.0});
    http.put(control("faults")).json(&faults).send().await.unwrap().error_for_status().unwrap();
    http.post(control("act")).json(&act).send().await.unwrap().error_for_status().unwrap();
    let (once, twice) = (listener.event().await, listener.event().await);
    assert_eq!(once["metadata"]["message_id"], twice["metadata"]["message_id"]);
    let counters: Value = http.get(control("counters")).send().await.unwrap().json().await.unwrap();
    assert_eq!(counters["duplicate"], 1);
    let ledger: Value = http.get(control("ledger")).send().await.unwrap().json().await.unwrap();
    let entries = ledger["entries"].as_array().unwrap().iter();
    let chat = entries.filter(|entry| entry["type"] == "channel.chat.message");
    assert_eq!(chat.count(), 3, "the log's message, which nobody heard, and two");
    let nonsense = http.post(control("act")).json(&json!({"do": "dance"})).send().await.unwrap();
    assert_eq!(nonsense.status().as_u16(), 400);

    let pid = program.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert!(program.wait().unwrap().success());
}
