//! The webhook sender, received by a small server of our own that checks what Twitch tells receivers to check.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use spark::rehearsal::twitch::{Act, PretendTwitch};

use crate::listener::{CHANNEL, Caller, NOUR, PATIENCE, twitch};

pub(crate) const SECRET: &str = "a secret of ten or more";

#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) retry: u32,
    pub(crate) signed: bool,
    pub(crate) age_s: i64,
    pub(crate) body: Value,
}

#[derive(Default)]
struct Inbox {
    received: Vec<Received>,
    /// Answers to give to notifications, before 200.
    answers: VecDeque<u16>,
    always: Option<u16>,
}

/// A callback on loopback.
pub(crate) struct Callback {
    pub(crate) url: String,
    inbox: Arc<Mutex<Inbox>>,
}

impl Callback {
    pub(crate) async fn start() -> Self {
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let router = Router::new().route("/hook", post(receive)).with_state(Arc::clone(&inbox));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, inbox }
    }

    pub(crate) fn answer(&self, statuses: &[u16]) {
        self.inbox.lock().unwrap().answers = statuses.iter().copied().collect();
    }

    pub(crate) fn always(&self, status: u16) {
        self.inbox.lock().unwrap().always = Some(status);
    }

    /// Waits until so many messages of a kind came.
    pub(crate) async fn wait(&self, kind: &str, count: usize) -> Vec<Received> {
        let begun = Instant::now();
        loop {
            let received = self.inbox.lock().unwrap().received.clone();
            let of_kind: Vec<_> = received.into_iter().filter(|one| one.kind == kind).collect();
            if of_kind.len() >= count {
                return of_kind;
            }
            assert!(begun.elapsed() < PATIENCE, "{} of {count} {kind} came", of_kind.len());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

async fn receive(
    State(inbox): State<Arc<Mutex<Inbox>>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let text =
        |name: &str| headers[&format!("twitch-eventsub-{name}")].to_str().unwrap().to_owned();
    let (id, stamp) = (text("message-id"), text("message-timestamp"));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(id.as_bytes());
    mac.update(stamp.as_bytes());
    mac.update(&body);
    let signature = text("message-signature");
    let hex: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let sent: std::time::SystemTime = chrono::DateTime::parse_from_rfc3339(&stamp).unwrap().into();
    let age_s = sent.elapsed().map_or(0, |age| age.as_secs() as i64);
    let body: Value = serde_json::from_slice(&body).unwrap();
    let received = Received {
        kind: text("message-type"),
        id,
        retry: text("message-retry").parse().unwrap(),
        signed: signature == format!("sha256={hex}"),
        age_s,
        body: body.clone(),
    };
    let mut inbox = inbox.lock().unwrap();
    inbox.received.push(received.clone());
    if received.kind == "webhook_callback_verification" {
        return (StatusCode::OK, body["challenge"].as_str().unwrap().to_owned());
    }
    if !received.signed || age_s > 600 {
        return (StatusCode::FORBIDDEN, String::new());
    }
    let planned = inbox.always.or_else(|| inbox.answers.pop_front()).unwrap_or(200);
    (StatusCode::from_u16(planned).unwrap(), String::new())
}

async fn subscribe(twitch: &PretendTwitch, callback: &str) -> (Caller, Value) {
    twitch.user_token(CHANNEL, &[]).unwrap();
    let app = Caller::app(twitch);
    let wish = json!({
        "type": "channel.cheer", "version": "1", "condition": {"broadcaster_user_id": NOUR},
        "transport": {"method": "webhook", "callback": callback, "secret": SECRET},
    });
    let answer = app.post("eventsub/subscriptions", wish).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    (app, answer.body["data"][0].clone())
}

async fn wait_for_status(app: &Caller, status: &str) {
    let begun = Instant::now();
    loop {
        let listed = app.get("eventsub/subscriptions").await.body;
        if listed["data"][0]["status"] == status {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "it is {} and not {status}",
            listed["data"][0]["status"]
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn cheer(twitch: &PretendTwitch) {
    let (channel, viewer) = (CHANNEL.to_owned(), "Ami".to_owned());
    twitch.act(Act::Say { channel, viewer, text: "Cheer100".into(), bits: 100 }).unwrap();
}

#[tokio::test]
async fn a_callback_is_challenged_and_then_gets_signed_notifications() {
    let (twitch, callback) = (twitch().await, Callback::start().await);
    let (app, created) = subscribe(&twitch, &callback.url).await;
    assert_eq!(created["status"], "webhook_callback_verification_pending");
    wait_for_status(&app, "enabled").await;
    cheer(&twitch);
    let told = &callback.wait("notification", 1).await[0];
    assert!(told.signed && told.retry == 0);
    assert_eq!(told.body["event"]["bits"], 100);
    assert_eq!(told.body["subscription"]["id"], created["id"]);
    twitch
        .act(Act::Revoke { subscription: "channel.cheer".into(), status: "user_removed".into() })
        .unwrap();
    let told = &callback.wait("revocation", 1).await[0];
    assert_eq!(told.body["subscription"]["status"], "user_removed");
}

#[tokio::test]
async fn a_callback_that_is_none_fails_its_verification() {
    let twitch = twitch().await;
    let (app, _) = subscribe(&twitch, "http://127.0.0.1:9/nobody").await;
    wait_for_status(&app, "webhook_callback_verification_failed").await;
    let wish = json!({
        "type": "channel.cheer", "version": "1", "condition": {"broadcaster_user_id": NOUR},
        "transport": {"method": "webhook", "callback": "https://example.com/hook", "secret": SECRET},
    });
    assert_eq!(app.post("eventsub/subscriptions", wish).await.status, 400, "nobody else is called");
}

#[tokio::test]
async fn a_delivery_is_tried_again_with_the_same_id() {
    let (twitch, callback) = (twitch().await, Callback::start().await);
    let (app, _) = subscribe(&twitch, &callback.url).await;
    wait_for_status(&app, "enabled").await;
    callback.answer(&[500, 503]);
    cheer(&twitch);
    let tries = callback.wait("notification", 3).await;
    assert_eq!(tries.iter().map(|one| one.retry).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(tries.iter().all(|one| one.id == tries[0].id));
    assert_eq!(twitch.counter("webhook_retry"), 2);
}

#[tokio::test]
async fn forged_and_stale_messages_come_when_asked_for() {
    let (twitch, callback) = (twitch().await, Callback::start().await);
    let (app, _) = subscribe(&twitch, &callback.url).await;
    wait_for_status(&app, "enabled").await;
    twitch.faults(|faults| faults.bad_signatures = 1);
    cheer(&twitch);
    let tries = callback.wait("notification", 2).await;
    assert_eq!((tries[0].signed, tries[1].signed), (false, true));
    twitch.faults(|faults| faults.stale_timestamps = 1);
    cheer(&twitch);
    let tries = callback.wait("notification", 4).await;
    assert!(tries[2].signed && tries[2].age_s > 600 && tries[3].age_s < 600);
    assert_eq!((twitch.counter("bad_signature"), twitch.counter("stale_timestamp")), (1, 1));
}

#[tokio::test]
async fn a_callback_that_never_answers_well_is_given_up() {
    let (twitch, callback) = (twitch().await, Callback::start().await);
    let (app, _) = subscribe(&twitch, &callback.url).await;
    wait_for_status(&app, "enabled").await;
    callback.always(500);
    for _ in 0..3 {
        cheer(&twitch);
    }
    wait_for_status(&app, "notification_failures_exceeded").await;
    assert_eq!(twitch.counter("notification_failures_exceeded"), 1);
    let told = &callback.wait("revocation", 1).await[0];
    assert_eq!(told.body["subscription"]["status"], "notification_failures_exceeded");
}
