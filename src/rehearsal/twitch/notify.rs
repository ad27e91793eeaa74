//! Something happens: every subscription that asked for it gets a notification of its own.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::rehearsal::chance::scramble;

use super::conduits::ShardTransport;
use super::ledger::{self, LedgerEntry};
use super::session::Outgoing;
use super::stage::{State, now};
use super::subscriptions::{Subscription, Transport};
use super::webhooks::{Delivery, Hook, MessageType};

/// What happened, ready to be put into frames.
struct Happening<'a> {
    number: u64,
    kind: Arc<str>,
    version: &'a str,
    channel: Arc<str>,
    business_id: Arc<str>,
    event: String,
}

impl State {
    /// Tells every enabled subscription that `event` happened on `channel` (a user's id for `user.*`). When there is
    /// none, the ledger notes that nobody heard it. Returns how many were told.
    pub(super) fn emit(
        &mut self,
        kind: &str,
        version: &str,
        channel: &str,
        event: &Value,
    ) -> usize {
        let happening = Happening {
            number: self.ledger.next_happening(),
            kind: kind.into(),
            version,
            channel: channel.into(),
            business_id: ledger::business_id(event).into(),
            event: event.to_string(),
        };
        let hearers: Vec<usize> = (0..self.subscriptions.len())
            .filter(|place| {
                let known = &self.subscriptions[*place];
                known.is_enabled()
                    && known.kind.name == kind
                    && known.version == version
                    && concerns(known, channel, event)
            })
            .collect();
        if hearers.is_empty() {
            self.enter(&happening, String::new(), "".into());
        }
        for place in &hearers {
            let wire = self.subscriptions[*place].wire.clone();
            self.notify(*place, &happening, &wire);
        }
        hearers.len()
    }

    /// Sends a notification whose type or version is not the one of its subscription.
    pub(super) fn emit_foreign(&mut self, place: usize, kind: &str, version: &str, event: &Value) {
        let known = &self.subscriptions[place];
        let mut shown = known.shown();
        shown["type"] = kind.into();
        shown["version"] = version.into();
        let channel = known.condition.get("broadcaster_user_id").cloned().unwrap_or_default();
        let happening = Happening {
            number: self.ledger.next_happening(),
            kind: kind.into(),
            version,
            channel: channel.into(),
            business_id: ledger::business_id(event).into(),
            event: event.to_string(),
        };
        self.notify(place, &happening, &shown.to_string());
    }

    fn enter(
        &mut self,
        happening: &Happening<'_>,
        message_id: String,
        subscription_id: Arc<str>,
    ) -> Option<usize> {
        let place = self.ledger.enter(LedgerEntry {
            at: now(),
            happening: happening.number,
            kind: Arc::clone(&happening.kind),
            channel: Arc::clone(&happening.channel),
            business_id: Arc::clone(&happening.business_id),
            message_id,
            subscription_id,
            taken_by: Vec::new(),
        });
        if place.is_none() {
            self.counters.one("ledger_full");
        }
        place
    }

