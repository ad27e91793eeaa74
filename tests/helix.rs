//! Helix over real HTTP: points, both kinds of 429, the breaker, what refusals mean, and answers as Twitch writes them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use spark::adapters::clock::SystemClock;
use spark::adapters::twitch::{HelixLimits, TwitchHelix, TwitchSettings};
use spark::domain::audience::channel::ChannelId;
use spark::ports::clock::Clock;
use spark::ports::platform::{
    Announcement, AnnouncementColour, Bearer, Caller, ChannelChange, ChatLine, Deliveries,
    DeliveryVia, Platform, PlatformError, Sent, SubscriptionFilter, SubscriptionOrder,
    VideoClipOrder,
};
use spark::ports::vault::Secret;

/// What was asked of the stand-in: method, path with query, body.
type Asked = (Method, String, Value);

/// Status, headers and body of an answer.
type Answer = (u16, Vec<(&'static str, String)>, Value);

/// Answers from a script, in order; the last one again and again.
#[derive(Clone, Default)]
struct Stage {
    script: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stage {
    fn will(&self, status: u16, headers: &[(&'static str, String)], body: Value) -> &Self {
        self.script.lock().unwrap().push_back((status, headers.to_vec(), body));
        self
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(
    State(stage): State<Stage>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    assert_eq!(headers["client-id"], "client");
    assert_eq!(headers["authorization"], "Bearer token");
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    stage.asked.lock().unwrap().push((method, uri.to_string(), body));
    let mut script = stage.script.lock().unwrap();
    let (status, headers, body) =
        if script.len() > 1 { script.pop_front().unwrap() } else { script[0].clone() };
    let mut response = (StatusCode::from_u16(status).unwrap(), Json(body)).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

async fn open(limits: HelixLimits) -> (Stage, TwitchHelix) {
    let stage = Stage::default();
    let router = Router::new().fallback(answer).with_state(stage.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let settings = TwitchSettings { client_id: Some("client".into()), ..TwitchSettings::at(&base) };
    (stage, TwitchHelix::try_new(settings, limits, Arc::new(SystemClock)).unwrap())
}

fn id(raw: &str) -> ChannelId {
    ChannelId::try_new(raw).unwrap()
}

fn bearer() -> Bearer {
    Bearer { caller: Caller::Channel(id("41")), token: Secret::new("token") }
}

/// Headers of a bucket with `left` points that is full again in `seconds`.
fn points(left: u32, seconds: i64) -> [(&'static str, String); 3] {
    let full_at = SystemClock.now().timestamp() + seconds;
    [
        ("ratelimit-limit", "800".to_owned()),
        ("ratelimit-remaining", left.to_string()),
        ("ratelimit-reset", full_at.to_string()),
    ]
}

fn nothing() -> Value {
    json!({ "data": [] })
}

#[tokio::test]
async fn a_429_without_points_waits_until_they_are_back() {
    let (stage, helix) = open(HelixLimits::default()).await;
    stage.will(429, &points(0, 2), json!({"message": "Too Many Requests"}));
    stage.will(200, &points(799, 60), nothing());
    let begun = SystemClock.now();
    helix.streams(&bearer(), &[id("41")]).await.unwrap();
    assert_eq!(stage.asked().len(), 2, "no 429 was met");
    assert!((SystemClock.now() - begun).num_milliseconds() >= 900, "asked again at once");
}

#[tokio::test]
async fn a_429_with_points_left_is_another_limit_and_waiting_is_no_use() {
    let (stage, helix) = open(HelixLimits::default()).await;
    stage.will(429, &points(700, 60), json!({"message": "subscription limit"}));
    let refused = helix.streams(&bearer(), &[id("41")]).await;
    let Err(PlatformError::RateLimited { retry_after: None, reason }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((reason.as_str(), stage.asked().len()), ("subscription limit", 1));
}

#[tokio::test]
async fn a_429_that_does_not_end_is_given_up_with_its_time() {
    let (stage, helix) = open(HelixLimits::default()).await;
    stage.will(429, &points(0, 600), json!({"message": "Too Many Requests"}));
    let refused = helix.streams(&bearer(), &[id("41")]).await;
    let Err(PlatformError::RateLimited { retry_after: Some(wait), .. }) = refused else {
        panic!("{refused:?}")
    };
    assert!(wait > Duration::from_secs(500), "{wait:?}");
    // What is known to be empty is not even asked, and not for another caller.
    assert!(helix.streams(&bearer(), &[id("41")]).await.is_err());
    assert_eq!(stage.asked().len(), 1);
    let app = Bearer { caller: Caller::App, ..bearer() };
    assert!(helix.streams(&app, &[id("41")]).await.is_err());
    assert_eq!(stage.asked().len(), 2);
}

#[tokio::test]
async fn the_last_point_known_of_is_waited_for() {
    let (stage, helix) = open(HelixLimits::default()).await;
    stage.will(200, &points(0, 2), nothing());
    let begun = SystemClock.now();
    helix.streams(&bearer(), &[id("41")]).await.unwrap();
    assert!((SystemClock.now() - begun).num_milliseconds() < 900, "waited with points left");
    helix.streams(&bearer(), &[id("41")]).await.unwrap();
    assert!((SystemClock.now() - begun).num_milliseconds() >= 900, "asked without points");
}

#[tokio::test]
async fn a_breaker_opens_after_faults_and_closes_after_one_success() {
    let limits = HelixLimits {
        breaker_faults: 3,
        breaker_pause: Duration::from_millis(400),
        ..HelixLimits::default()
    };
    let (stage, helix) = open(limits).await;
    for _ in 0..4 {
        stage.will(503, &[], json!({"message": "Service Unavailable"}));
    }
    stage.will(200, &[], nothing());
    let ask = || async { helix.streams(&bearer(), &[id("41")]).await };
    for _ in 0..3 {
        assert!(matches!(ask().await, Err(PlatformError::Passing(_))));
    }
    let open = ask().await;
    assert!(matches!(open, Err(PlatformError::BreakerOpen { .. })), "{open:?}");
    assert_eq!(stage.asked().len(), 3, "an open breaker asked");
    let until_tried = || async {
        loop {
            match ask().await {
                Err(PlatformError::BreakerOpen { retry_after }) => {
                    tokio::time::sleep(retry_after).await;
                }
                answer => break answer,
            }
        }
    };
    // The call that tries meets the fourth fault: open for another pause.
    assert!(matches!(until_tried().await, Err(PlatformError::Passing(_))));
    assert!(matches!(ask().await, Err(PlatformError::BreakerOpen { .. })));
    assert_eq!(stage.asked().len(), 4);
    assert!(until_tried().await.is_ok());
    assert!(ask().await.is_ok(), "closed again");
}

#[tokio::test]
async fn another_endpoint_goes_on_while_one_is_left_alone() {
    let limits = HelixLimits { breaker_faults: 1, ..HelixLimits::default() };
    let (stage, helix) = open(limits).await;
    stage.will(500, &[], Value::Null);
    stage.will(200, &[], nothing());
    assert!(helix.streams(&bearer(), &[id("41")]).await.is_err());
    let open = helix.streams(&bearer(), &[id("41")]).await;
    assert!(matches!(open, Err(PlatformError::BreakerOpen { .. })), "{open:?}");
    assert!(helix.users(&bearer(), &[id("41")]).await.is_ok());
}

#[tokio::test]
async fn a_platform_that_hangs_is_left_within_the_limit() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = TwitchSettings {
        client_id: Some("client".into()),
        ..TwitchSettings::at(&format!("http://{}", listener.local_addr().unwrap()))
    };
    let limits = HelixLimits { answer_max: Duration::from_millis(200), ..HelixLimits::default() };
    let helix = TwitchHelix::try_new(settings, limits, Arc::new(SystemClock)).unwrap();
    let asked = helix.streams(&bearer(), &[id("41")]).await;
    let Err(PlatformError::Passing(error)) = asked else { panic!("{asked:?}") };
    assert!(error.retry && !error.chain().contains("http://"), "{}", error.chain());
}

#[tokio::test]
async fn refusals_are_told_apart() {
    #[track_caller]
    fn check(error: &PlatformError, expected: &str) {
        let found = match error {
            PlatformError::Unauthorised => "unauthorised",
            PlatformError::MissingScope { .. } => "scope",
            PlatformError::NotFound => "not found",
            PlatformError::NotLive => "not live",
            PlatformError::Conflict { .. } => "conflict",
            PlatformError::Refused { .. } => "refused",
            _ => "other",
        };
        assert_eq!(found, expected, "{error:?}");
    }
    for (status, message, expected) in [
        (401, "Invalid OAuth token", "unauthorised"),
        (401, "Missing scope: channel:manage:broadcast", "scope"),
        (
            401,
            "The ID in broadcaster_id must match the user ID found in the request's OAuth token",
            "refused",
        ),
        (403, "subscription missing proper authorization", "scope"),
        (403, "The broadcaster has restricted clips", "refused"),
        (404, "channel offline", "not live"),
        (409, "subscription already exists", "conflict"),
        (400, "bad", "refused"),
    ] {
        let (stage, helix) = open(HelixLimits::default()).await;
        stage.will(status, &[], json!({"status": status, "message": message}));
        check(&helix.streams(&bearer(), &[id("41")]).await.unwrap_err(), expected);
    }
    let (stage, helix) = open(HelixLimits::default()).await;
    stage.will(404, &[], json!({"message": "no stream"}));
    check(&helix.mark(&bearer(), &id("41"), "x").await.unwrap_err(), "not live");
    check(&helix.channel_information(&bearer(), &id("41")).await.unwrap_err(), "not found");
}

#[tokio::test]
async fn a_hundred_and_one_streams_are_two_questions() {
    let (stage, helix) = open(HelixLimits::default()).await;
    stage.will(
        200,
        &[],
        json!({"data": [
        {"id": "9", "user_id": "1", "type": "live", "viewer_count": 3, "title": "t",
         "game_name": "Art", "started_at": "2026-11-03T18:00:00Z", "new_field": {"a": []}},
        {"id": "8", "user_id": "2", "type": "", "viewer_count": 9}]}),
    );
    let ids: Vec<ChannelId> = (1..=101).map(|n| id(&n.to_string())).collect();
    let streams = helix.streams(&bearer(), &ids).await.unwrap();
    let asked = stage.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].1.matches("user_id=").count(), 100);
    // One of each answer: the stream in error is none.
    assert_eq!(streams.len(), 2);
    assert_eq!((streams[0].viewers, streams[0].category.as_str()), (3, "Art"));
}

#[tokio::test]
async fn a_channel_s_deeds_go_out_as_twitch_asks() {
    let (stage, helix) = open(HelixLimits::default()).await;
    let channel = id("41");
    let last = |stage: &Stage| stage.asked().pop().unwrap();

    stage.will(
        200,
        &[],
        json!({"data": [{"title": "Villa", "game_id": "7", "game_name": "Art",
        "broadcaster_language": "fr", "is_branded_content": true, "tags": null}]}),
    );
    let information = helix.channel_information(&bearer(), &channel).await.unwrap();
    assert!(information.is_branded && information.title == "Villa");

    let change = ChannelChange { is_branded: Some(true), ..ChannelChange::default() };
    helix.change_channel(&bearer(), &channel, &change).await.unwrap();
    let (method, path, body) = last(&stage);
    assert_eq!((method.as_str(), path.as_str()), ("PATCH", "/helix/channels?broadcaster_id=41"));
    assert_eq!(body, json!({"is_branded_content": true}));

    let next = |body: Value| {
        let mut script = stage.script.lock().unwrap();
        script.clear();
        script.push_back((200, Vec::new(), body));
    };
    next(
        json!({"data": [{"id": "m", "position_seconds": 125, "created_at": "2026-11-03T18:02:05Z"}]}),
    );
    let marker = helix.mark(&bearer(), &channel, &"é".repeat(200)).await.unwrap();
    assert_eq!(marker.position_s, 125);
    assert_eq!(last(&stage).2["description"].as_str().unwrap().chars().count(), 140);

    next(json!({"data": [{"id": "Clip", "edit_url": "https://clips.twitch.tv/Clip/edit"}]}));
    helix.create_clip(&bearer(), &channel, Some("Le saut"), Some(30.04)).await.unwrap();
    assert_eq!(last(&stage).1, "/helix/clips?broadcaster_id=41&title=Le+saut&duration=30.0");
    let order = VideoClipOrder {
        channel: channel.clone(),
        editor: channel.clone(),
        video_id: "77".into(),
        title: "Le saut".into(),
        ends_at_s: 900,
        duration_s: 45.0,
    };
    assert_eq!(helix.create_video_clip(&bearer(), &order).await.unwrap().id, "Clip");
    assert!(
        last(&stage).1.contains("vod_id=77&vod_offset=900&duration=45.0"),
        "{:?}",
        last(&stage)
    );

    next(
        json!({"data": [{"clip_id": "Clip", "landscape_download_url": "https://a", "portrait_download_url": null}]}),
    );
    let downloads = helix.clip_downloads(&bearer(), &channel, &["Clip".into()]).await.unwrap();
    assert_eq!(downloads[0].portrait_url, None);

    next(json!({"data": [{"message_id": "", "is_sent": false,
        "drop_reason": {"code": "msg_duplicate", "message": "identical"}}]}));
    let line = ChatLine {
        channel: channel.clone(),
        sender: channel.clone(),
        text: "Merci !".into(),
        reply_to: None,
    };
    let sent = helix.send_message(&bearer(), &line).await.unwrap();
    assert_eq!(sent, Sent::Dropped { code: "msg_duplicate".into(), reason: "identical".into() });
    assert!(last(&stage).2.get("reply_parent_message_id").is_none());

    let announcement = Announcement {
        channel: channel.clone(),
        moderator: channel.clone(),
        text: "On reprend".into(),
        colour: AnnouncementColour::Orange,
    };
    helix.announce(&bearer(), &announcement).await.unwrap();
    assert_eq!(last(&stage).2, json!({"message": "On reprend", "color": "orange"}));

    next(
        json!({"data": [{"next_ad_at": "2026-11-03T19:00:00Z", "last_ad_at": "", "duration": "60",
        "preroll_free_time": 90, "snooze_count": 2, "snooze_refresh_at": 0}]}),
    );
    let ads = helix.ad_schedule(&bearer(), &channel).await.unwrap();
    assert_eq!((ads.duration.num_seconds(), ads.snoozes_left, ads.last_at), (60, 2, None));
    next(nothing());
    assert_eq!(helix.ad_schedule(&bearer(), &channel).await.unwrap().next_at, None);

    next(json!({"total": 8, "data": [{"user_id": "5", "user_login": "leo", "user_name": "Léo",
        "followed_at": "2026-11-03T18:00:00Z"}], "pagination": {"cursor": "p2"}}));
    let page = helix.followers(&bearer(), &channel, Some("p1")).await.unwrap();
    assert_eq!((page.total, page.next.as_deref(), page.followers.len()), (8, Some("p2"), 1));
    assert!(last(&stage).1.ends_with("after=p1"));

    next(json!({"data": [{"id": "q", "title": "Bleu ?", "status": "ACTIVE",
        "choices": [{"id": "a", "title": "Oui", "votes": 3}], "ended_at": null}]}));
    assert_eq!(helix.polls(&bearer(), &channel).await.unwrap()[0].choices[0].votes, 3);

    next(json!({"data": [{"id": "77", "stream_id": "9", "title": "Jour 3", "duration": "3h8m33s",
        "created_at": "2026-11-03T18:00:00Z", "url": "https://v"}]}));
    let videos = helix.videos(&bearer(), &channel).await.unwrap();
    assert_eq!(videos[0].duration.num_seconds(), 11_313);

    next(nothing());
    helix.start_raid(&bearer(), &channel, &id("42")).await.unwrap();
    assert_eq!(last(&stage).1, "/helix/raids?from_broadcaster_id=41&to_broadcaster_id=42");
    helix.cancel_raid(&bearer(), &channel).await.unwrap();
    assert_eq!(last(&stage).0, Method::DELETE);
}

#[tokio::test]
async fn subscriptions_conduits_and_shards_are_made_listed_and_ended() {
    let (stage, helix) = open(HelixLimits::default()).await;
    let row = json!({"id": "s1", "status": "enabled", "type": "channel.follow", "version": "2",
        "condition": {"broadcaster_user_id": "41", "moderator_user_id": "41"}, "cost": 0,
        "created_at": "2026-11-03T18:00:00.123456789Z",
        "transport": {"method": "websocket", "session_id": "w1", "connected_at": "x"}});
    let order = SubscriptionOrder {
        kind: "channel.follow".into(),
        version: "2".into(),
        condition: [("broadcaster_user_id".to_owned(), "41".to_owned())].into(),
        via: DeliveryVia::Socket { session_id: "w1".into() },
    };
    stage.will(202, &[], json!({"data": [row], "total": 1, "total_cost": 0, "max_total_cost": 10}));
    stage.will(409, &[], json!({"message": "subscription already exists", "id": "s1"}));
    stage.will(200, &[], json!({"data": [row], "pagination": {"cursor": "more"}}));
    stage.will(200, &[], json!({"data": [row], "pagination": {}}));
    stage.will(404, &[], json!({"message": "subscription not found"}));
    stage.will(200, &[], json!({"data": [{"id": "c1", "shard_count": 2}]}));
    stage.will(
        202,
        &[],
        json!({"data": [{"id": "0", "status": "enabled"}],
        "errors": [{"id": "1", "message": "no such session", "code": "websocket_disconnected"}]}),
    );
    stage.will(
        200,
        &[],
        json!({"data": [{"user_id": "41", "scopes": ["bits:read"], "has_authorized": true},
        {"user_id": "42", "scopes": [], "has_authorized": false}]}),
    );

    let made = helix.subscribe(&bearer(), &order).await.unwrap();
    assert_eq!((made.id.as_str(), made.session_id.as_deref()), ("s1", Some("w1")));
    assert_eq!(stage.asked()[0].2["transport"], json!({"method": "websocket", "session_id": "w1"}));
    let again = helix.subscribe(&bearer(), &order).await;
    assert!(
        matches!(&again, Err(PlatformError::Conflict { existing: Some(id) }) if id == "s1"),
        "{again:?}"
    );
    let listed = helix.subscriptions(&bearer(), &SubscriptionFilter::User(id("41"))).await.unwrap();
    assert_eq!(listed.len(), 2, "the second page was not read");
    assert!(stage.asked()[3].1.contains("after=more&user_id=41"), "{:?}", stage.asked()[3]);
    helix.unsubscribe(&bearer(), "s1").await.unwrap();
    let conduit = helix.create_conduit(&bearer(), 2).await.unwrap();
    assert_eq!(conduit.shards, 2);
    let ways = [
        ("0".to_owned(), DeliveryVia::Socket { session_id: "w1".into() }),
        ("1".to_owned(), DeliveryVia::Socket { session_id: "w2".into() }),
    ];
    let refused = helix.attach_shards(&bearer(), "c1", &ways).await.unwrap();
    assert_eq!((refused.len(), refused[0].id.as_str()), (1, "1"));
    let grants = helix.grants(&bearer(), &[id("41"), id("42")]).await.unwrap();
    assert_eq!(grants.len(), 1);
}
