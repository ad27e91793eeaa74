//! What happens on a channel, each with the whole family of events that production sends for it.

use chrono::TimeDelta;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::people::{OnAir, Person};
use super::stage::{State, now, rfc3339, rfc3339_seconds};

/// Messages of a channel that can still be deleted by id.
const RECENT_MAX: usize = 2_000;
/// The parts a `channel.chat.notification` may have; all but one are null.
const NOTICE_PARTS: [&str; 24] = [
    "sub",
    "resub",
    "sub_gift",
    "community_sub_gift",
    "gift_paid_upgrade",
    "prime_paid_upgrade",
    "pay_it_forward",
    "raid",
    "unraid",
    "announcement",
    "bits_badge_tier",
    "charity_donation",
    "shared_chat_sub",
    "shared_chat_resub",
    "shared_chat_sub_gift",
    "shared_chat_community_sub_gift",
    "shared_chat_gift_paid_upgrade",
    "shared_chat_prime_paid_upgrade",
    "shared_chat_pay_it_forward",
    "shared_chat_raid",
    "shared_chat_announcement",
    "source_broadcaster_user_id",
    "source_message_id",
    "source_badges",
];
const TIER: &str = "1000";

/// Adds `<prefix>_id`, `_login` and `_name` of somebody to an object.
fn with(mut object: Value, prefix: &str, who: &Person) -> Value {
    object[format!("{prefix}_id")] = who.id.as_str().into();
    object[format!("{prefix}_login")] = who.login.as_str().into();
    object[format!("{prefix}_name")] = who.name.as_str().into();
    object
}

/// An event on a channel, by a user.
fn event_of(channel: &Person, user: &Person, rest: Value) -> Value {
    with(with(rest, "broadcaster_user", channel), "user", user)
}

/// A text in one piece, as chat events carry it.
fn message_of(text: &str) -> Value {
    let fragment =
        json!({"type": "text", "text": text, "cheermote": null, "emote": null, "mention": null});
    json!({"text": text, "fragments": [fragment]})
}

/// A chat message before it is sent.
pub(super) struct Line<'a> {
    pub(super) viewer: &'a Person,
    pub(super) text: &'a str,
    pub(super) bits: u32,
    /// Badge sets and their versions.
    pub(super) badges: &'a [(&'a str, &'a str)],
    pub(super) color: &'a str,
}

impl<'a> Line<'a> {
    pub(super) const fn plain(viewer: &'a Person, text: &'a str) -> Self {
        Self { viewer, text, bits: 0, badges: &[], color: "" }
    }
}

/// The event of a chat message.
pub(super) fn chat_event(channel: &Person, line: &Line<'_>, message_id: &str) -> Value {
    let mut badges: Vec<Value> =
        line.badges.iter().map(|(set, id)| json!({"set_id": set, "id": id, "info": ""})).collect();
    if line.viewer.id == channel.id {
        badges.push(json!({"set_id": "broadcaster", "id": "1", "info": ""}));
    }
    let cheer = if line.bits > 0 { json!({"bits": line.bits}) } else { Value::Null };
    let event = json!({
        "message_id": message_id, "message": message_of(line.text), "color": line.color, "badges": badges,
        "message_type": "text", "cheer": cheer, "reply": null,
        "channel_points_custom_reward_id": null, "channel_points_animation_id": null,
        "source_broadcaster_user_id": null, "source_broadcaster_user_login": null,
        "source_broadcaster_user_name": null, "source_message_id": null, "source_badges": null,
        "is_source_only": null,
    });
    with(with(event, "broadcaster_user", channel), "chatter_user", line.viewer)
}

impl State {
    /// Somebody writes; with bits, they cheer too. Returns the message's id.
    pub(super) fn say(&mut self, channel: &Person, line: &Line<'_>) -> String {
        let message_id = Uuid::new_v4().to_string();
        if let Some(place) = self.channel(&channel.id) {
            place.recent.push_back((message_id.clone(), line.viewer.clone()));
            if place.recent.len() > RECENT_MAX {
                place.recent.pop_front();
            }
        }
        let event = chat_event(channel, line, &message_id);
        self.emit("channel.chat.message", "1", &channel.id, &event);
        if line.bits > 0 {
            let cheer = json!({"is_anonymous": false, "message": line.text, "bits": line.bits});
            self.emit("channel.cheer", "1", &channel.id, &event_of(channel, line.viewer, cheer));
            let bits = json!({
                "bits": line.bits, "type": "cheer", "power_up": null, "custom_power_up": null,
                "message": message_of(line.text),
            });
            self.emit("channel.bits.use", "1", &channel.id, &event_of(channel, line.viewer, bits));
        }
        message_id
    }

