//! The documented kinds the house does nothing with: told apart from those nobody has heard of.

use crate::adapters::twitch::eventsub::envelope::Subscription;
use crate::adapters::twitch::eventsub::fields::{Fields, objects};

use super::check_version;

/// Kind, versions, and the fields without which an event of it says nothing.
const KINDS: &[(&str, &[&str], &[&str])] = &[
    ("automod.message.hold", &["1", "2"], &["message_id", "user_id"]),
    ("automod.message.update", &["1", "2"], &["message_id", "user_id", "status"]),
    ("automod.settings.update", &["1"], &["moderator_user_id"]),
    ("automod.terms.update", &["1"], &["action"]),
    ("channel.channel_points_custom_reward.add", &["1"], &["id", "title"]),
    ("channel.channel_points_custom_reward.update", &["1"], &["id", "title"]),
    ("channel.channel_points_custom_reward.remove", &["1"], &["id", "title"]),
    ("channel.chat.user_message_hold", &["1"], &["message_id", "user_id"]),
    ("channel.chat.user_message_update", &["1"], &["message_id", "user_id", "status"]),
    ("channel.chat_settings.update", &["1"], &["broadcaster_user_id"]),
    ("channel.guest_star_guest.update", &["beta"], &["session_id"]),
    ("channel.guest_star_session.begin", &["beta"], &["session_id"]),
    ("channel.guest_star_session.end", &["beta"], &["session_id"]),
    ("channel.guest_star_settings.update", &["beta"], &["broadcaster_user_id"]),
    ("channel.moderator.add", &["1"], &["user_id"]),
    ("channel.moderator.remove", &["1"], &["user_id"]),
    ("channel.shared_chat.begin", &["1"], &["session_id", "host_broadcaster_user_id"]),
    ("channel.shared_chat.update", &["1"], &["session_id", "host_broadcaster_user_id"]),
    ("channel.shared_chat.end", &["1"], &["session_id", "host_broadcaster_user_id"]),
    ("channel.subscription.end", &["1"], &["user_id", "tier"]),
    ("channel.suspicious_user.message", &["1"], &["user_id", "low_trust_status"]),
    ("channel.suspicious_user.update", &["1"], &["user_id", "low_trust_status"]),
    ("channel.unban_request.create", &["1"], &["id", "user_id"]),
    ("channel.unban_request.resolve", &["1"], &["id", "user_id", "status"]),
    ("channel.vip.add", &["1"], &["user_id"]),
    ("channel.vip.remove", &["1"], &["user_id"]),
    ("channel.warning.acknowledge", &["1"], &["user_id"]),
    ("channel.warning.send", &["1"], &["user_id"]),
    ("conduit.shard.disabled", &["1"], &["conduit_id", "shard_id"]),
    ("drop.entitlement.grant", &["1"], &["id"]),
    ("extension.bits_transaction.create", &["1"], &["id", "user_id"]),
    ("user.update", &["1"], &["user_id"]),
    ("user.whisper.message", &["1"], &["whisper_id", "from_user_id"]),
];

/// Whether an event is one of these. A list of events, as Twitch sends drops and as its examples show AutoMod
/// settings, is if all of them are.
pub(super) fn check(of: &Subscription, json: &str) -> Result<(), String> {
    let known = KINDS.iter().find(|(kind, ..)| *kind == of.kind);
    let (_, versions, needed) = known.ok_or("this type is none we know")?;
    check_version(&of.version, versions)?;
    let event = Fields::read(json.as_bytes());
    let listed = match &event {
        Ok(event) => event.objects("data"),
        Err(_) => objects(json),
    };
    let has_all = |event: &Fields<'_>| {
        needed.iter().try_for_each(|name| event.need(name, Fields::text).map(drop))
    };
    match event {
        Ok(event) if listed.is_empty() => has_all(&event),
        Err(error) if listed.is_empty() => Err(format!("the event: {error}")),
        _ => listed.iter().try_for_each(has_all),
    }
}
