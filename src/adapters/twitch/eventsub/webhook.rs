//! EventSub by webhook: what Twitch posts to an address of ours. Nothing is read before its signature holds, and nothing is
//! taken before it is kept: Twitch sends again what was not answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::adapters::twitch::eventsub::envelope::{ENVELOPE_BYTES_MAX, Envelope, Message};
use crate::adapters::twitch::eventsub::house::{House, LOOK_EVERY, Told, hold};
use crate::adapters::twitch::eventsub::notice::{channel_of, is_withdrawn, missed, notice};
use crate::adapters::twitch::eventsub::socket::IN_FLIGHT;
use crate::adapters::twitch::eventsub::standing::keep_standing;
use crate::domain::audience::channel::ChannelId;
use crate::ports::audience_source::{Health, Mailbox, Received, State};
use crate::ports::platform::DeliveryVia;
use crate::ports::vault::Secret;

/// A message older than this, or as far in the future, has no effect: it may be played back by somebody.
const AGE_MAX: TimeDelta = TimeDelta::minutes(10);
/// Longest wait until a message is kept; Twitch gives a few seconds.
const KEPT_MAX: Duration = Duration::from_secs(3);
/// Twitch sends what was not answered again for about this long: away for no longer, nothing is missed.
const SENT_AGAIN_FOR: TimeDelta = TimeDelta::minutes(1);
/// Bytes of the secret's digest that mark an address: enough to tell two secrets apart, too few to find one.
const MARK_BYTES: usize = 4;
/// Refusals are told in the log at most this often.
const REFUSALS_TOLD_EVERY: Duration = Duration::from_mins(1);
/// How often the subscriptions are compared.
const STANDING_EVERY: Duration = Duration::from_secs(30);