    fn notice(
        &mut self,
        channel: &Person,
        who: &Person,
        text: &str,
        notice_type: &str,
        part: Value,
    ) -> String {
        let message_id = Uuid::new_v4().to_string();
        let mut event: Map<String, Value> =
            NOTICE_PARTS.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
        event.insert(notice_type.to_owned(), part);
        let rest = json!({
            "chatter_is_anonymous": false, "color": "", "badges": [], "system_message": text,
            "message_id": message_id, "message": {"text": "", "fragments": []}, "notice_type": notice_type,
        });
        event.extend(rest.as_object().cloned().unwrap_or_default());
        let event =
            with(with(Value::Object(event), "broadcaster_user", channel), "chatter_user", who);
        self.emit("channel.chat.notification", "1", &channel.id, &event);
        message_id
    }

    /// A moderator deletes one message. False when it is not known any more.
    pub(super) fn delete_message(&mut self, channel: &Person, message_id: &str) -> bool {
        let Some(place) = self.channel(&channel.id) else { return false };
        let Some(at) = place.recent.iter().position(|(id, _)| id == message_id) else {
            return false;
        };
        let Some((_, author)) = place.recent.remove(at) else { return false };
        let event = with(json!({"message_id": message_id}), "broadcaster_user", channel);
        let event = with(event, "target_user", &author);
        self.emit("channel.chat.message_delete", "1", &channel.id, &event);
        true
    }

    /// A viewer is banned, or timed out for some seconds; their messages disappear.
    pub(super) fn ban(&mut self, channel: &Person, viewer: &Person, seconds: Option<u32>) {
        let time = now();
        let ends_at = seconds.map(|seconds| rfc3339(time + TimeDelta::seconds(i64::from(seconds))));
        let ban = json!({
            "reason": "", "banned_at": rfc3339(time), "is_permanent": ends_at.is_none(), "ends_at": ends_at,
        });
        let ban = with(event_of(channel, viewer, ban), "moderator_user", channel);
        self.emit("channel.ban", "1", &channel.id, &ban);
        let cleared = with(json!({}), "broadcaster_user", channel);
        let cleared = with(cleared, "target_user", viewer);
        self.emit("channel.chat.clear_user_messages", "1", &channel.id, &cleared);
        if let Some(place) = self.channel(&channel.id) {
            place.recent.retain(|(_, author)| author.id != viewer.id);
        }
    }

    pub(super) fn clear_chat(&mut self, channel: &Person) {
        let event = with(json!({}), "broadcaster_user", channel);
        self.emit("channel.chat.clear", "1", &channel.id, &event);
    }

    pub(super) fn follow(&mut self, channel: &Person, viewer: &Person) {
        let followed_at = rfc3339_seconds(now());
        if let Some(place) = self.channel(&channel.id) {
            let row = with(json!({"followed_at": followed_at}), "user", viewer);
            place.followers.insert(0, row);
        }
        let event = event_of(channel, viewer, json!({"followed_at": followed_at}));
        self.emit("channel.follow", "2", &channel.id, &event);
    }

    pub(super) fn raid(&mut self, channel: &Person, from: &Person, viewers: u32) {
        let event = with(json!({"viewers": viewers}), "from_broadcaster_user", from);
        let event = with(event, "to_broadcaster_user", channel);
        self.emit("channel.raid", "1", &channel.id, &event);
        let part = with(json!({"viewer_count": viewers, "profile_image_url": ""}), "user", from);
        let text = format!("{viewers} raiders from {} have joined!", from.name);
        self.notice(channel, from, &text, "raid", part);
    }

    /// A new subscription that somebody pays for themselves.
    pub(super) fn subscribe(&mut self, channel: &Person, viewer: &Person) {
        self.enter_subscriber(channel, viewer, None);
        let event = event_of(channel, viewer, json!({"tier": TIER, "is_gift": false}));
        self.emit("channel.subscribe", "1", &channel.id, &event);
        let part = json!({"sub_tier": TIER, "is_prime": false, "duration_months": 1});
        self.notice(
            channel,
            viewer,
            &format!("{} subscribed at Tier 1.", viewer.name),
            "sub",
            part,
        );
    }

