//! What an event says. Each reader asks for the few fields it needs; the rest of an event may be anything. A kind, a
//! version or an event that is not understood is `Unknown` with its reason, never an error that ends a socket.

mod bystanders;
mod chat;
mod moderation;
mod show;
mod support;

use chrono::{DateTime, Utc};

use crate::domain::audience::happening::{Happening, Viewer, What};

use super::envelope::{Notification, Subscription};
use super::fields::Fields;

/// What came of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// Understood; `None` if it is nothing the house acts on.
    Typed(Option<Box<Happening>>),
    /// Not understood: stored and counted, nothing more.
    Unknown { kind: String, version: String, reason: String },
}

/// Decodes an event. `message_id` and `sent_at` are what its transport said: a WebSocket frame's metadata, a webhook's
/// headers; `sent_at` dates what has no time of its own.
pub fn decode(
    notification: &Notification<'_>,
    message_id: &str,
    sent_at: DateTime<Utc>,
) -> Decoded {
    let of = &notification.subscription;
    let unknown =
        |reason| Decoded::Unknown { kind: of.kind.clone(), version: of.version.clone(), reason };
    match read(notification) {
        Err(reason) => unknown(reason),
        Ok(None) => Decoded::Typed(None),
        Ok(Some(reading)) => {
            let at = reading.at.unwrap_or(sent_at);
            let Reading { what, channel, business_id, .. } = reading;
            let message_id = message_id.to_owned();
            let happening = Happening { message_id, at, channel, business_id, what };
            Decoded::Typed(Some(Box::new(happening)))
        }
    }
}

fn read(notification: &Notification<'_>) -> Result<Option<Reading>, String> {
    let of = &notification.subscription;
    let json = notification.event.ok_or("the notification holds no event")?;
    let reader = READERS.iter().find(|(kind, ..)| *kind == of.kind);
    let Some((_, versions, reader)) = reader else {
        return bystanders::check(of, json).map(|()| None);
    };
    check_version(&of.version, versions)?;
    let event = Fields::read(json.as_bytes()).map_err(|error| format!("the event: {error}"))?;
    reader(&Event { fields: event, of })
}

fn check_version(version: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&version) {
        return Ok(());
    }
    Err(format!("version `{version}` is none we know: {}", known.join(", ")))
}

/// An event and the subscription it came by.
struct Event<'a> {
    fields: Fields<'a>,
    of: &'a Subscription,
}

