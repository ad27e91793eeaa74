//! The webhook sender: challenges, signed notifications, retries, and giving up on a callback that does not answer.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

use super::refusal::Refusal;
use super::stage::{Stage, State, now, rfc3339};
use super::subscriptions::{ENABLED, PENDING};

/// Deliveries that wait at most.
pub(super) const OUTBOX_MAX: usize = 65_536;
/// Deliveries on their way at once.
const IN_FLIGHT_MAX: usize = 64;
/// How long a callback may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Tries of one delivery; before the next try 1, 2, 4 … of Twitch's seconds pass.
const TRIES_MAX: u32 = 5;
/// Deliveries in a row that fail before the subscription is given up.
const FAILED_IN_A_ROW_MAX: u32 = 3;
/// Bounds of a secret, in ASCII characters.
const SECRET_CHARS: std::ops::RangeInclusive<usize> = 10..=100;
/// How old a stale timestamp is.
const STALE: TimeDelta = TimeDelta::minutes(11);

/// A callback and what it is for.
#[derive(Clone)]
pub(super) struct Hook {
    pub(super) callback: Arc<str>,
    secret: Arc<str>,
    owner: Owner,
}

/// What a callback belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    Subscription(Arc<str>),
    Shard { conduit: String, shard: usize },
}

/// The kinds of message a callback gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageType {
    Challenge,
    Notification,
    Revocation,
}

impl MessageType {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Challenge => "webhook_callback_verification",
            Self::Notification => "notification",
            Self::Revocation => "revocation",
        }
    }
}

/// One message for one callback.
pub(super) struct Delivery {
    pub(super) hook: Hook,
    pub(super) message_id: String,
    pub(super) message_type: MessageType,
    pub(super) kind: String,
    pub(super) version: String,
    pub(super) body: String,
    pub(super) entry: Option<usize>,
}

impl Hook {
    /// Takes a callback, which must be on this machine: a rehearsal calls nobody else.
    pub(super) fn accept(callback: &str, secret: &str, owner: Owner) -> Result<Self, Refusal> {
        let url = reqwest::Url::parse(callback)
            .map_err(|error| Refusal::bad(format!("transport.callback is no URL: {error}")))?;
        let is_loopback = url.host_str().is_some_and(|host| {
            let bare = host.trim_matches(['[', ']']);
            host == "localhost" || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        });
        if !is_loopback || !["http", "https"].contains(&url.scheme()) {
            return Err(Refusal::bad(
                "transport.callback must be an http or https address of this machine: the pretend Twitch calls nobody else",
            ));
        }
        if !secret.is_ascii() || !SECRET_CHARS.contains(&secret.len()) {
            return Err(Refusal::bad("transport.secret must be 10 to 100 ASCII characters"));
        }
        Ok(Self { callback: callback.into(), secret: secret.into(), owner })
    }
}

impl State {
    /// Puts a delivery into the outbox. False when that is full.
    pub(super) fn hand_out(&mut self, delivery: Delivery) -> bool {
        self.outbox.try_send(delivery).is_ok()
    }

    /// Asks a callback to prove that it is one. `about` is `{subscription}` or `{conduit_shard}`.
    pub(super) fn challenge(&mut self, hook: &Hook, kind: &str, about: &Value) {
        let mut body = about.clone();
        let challenge = Uuid::new_v4().to_string();
        body["challenge"] = challenge.as_str().into();
        let delivery = Delivery {
            hook: hook.clone(),
            message_id: challenge,
            message_type: MessageType::Challenge,
            kind: kind.to_owned(),
            version: "1".into(),
            body: body.to_string(),
            entry: None,
        };
        if !self.hand_out(delivery) {
            self.set_status(&hook.owner, "webhook_callback_verification_failed");
        }
    }

    fn set_status(&mut self, owner: &Owner, status: &str) {
        match owner {
            Owner::Subscription(id) => {
                let known = self.subscriptions.iter_mut().find(|known| known.id == *id);
                let Some(known) = known.filter(|known| known.status == PENDING) else { return };
                if status == ENABLED {
                    status.clone_into(&mut known.status);
                    known.rewrite();
                } else {
                    known.disable(status);
                }
            }
            Owner::Shard { conduit, shard } => self.set_shard_status(conduit, *shard, status),
        }
    }

    fn give_up(&mut self, owner: &Owner) {
        let status = "notification_failures_exceeded";
        self.counters.one(status);
        match owner {
            Owner::Subscription(id) => {
                if let Some(place) = self.subscriptions.iter().position(|known| known.id == *id) {
                    self.revoke(place, status);
                }
            }
            Owner::Shard { conduit, shard } => self.set_shard_status(conduit, *shard, status),
        }
    }
}