    pub(super) fn resubscribe(
        &mut self,
        channel: &Person,
        viewer: &Person,
        months: u32,
        text: &str,
    ) {
        let message = json!({
            "tier": TIER, "message": {"text": text, "emotes": []}, "cumulative_months": months,
            "streak_months": null, "duration_months": 1,
        });
        let message = event_of(channel, viewer, message);
        self.emit("channel.subscription.message", "1", &channel.id, &message);
        let part = json!({
            "cumulative_months": months, "duration_months": 1, "streak_months": null, "sub_tier": TIER,
            "is_prime": false, "is_gift": false, "gifter_is_anonymous": null, "gifter_user_id": null,
            "gifter_user_name": null, "gifter_user_login": null,
        });
        let text = format!("{} subscribed at Tier 1 for {months} months!", viewer.name);
        self.notice(channel, viewer, &text, "resub", part);
    }

    /// Somebody gives subscriptions to `lucky`: one gift, its notice, and for each a subscription and a notice.
    pub(super) fn gift_bomb(&mut self, channel: &Person, giver: &Person, lucky: &[Person]) {
        let total = lucky.len();
        let gift =
            json!({"total": total, "tier": TIER, "cumulative_total": total, "is_anonymous": false});
        self.emit("channel.subscription.gift", "1", &channel.id, &event_of(channel, giver, gift));
        let gift_id = Uuid::new_v4().as_u64_pair().0.to_string();
        let part =
            json!({"id": gift_id, "total": total, "sub_tier": TIER, "cumulative_total": total});
        let text = format!("{} is gifting {total} Tier 1 Subs to the community!", giver.name);
        self.notice(channel, giver, &text, "community_sub_gift", part);
        for viewer in lucky {
            self.enter_subscriber(channel, viewer, Some(giver));
            let event = event_of(channel, viewer, json!({"tier": TIER, "is_gift": true}));
            self.emit("channel.subscribe", "1", &channel.id, &event);
            let part = json!({
                "duration_months": 1, "cumulative_total": null, "sub_tier": TIER, "community_gift_id": gift_id,
            });
            let text = format!("{} gifted a Tier 1 sub to {}!", giver.name, viewer.name);
            self.notice(channel, giver, &text, "sub_gift", with(part, "recipient_user", viewer));
        }
    }

    fn enter_subscriber(&mut self, channel: &Person, viewer: &Person, giver: Option<&Person>) {
        let row = event_of(channel, viewer, json!({"tier": TIER, "plan_name": "Tier 1"}));
        let row = match giver {
            Some(giver) => with(row, "gifter", giver),
            None => row,
        };
        let Some(place) = self.channel(&channel.id) else { return };
        let mut shown = Map::new();
        // Helix says `broadcaster_id` where EventSub says `broadcaster_user_id`.
        for (name, value) in row.as_object().cloned().unwrap_or_default() {
            shown.insert(name.replace("broadcaster_user", "broadcaster"), value);
        }
        shown.insert("is_gift".into(), giver.is_some().into());
        place.subscribers.retain(|known| known["user_id"] != viewer.id.as_str());
        place.subscribers.insert(0, Value::Object(shown));
    }

    /// A viewer redeems a reward. Returns the redemption's id.
    pub(super) fn redeem(
        &mut self,
        channel: &Person,
        viewer: &Person,
        title: &str,
        cost: u32,
        text: &str,
    ) -> String {
        let id = Uuid::new_v4().to_string();
        let event = json!({
            "id": id, "user_input": text, "status": "unfulfilled", "redeemed_at": rfc3339(now()),
            "reward": {"id": Uuid::new_v5(&Uuid::NAMESPACE_OID, title.as_bytes()), "title": title, "cost": cost, "prompt": ""},
        });
        let event = event_of(channel, viewer, event);
        self.emit("channel.channel_points_custom_reward_redemption.add", "1", &channel.id, &event);
        id
    }

    pub(super) fn ad_break(&mut self, channel: &Person, seconds: u32) {
        let time = now();
        if let Some(place) = self.channel(&channel.id) {
            place.ad.last_at = Some(time);
        }
        let event = json!({"duration_seconds": seconds, "started_at": rfc3339(time), "is_automatic": false});
        let event = with(with(event, "broadcaster_user", channel), "requester_user", channel);
        self.emit("channel.ad_break.begin", "1", &channel.id, &event);
    }

