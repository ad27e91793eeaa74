//! What comes from Twitch, as the house keeps it; and what says that something may not have come.

use chrono::{DateTime, Utc};

use crate::adapters::twitch::eventsub::decode::{Decoded, decode};
use crate::adapters::twitch::eventsub::envelope::{Notification, Subscription};
use crate::domain::audience::channel::ChannelId;
use crate::domain::audience::happening::{Happening, What};
use crate::domain::audience::notice::{Notice, Reading};

/// A notification as the house keeps it.
pub(super) fn notice(
    notification: &Notification<'_>,
    message_id: String,
    sent_at: DateTime<Utc>,
    heard_at: DateTime<Utc>,
) -> Notice {
    let subscription = &notification.subscription;
    let reading = match decode(notification, &message_id, sent_at) {
        Decoded::Typed(Some(happening)) => Reading::Understood(happening),
        Decoded::Typed(None) => Reading::Noted,
        Decoded::Unknown { reason, .. } => Reading::Unknown { reason },
    };
    let channel = match &reading {
        Reading::Understood(happening) => happening.channel.clone(),
        _ => channel_of(subscription).unwrap_or_default().to_owned(),
    };
    Notice {
        message_id,
        heard_at,
        channel,
        kind: subscription.kind.clone(),
        version: subscription.version.clone(),
        raw: notification.event.unwrap_or_default().to_owned(),
        reading,
    }
}

/// The channel a subscription is about, if it is about one.
pub(super) fn channel_of(subscription: &Subscription) -> Option<&str> {
    let named = ["broadcaster_user_id", "to_broadcaster_user_id", "from_broadcaster_user_id"];
    let told = |name: &&str| subscription.condition.get(*name).filter(|id| !id.is_empty());
    named.iter().find_map(told).map(String::as_str)
}

/// Whether a subscription's end says that its channel took the permission back.
pub(super) fn is_withdrawn(subscription: &Subscription) -> bool {
    matches!(subscription.status.as_deref(), Some("authorization_revoked" | "user_removed"))
}

/// What says that something may have been missed.
pub(super) fn missed(
    channel: &ChannelId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    reason: &str,
) -> Notice {
    let message_id =
        format!("missed:{channel}:{}:{}", from.timestamp_millis(), to.timestamp_millis());
    let what = What::Missed { from, to, reason: reason.to_owned() };
    let happening = Happening {
        message_id: message_id.clone(),
        at: to,
        channel: channel.to_string(),
        business_id: None,
        what,
    };
    Notice {
        message_id,
        heard_at: to,
        channel: channel.to_string(),
        kind: "spark.missed".to_owned(),
        version: "1".to_owned(),
        raw: serde_json::json!({ "from": from, "to": to, "reason": reason }).to_string(),
        reading: Reading::Understood(Box::new(happening)),
    }
}
