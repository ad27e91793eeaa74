//! EventSub by webhook: what Twitch posts to an address of ours. Nothing is read before its signature holds, and nothing is
//! taken before it is kept: Twitch sends again what was not answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::adapters::twitch::eventsub::conduit::tell_mended;
use crate::adapters::twitch::eventsub::envelope::{ENVELOPE_BYTES_MAX, Envelope, Message};
use crate::adapters::twitch::eventsub::house::{House, LOOK_EVERY, Told};
use crate::adapters::twitch::eventsub::notice::{channel_of, is_withdrawn, missed, notice};
use crate::adapters::twitch::eventsub::socket::IN_FLIGHT;
use crate::adapters::twitch::eventsub::standing::keep_standing;
use crate::domain::audience::channel::ChannelId;
use crate::ports::audience_source::{Health, Mailbox, Received, State};
use crate::ports::platform::DeliveryVia;
use crate::ports::vault::Secret;

/// A message older than this, or as far in the future, is refused: it may be played back by somebody.
const AGE_MAX: TimeDelta = TimeDelta::minutes(10);
/// Longest wait until a message is kept; Twitch gives a few seconds.
const KEPT_MAX: Duration = Duration::from_secs(3);
/// Twitch sends what was not answered again for about this long: away for no longer, nothing is missed.
const SENT_AGAIN_FOR: TimeDelta = TimeDelta::minutes(1);
/// How often the subscriptions are compared.
const STANDING_EVERY: Duration = Duration::from_mins(1);

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
}

impl WebhookDoor {
    pub(super) const fn new(house: Arc<House>, secret: Secret) -> Self {
        Self { house, secret }
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
                let told = self.house.out.try_send(Told { notice, kept: Some(kept) });
                let answered = tokio::time::timeout(KEPT_MAX, is_kept);
                match (told, answered.await) {
                    (Ok(()), Ok(Ok(true))) => Received::Taken,
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
            return Received::Refused;
        };
        if body.len() > ENVELOPE_BYTES_MAX || !self.is_signed(id, stamp, signature, body) {
            tracing::warn!("a webhook message without a valid signature was refused");
            return Received::Refused;
        }
        let Ok(sent_at) = DateTime::parse_from_rfc3339(stamp) else { return Received::Refused };
        let sent_at = sent_at.with_timezone(&Utc);
        if (self.house.clock.now() - sent_at).abs() > AGE_MAX {
            tracing::warn!(%sent_at, "a webhook message of another time was refused");
            return Received::Refused;
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
    let via = DeliveryVia::Webhook { callback, secret };
    let mut kept_at: Option<tokio::time::Instant> = None;
    let mut known: Vec<ChannelId> = Vec::new();
    house.look_around().await;
    let mut away_since = house
        .last_listened()
        .filter(|left| house.clock.now() - *left > SENT_AGAIN_FOR)
        .map(|left| left - IN_FLIGHT);
    loop {
        let health = house.healths().clone();
        let place = house.beat(Vec::new(), health).await;
        let linked = house.bearers.channels().await.unwrap_or_else(|error| {
            tracing::warn!(error = %error.chain(), "cannot read which channels are linked");
            known.clone()
        });
        let is_due = linked != known || kept_at.is_none_or(|at| at.elapsed() >= STANDING_EVERY);
        if place.rank == 0 && is_due {
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
                    }
                    tell_mended(&house, &standing).await;
                    if let Some(from) = away_since.take() {
                        for channel in standing.keys() {
                            house.tell(missed(channel, from, now, "spark was not running")).await;
                        }
                    }
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
    house.leave().await;
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