    /// A hype train from its begin over its progress to its end at this level. Returns its id.
    pub(super) fn hype_train(&mut self, channel: &Person, best: &Person, level: u32) -> String {
        let id = Uuid::new_v4().to_string();
        let started_at = now();
        let top = with(json!({"type": "bits", "total": 500 * level}), "user", best);
        for step in 0..=level.max(1) {
            let shown = step.max(1);
            let event = json!({
                "id": id, "total": 500 * shown, "progress": 100, "goal": 1_800, "top_contributions": [top],
                "shared_train_participants": null, "level": shown, "started_at": rfc3339(started_at),
                "expires_at": rfc3339(started_at + TimeDelta::minutes(5)), "is_shared_train": false,
                "type": "regular", "all_time_high_level": level, "all_time_high_total": 500 * level,
            });
            let event = with(event, "broadcaster_user", channel);
            let kind =
                if step == 0 { "channel.hype_train.begin" } else { "channel.hype_train.progress" };
            self.emit(kind, "2", &channel.id, &event);
        }
        let end = json!({
            "id": id, "total": 500 * level, "top_contributions": [top], "shared_train_participants": null,
            "level": level, "started_at": rfc3339(started_at), "ended_at": rfc3339(now()),
            "cooldown_ends_at": rfc3339(now() + TimeDelta::hours(1)), "is_shared_train": false, "type": "regular",
        });
        let end = with(end, "broadcaster_user", channel);
        self.emit("channel.hype_train.end", "2", &channel.id, &end);
        id
    }

    /// The stream goes on air. False when it was.
    pub(super) fn go_live(&mut self, channel: &Person, viewers: u32) -> bool {
        let started_at = now();
        let number = |seed: u128| (40_000_000_000 + seed % 1_000_000_000).to_string();
        let (stream_id, video_id) =
            (number(Uuid::new_v4().as_u128()), number(Uuid::new_v4().as_u128() >> 32));
        let Some(place) = self.channel(&channel.id) else { return false };
        if place.on_air.is_some() {
            return false;
        }
        let video = json!({
            "id": video_id, "stream_id": stream_id, "user_id": channel.id, "user_login": channel.login,
            "user_name": channel.name, "title": place.title, "description": "",
            "created_at": rfc3339_seconds(started_at), "published_at": rfc3339_seconds(started_at),
            "url": "", "thumbnail_url": "", "viewable": "public", "view_count": 0, "language": "fr",
            "type": "archive", "duration": "0s", "muted_segments": null,
        });
        place.videos.insert(0, video);
        place.on_air = Some(OnAir { stream_id: stream_id.clone(), video_id, started_at, viewers });
        let event = json!({"id": stream_id, "type": "live", "started_at": rfc3339(started_at)});
        let event = with(event, "broadcaster_user", channel);
        self.emit("stream.online", "1", &channel.id, &event);
        true
    }

    /// The stream ends. False when there was none.
    pub(super) fn go_offline(&mut self, channel: &Person) -> bool {
        let Some(place) = self.channel(&channel.id) else { return false };
        let Some(on_air) = place.on_air.take() else { return false };
        let lasted = duration_text((now() - on_air.started_at).num_seconds());
        for video in place.videos.iter_mut().filter(|video| video["id"] == on_air.video_id.as_str())
        {
            video["duration"] = lasted.as_str().into();
        }
        let event = with(json!({"id": on_air.stream_id}), "broadcaster_user", channel);
        self.emit("stream.offline", "1", &channel.id, &event);
        true
    }

    /// Tells what `channel.update` tells.
    pub(super) fn tell_update(&mut self, channel: &Person) {
        let Some(place) = self.channel(&channel.id) else { return };
        let event = json!({
            "title": place.title, "language": "fr", "category_id": place.category.0,
            "category_name": place.category.1, "content_classification_labels": [],
        });
        let event = with(event, "broadcaster_user", channel);
        self.emit("channel.update", "2", &channel.id, &event);
    }

    /// The announcement of a moderator.
    pub(super) fn announce(&mut self, channel: &Person, who: &Person, text: &str, color: &str) {
        self.notice(channel, who, text, "announcement", json!({"color": color}));
    }
}

/// As Helix writes a length: `3h8m33s`.
pub(super) fn duration_text(seconds: i64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}