    fn notify(&mut self, place: usize, happening: &Happening<'_>, wire: &str) {
        let message_id = Uuid::new_v4().to_string();
        let stamp = self.stamp();
        let (kind, version) = (&happening.kind, happening.version);
        let field = if &**kind == "drop.entitlement.grant" { "events" } else { "event" };
        let payload = format!(r#"{{"subscription":{wire},"{field}":{}}}"#, happening.event);
        let subscription_id = Arc::clone(&self.subscriptions[place].id);
        let entry = self.enter(happening, message_id.clone(), subscription_id);
        let copies = 1 + usize::from(self.dice.happens(self.faults.duplicate_rate as f32));
        for copy in 0..copies {
            let carried = match self.carrier_of(place, &happening.channel) {
                Carrier::Socket(session) => {
                    let frame = format!(
                        r#"{{"metadata":{{"message_id":"{message_id}","message_type":"notification","message_timestamp":"{stamp}","subscription_type":"{kind}","subscription_version":"{version}"}},"payload":{payload}}}"#
                    );
                    let window = self.faults.reorder_window;
                    self.post(
                        &session,
                        Outgoing::Notification { frame: frame.into(), entry, window },
                    )
                }
                Carrier::Hook(hook) => self.hand_out(Delivery {
                    hook,
                    message_id: message_id.clone(),
                    message_type: MessageType::Notification,
                    kind: kind.to_string(),
                    version: version.to_owned(),
                    body: payload.clone(),
                    entry,
                }),
                Carrier::Nobody => false,
            };
            if !carried {
                self.counters.one("not_carried");
            } else if copy > 0 {
                self.counters.one("duplicate");
            }
        }
    }

    /// Puts a frame into a session's queue. A session whose reader is too slow is ended.
    pub(super) fn post(&mut self, session: &str, outgoing: Outgoing) -> bool {
        let Some(session) = self.sessions.get(session) else { return false };
        if session.queue.try_send(outgoing).is_err() {
            self.counters.one("slow_reader");
            session.too_slow.cancel();
            return false;
        }
        true
    }

    fn carrier_of(&self, place: usize, channel: &str) -> Carrier {
        match &self.subscriptions[place].transport {
            Transport::Websocket { session, .. } => Carrier::Socket(Arc::clone(session)),
            Transport::Webhook(hook) => Carrier::Hook(hook.clone()),
            Transport::Conduit(id) => {
                let conduit = self.conduits.iter().find(|conduit| conduit.id == *id);
                let hash = channel.bytes().fold(0, |hash, byte| scramble(hash ^ u64::from(byte)));
                match conduit.and_then(|conduit| conduit.route(hash)) {
                    Some(ShardTransport::Websocket { session, .. }) => {
                        Carrier::Socket(Arc::clone(session))
                    }
                    Some(ShardTransport::Webhook(hook)) => Carrier::Hook(hook.clone()),
                    None => Carrier::Nobody,
                }
            }
        }
    }

    /// Takes a subscription's permission away and tells its listener once.
    pub(super) fn revoke(&mut self, place: usize, status: &str) {
        let subscription = &mut self.subscriptions[place];
        subscription.disable(status);
        let (kind, version) = (subscription.kind.name, subscription.version.clone());
        let (wire, channel) = (
            subscription.wire.clone(),
            subscription.condition.get("broadcaster_user_id").cloned().unwrap_or_default(),
        );
        let message_id = Uuid::new_v4().to_string();
        let stamp = self.stamp();
        let payload = format!(r#"{{"subscription":{wire}}}"#);
        let told = match self.carrier_of(place, &channel) {
            Carrier::Socket(session) => {
                let frame = format!(
                    r#"{{"metadata":{{"message_id":"{message_id}","message_type":"revocation","message_timestamp":"{stamp}","subscription_type":"{kind}","subscription_version":"{version}"}},"payload":{payload}}}"#
                );
                self.post(&session, Outgoing::Frame(frame.into()))
            }
            Carrier::Hook(hook) => self.hand_out(Delivery {
                hook,
                message_id,
                message_type: MessageType::Revocation,
                kind: kind.to_owned(),
                version,
                body: payload,
                entry: None,
            }),
            Carrier::Nobody => false,
        };
        self.counters.add(&format!("revoked_{status}"), u64::from(told));
    }
}

/// Who carries a notification.
enum Carrier {
    Socket(Arc<str>),
    Hook(Hook),
    Nobody,
}

/// Whether a subscription's condition covers the event.
fn concerns(subscription: &Subscription, channel: &str, event: &Value) -> bool {
    let personal = subscription.kind.name.starts_with("user.")
        || subscription.kind.name.starts_with("channel.chat.user_message");
    subscription.condition.iter().all(|(field, wanted)| match field.as_str() {
        "broadcaster_user_id" => wanted == channel,
        "moderator_user_id" => true,
        "user_id" => !personal || event["user_id"].as_str().unwrap_or(channel) == wanted,
        "reward_id" => {
            wanted.is_empty()
                || event["reward"]["id"] == wanted.as_str()
                || event["id"] == wanted.as_str()
        }
        "client_id" => event[field].is_null() || event[field] == wanted.as_str(),
        other => wanted.is_empty() || event[other] == wanted.as_str(),
    })
}

/// A frame that is no notification.
pub(super) fn frame(message_type: &str, stamp: &str, payload: &Value) -> String {
    json!({
        "metadata": {"message_id": Uuid::new_v4().to_string(), "message_type": message_type, "message_timestamp": stamp},
        "payload": payload,
    })
    .to_string()
}