/// Sends what comes into the outbox until the server stops.
pub(super) async fn dispatch(
    stage: Arc<Stage>,
    http: reqwest::Client,
    mut outbox: mpsc::Receiver<Delivery>,
) {
    let room = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    loop {
        let delivery = tokio::select! {
            () = stage.stop.cancelled() => return,
            delivery = outbox.recv() => delivery,
        };
        let (Some(delivery), Ok(permit)) = (delivery, Arc::clone(&room).acquire_owned().await)
        else {
            return;
        };
        let (stage, http) = (Arc::clone(&stage), http.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stage.stop.cancelled() => {}
                () = deliver(&stage, &http, &delivery) => {}
            }
            drop(permit);
        });
    }
}

async fn deliver(stage: &Stage, http: &reqwest::Client, delivery: &Delivery) {
    let is_challenge = delivery.message_type == MessageType::Challenge;
    let tries = if is_challenge { 1 } else { TRIES_MAX };
    for attempt in 0..tries {
        if attempt > 0 {
            tokio::time::sleep(stage.seconds(1 << (attempt - 1))).await;
            stage.state().counters.one("webhook_retry");
        }
        if post(stage, http, delivery, attempt).await {
            let mut state = stage.state();
            state.failed_deliveries.remove(&delivery.hook.owner);
            if let Some(entry) = delivery.entry {
                state.ledger.taken(entry, &delivery.hook.callback);
            }
            if is_challenge {
                state.set_status(&delivery.hook.owner, ENABLED);
            }
            return;
        }
    }
    let mut state = stage.state();
    match delivery.message_type {
        MessageType::Challenge => {
            state.set_status(&delivery.hook.owner, "webhook_callback_verification_failed");
        }
        MessageType::Notification => {
            let failed = state.failed_deliveries.entry(delivery.hook.owner.clone()).or_default();
            *failed += 1;
            if *failed == FAILED_IN_A_ROW_MAX {
                state.give_up(&delivery.hook.owner);
            }
        }
        MessageType::Revocation => {}
    }
}

/// One try. True when the callback took it.
async fn post(stage: &Stage, http: &reqwest::Client, delivery: &Delivery, attempt: u32) -> bool {
    let (stamp, mut key) = (stage.state().stamp(), delivery.hook.secret.to_string());
    let mut is_played_back = false;
    if attempt == 0 && delivery.message_type == MessageType::Notification {
        let mut state = stage.state();
        if state.faults.bad_signatures > 0 {
            state.faults.bad_signatures -= 1;
            state.counters.one("bad_signature");
            key.push_str("-not-the-secret");
        }
        if state.faults.stale_timestamps > 0 {
            state.faults.stale_timestamps -= 1;
            state.counters.one("stale_timestamp");
            is_played_back = true;
        }
    }
    if is_played_back {
        // Whatever is answered, the delivery itself follows.
        let old = rfc3339(now() - STALE);
        let _ = send(http, delivery, attempt, &old, &delivery.hook.secret).await;
    }
    let Ok(answer) = send(http, delivery, attempt, &stamp, &key).await else { return false };
    if !answer.status().is_success() {
        return false;
    }
    if delivery.message_type != MessageType::Challenge {
        return true;
    }
    // The challenge's id is its text.
    answer.text().await.is_ok_and(|text| text == delivery.message_id)
}

async fn send(
    http: &reqwest::Client,
    delivery: &Delivery,
    attempt: u32,
    stamp: &str,
    key: &str,
) -> reqwest::Result<reqwest::Response> {
    let name = |suffix: &str| format!("Twitch-Eventsub-{suffix}");
    http.post(&*delivery.hook.callback)
        .timeout(ANSWER_MAX)
        .header("Content-Type", "application/json")
        .header(name("Message-Id"), &delivery.message_id)
        .header(name("Message-Retry"), attempt.to_string())
        .header(name("Message-Type"), delivery.message_type.as_str())
        .header(name("Message-Signature"), sign(key, &delivery.message_id, stamp, &delivery.body))
        .header(name("Message-Timestamp"), stamp)
        .header(name("Subscription-Type"), &delivery.kind)
        .header(name("Subscription-Version"), &delivery.version)
        .body(delivery.body.clone())
        .send()
        .await
}

/// `sha256=` and the HMAC over id, timestamp and body.
fn sign(secret: &str, id: &str, stamp: &str, body: &str) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    for part in [id, stamp, body] {
        mac.update(part.as_bytes());
    }
    let mut text = String::from("sha256=");
    for byte in mac.finalize().into_bytes() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