/// `Ok(None)`: understood, but nothing the house acts on.
type Reader = fn(&Event<'_>) -> Result<Option<Reading>, String>;

/// Every kind the house acts on, the versions that are understood, and who reads it.
const READERS: &[(&str, &[&str], Reader)] = &[
    ("channel.chat.message", &["1"], chat::message),
    ("channel.chat.message_delete", &["1"], chat::message_deleted),
    ("channel.chat.clear_user_messages", &["1"], chat::viewer_silenced),
    ("channel.chat.clear", &["1"], chat::cleared),
    ("channel.chat.notification", &["1"], chat::notice),
    ("channel.follow", &["1", "2"], support::followed),
    ("channel.subscribe", &["1"], support::subscribed),
    ("channel.subscription.message", &["1"], support::resubscribed),
    ("channel.subscription.gift", &["1"], support::subs_gifted),
    ("channel.bits.use", &["1"], support::bits_used),
    ("channel.cheer", &["1"], support::cheered),
    ("channel.channel_points_custom_reward_redemption.add", &["1"], support::redeemed),
    ("channel.channel_points_custom_reward_redemption.update", &["1"], support::settled),
    ("channel.channel_points_automatic_reward_redemption.add", &["1", "2"], support::redeemed),
    ("channel.custom_power_up_redemption.add", &["beta", "1"], support::redeemed),
    ("channel.charity_campaign.donate", &["1"], support::donated),
    ("channel.charity_campaign.start", &["1"], show::charity),
    ("channel.charity_campaign.progress", &["1"], show::charity),
    ("channel.charity_campaign.stop", &["1"], show::charity),
    ("channel.raid", &["1"], show::raid),
    ("channel.poll.begin", &["1"], show::poll),
    ("channel.poll.progress", &["1"], show::poll),
    ("channel.poll.end", &["1"], show::poll),
    ("channel.prediction.begin", &["1"], show::prediction),
    ("channel.prediction.progress", &["1"], show::prediction),
    ("channel.prediction.lock", &["1"], show::prediction),
    ("channel.prediction.end", &["1"], show::prediction),
    ("channel.hype_train.begin", &["1", "2"], show::hype_train),
    ("channel.hype_train.progress", &["1", "2"], show::hype_train),
    ("channel.hype_train.end", &["1", "2"], show::hype_train),
    ("channel.goal.begin", &["1"], show::goal),
    ("channel.goal.progress", &["1"], show::goal),
    ("channel.goal.end", &["1"], show::goal),
    ("channel.ad_break.begin", &["1"], show::ad_break),
    ("channel.shoutout.create", &["1"], show::shoutout_given),
    ("channel.shoutout.receive", &["1"], show::shoutout_received),
    ("stream.online", &["1"], show::online),
    ("stream.offline", &["1"], show::offline),
    ("channel.update", &["1", "2"], show::updated),
    ("channel.ban", &["1"], moderation::banned),
    ("channel.unban", &["1"], moderation::unbanned),
    ("channel.moderate", &["1", "2"], moderation::moderated),
    ("channel.shield_mode.begin", &["1"], moderation::shield_mode),
    ("channel.shield_mode.end", &["1"], moderation::shield_mode),
    ("user.authorization.grant", &["1"], moderation::authorization_granted),
    ("user.authorization.revoke", &["1"], moderation::authorization_revoked),
];

/// A happening but for what the transport knows.
struct Reading {
    what: What,
    channel: String,
    at: Option<DateTime<Utc>>,
    business_id: Option<String>,
}

impl Reading {
    /// The time the event itself gives.
    fn at(mut self, at: Option<DateTime<Utc>>) -> Self {
        self.at = at;
        self
    }

    /// What is the same for every telling of this event, if there is such a thing.
    fn once(mut self, business_id: impl Into<Option<String>>) -> Self {
        self.business_id = business_id.into();
        self
    }

    #[expect(clippy::unnecessary_wraps, reason = "how every reader ends")]
    fn done(self) -> Result<Option<Self>, String> {
        Ok(Some(self))
    }
}

impl Event<'_> {
    fn text(&self, name: &str) -> Result<String, String> {
        self.fields.need(name, Fields::text)
    }

    fn number(&self, name: &str) -> Result<u64, String> {
        self.fields.need(name, Fields::number)
    }

    /// A text that may be absent: then it is empty.
    fn words(&self, name: &str) -> String {
        self.fields.text(name).unwrap_or_default()
    }

    /// The last word of the kind, such as `begin`.
    fn verb(&self) -> &str {
        self.of.kind.rsplit('.').next().unwrap_or_default()
    }

    /// The channel it happened on: the event says, or its subscription's condition.
    fn channel(&self) -> Result<String, String> {
        let said = ["broadcaster_user_id", "broadcaster_id"].iter();
        said.filter_map(|name| self.fields.text(name))
            .find(|id| !id.is_empty())
            .or_else(|| self.of.condition.get("broadcaster_user_id").cloned())
            .ok_or_else(|| "`broadcaster_user_id` is missing".into())
    }

    fn tells(&self, what: What) -> Result<Reading, String> {
        Ok(Reading { what, channel: self.channel()?, at: None, business_id: None })
    }

    /// Who `{prefix}_id` and `{prefix}_name` name, such as `user`.
    fn viewer(&self, prefix: &str) -> Result<Viewer, String> {
        viewer(&self.fields, prefix)
    }
}

fn viewer(fields: &Fields<'_>, prefix: &str) -> Result<Viewer, String> {
    let id = format!("{prefix}_id");
    match fields.text(&id).filter(|id| !id.is_empty()) {
        Some(id) => {
            let name = |part| fields.text(&format!("{prefix}_{part}"));
            let name = name("name").or_else(|| name("login")).unwrap_or_default();
            Ok(Viewer { id, name })
        }
        None => Err(format!("`{id}` is missing")),
    }
}