/// A secret for webhooks drawn from a key of the house: the same wherever that key is.
pub fn webhook_secret(key: &[u8; 32]) -> Secret {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(b"twitch webhooks");
    Secret::new(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// Takes what is posted to our address.
pub struct WebhookDoor {
    house: Arc<House>,
    secret: Secret,
    refusals: Mutex<Refusals>,
}

/// What was refused and not told in the log yet.
#[derive(Default)]
struct Refusals {
    count: u64,
    told_at: Option<Instant>,
}

impl WebhookDoor {
    pub(super) fn new(house: Arc<House>, secret: Secret) -> Self {
        Self { house, secret, refusals: Mutex::default() }
    }

    /// Refuses a message. Anybody can send us some: the log tells of the first, and then of all of a minute at once.
    fn refuse(&self, why: &str) -> Received {
        let mut refusals = hold(&self.refusals);
        refusals.count += 1;
        if refusals.told_at.is_none_or(|at| at.elapsed() > REFUSALS_TOLD_EVERY) {
            let count = std::mem::take(&mut refusals.count);
            tracing::warn!(
                count,
                "messages to the address of webhooks were refused, the last one {why}"
            );
            refusals.told_at = Some(Instant::now());
        }
        Received::Refused
    }

    /// Whether Twitch wrote this: HMAC-SHA256 over id, timestamp and raw body, compared in constant time.
    fn is_signed(&self, id: &str, stamp: &str, signature: &str, body: &[u8]) -> bool {
        let Some(told) = signature.strip_prefix("sha256=").and_then(from_hex) else { return false };
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.secret.expose().as_bytes()) else {
            return false;
        };
        for part in [id.as_bytes(), stamp.as_bytes(), body] {
            mac.update(part);
        }
        mac.verify_slice(&told).is_ok()
    }

    async fn take(&self, message_id: &str, sent_at: DateTime<Utc>, body: &[u8]) -> Received {
        let now = self.house.clock.now();
        let message = match Envelope::read(body) {
            Ok(envelope) => envelope.message,
            Err(invalid) => {
                tracing::warn!("not an envelope, though signed: {invalid}");
                return Received::Malformed;
            }
        };
        match message {
            Message::Challenge { answer, .. } => Received::Answer(answer),
            Message::Notification(notification) => {
                let notice = notice(&notification, message_id.to_owned(), sent_at, now);
                if let Ok(channel) = ChannelId::try_new(notice.channel.clone()) {
                    self.house.note(&channel, |health| {
                        (health.last_frame_at, health.last_event_at) = (Some(now), Some(now));
                    });
                }
                self.house.heed(&notice).await;
                let (kept, is_kept) = oneshot::channel();
                if self.house.out.try_send(Told { notice, kept: Some(kept) }).is_err() {
                    return Received::Busy;
                }
                match tokio::time::timeout(KEPT_MAX, is_kept).await {
                    Ok(Ok(true)) => Received::Taken,
                    _ => Received::Busy,
                }
            }
            Message::Revocation(subscription) => {
                let (kind, status) = (&subscription.kind, subscription.status.as_deref());
                tracing::warn!(kind, status, "a subscription was revoked");
                if is_withdrawn(&subscription)
                    && let Some(channel) = channel_of(&subscription)
                    && let Ok(channel) = ChannelId::try_new(channel)
                {
                    self.house.bearers.revoked(&channel).await;
                }
                self.house.look.notify_one();
                Received::Taken
            }
            Message::Unknown { reason } => {
                tracing::warn!("a message of a later day: {reason}");
                Received::Taken
            }
            Message::Welcome(_) | Message::Keepalive | Message::Reconnect { .. } => Received::Taken,
        }
    }
}

#[async_trait]
impl Mailbox for WebhookDoor {
    async fn receive(&self, headers: &BTreeMap<String, String>, body: &[u8]) -> Received {
        let of = |name: &str| headers.get(&format!("twitch-eventsub-message-{name}"));
        let (Some(id), Some(stamp), Some(signature)) = (of("id"), of("timestamp"), of("signature"))
        else {
            return self.refuse("without a signature");
        };
        if body.len() > ENVELOPE_BYTES_MAX || !self.is_signed(id, stamp, signature, body) {
            return self.refuse("with a false signature");
        }
        let Ok(sent_at) = DateTime::parse_from_rfc3339(stamp) else {
            return self.refuse("without a time");
        };
        let sent_at = sent_at.with_timezone(&Utc);
        if (self.house.clock.now() - sent_at).abs() > AGE_MAX {
            tracing::warn!(%sent_at, "a webhook message of another time was left alone");
            return Received::Old;
        }
        self.take(id, sent_at, body).await
    }
}

/// Keeps the subscriptions standing until `stop`.
pub(super) async fn watch(
    house: Arc<House>,
    callback: String,
    secret: Secret,
    stop: CancellationToken,
) {
    let via = DeliveryVia::Webhook { callback: marked(&callback, &secret), secret };
    let mut kept_at: Option<tokio::time::Instant> = None;
    let mut known: Vec<ChannelId> = Vec::new();
    let speaking = house.speak_up(stop.clone()).await;
    let began_at = house.clock.now();
    let mut tells_absence = true;
    loop {
        let linked = house.channels().await.unwrap_or_else(|error| {
            tracing::warn!(error = %error.chain(), "cannot read which channels are linked");
            known.clone()
        });
        let is_due = linked != known || kept_at.is_none_or(|at| at.elapsed() >= STANDING_EVERY);
        if house.place().rank == 0 && is_due {
            match keep_standing(&house, &via).await {
                Ok(standing) => {
                    (known, kept_at) = (linked, Some(tokio::time::Instant::now()));
                    house.healths().retain(|channel, _| standing.contains_key(channel));
                    let now = house.clock.now();
                    for (channel, standing) in &standing {
                        house.note(channel, |health| {
                            health.state = State::Listening;
                            health.connected_at.get_or_insert(now);
                            standing.opened.tell(health);
                        });
                        let left = house.last_listened().or_else(|| house.heard_before(channel));
                        let is_missed = |left: &DateTime<Utc>| began_at - *left > SENT_AGAIN_FOR;
                        if let Some(left) = left.filter(is_missed).filter(|_| tells_absence) {
                            let (from, reason) = (left - IN_FLIGHT, "spark was not running");
                            house.tell(missed(channel, from, began_at, reason)).await;
                        }
                    }
                    tells_absence = false;
                }
                Err(error) => {
                    tracing::warn!("webhooks: {error}");
                    for health in house.healths().values_mut() {
                        *health = Health { state: State::Waiting, ..health.clone() };
                    }
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = house.look.notified() => kept_at = None,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    house.leave(speaking).await;
}

/// Our address with a mark of the secret: with another secret it is another address, and subscriptions are made anew.
fn marked(callback: &str, secret: &Secret) -> String {
    let mark = Sha256::digest(secret.expose().as_bytes());
    let mark: String = mark.iter().take(MARK_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("{callback}?secret={mark}")
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
