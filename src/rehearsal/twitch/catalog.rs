//! The subscription types of EventSub: versions, condition fields and scopes, one row each.

use std::collections::BTreeMap;

/// What must stand in a condition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    pub(super) required: &'static [&'static str],
    pub(super) optional: &'static [&'static str],
}

/// Which transports may carry a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    Any,
    /// Webhooks and conduits: what an app token subscribes to.
    AppOnly,
}

/// One subscription type.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) versions: &'static [&'static str],
    pub(super) fields: Fields,
    /// All of these groups, any scope of each.
    pub(super) scopes: &'static [&'static [&'static str]],
    pub(super) carrier: Carrier,
}

impl Kind {
    /// The row of a type, if there is one.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// Whether chat is read: an app token then needs `user:bot` of the reader.
    pub(super) fn reads_chat(&self) -> bool {
        self.scopes == CHAT
    }

    /// Says what is wrong with a condition.
    pub(super) fn refuse(&self, condition: &BTreeMap<String, String>) -> Option<String> {
        for &field in self.fields.required {
            if condition.get(field).is_none_or(String::is_empty) {
                return Some(format!("condition.{field} is required for {}", self.name));
            }
        }
        let known = |field: &str| {
            self.fields.required.contains(&field) || self.fields.optional.contains(&field)
        };
        if let Some(field) = condition.keys().find(|field| !known(field)) {
            return Some(format!("condition.{field} is unknown for {}", self.name));
        }
        if self.name == "channel.raid" {
            let named = RAID.optional.iter().filter(|field| condition.contains_key(**field));
            if named.count() != 1 {
                return Some("name one of from_broadcaster_user_id, to_broadcaster_user_id".into());
            }
        }
        None
    }
}

/// The user on whose authority a condition is watched: its moderator, else its reader, else its broadcaster.
pub(super) fn actor(condition: &BTreeMap<String, String>) -> Option<&str> {
    ["moderator_user_id", "user_id", "broadcaster_user_id"]
        .iter()
        .find_map(|field| condition.get(*field))
        .map(String::as_str)
}

const B: Fields = Fields { required: &["broadcaster_user_id"], optional: &[] };
const BM: Fields =
    Fields { required: &["broadcaster_user_id", "moderator_user_id"], optional: &[] };
const BU: Fields = Fields { required: &["broadcaster_user_id", "user_id"], optional: &[] };
const B_REWARD: Fields = Fields { required: &["broadcaster_user_id"], optional: &["reward_id"] };
const U: Fields = Fields { required: &["user_id"], optional: &[] };
const CLIENT: Fields = Fields { required: &["client_id"], optional: &[] };
const RAID: Fields =
    Fields { required: &[], optional: &["from_broadcaster_user_id", "to_broadcaster_user_id"] };
const SHARD: Fields = Fields { required: &["client_id"], optional: &["conduit_id"] };
const DROP: Fields =
    Fields { required: &["organization_id"], optional: &["category_id", "campaign_id"] };
const EXTENSION: Fields = Fields { required: &["extension_client_id"], optional: &[] };

type Scopes = &'static [&'static [&'static str]];
const NONE: Scopes = &[];
const CHAT: Scopes = &[&["user:read:chat"]];
const FOLLOWERS: Scopes = &[&["moderator:read:followers"]];
const SUBSCRIPTIONS: Scopes = &[&["channel:read:subscriptions"]];
const BITS: Scopes = &[&["bits:read"]];
const REDEMPTIONS: Scopes = &[&["channel:read:redemptions", "channel:manage:redemptions"]];
const POLLS: Scopes = &[&["channel:read:polls", "channel:manage:polls"]];
const PREDICTIONS: Scopes = &[&["channel:read:predictions", "channel:manage:predictions"]];
const HYPE: Scopes = &[&["channel:read:hype_train"]];
const GOALS: Scopes = &[&["channel:read:goals"]];
const CHARITY: Scopes = &[&["channel:read:charity"]];
const ADS: Scopes = &[&["channel:read:ads"]];
const SHOUTOUTS: Scopes = &[&["moderator:read:shoutouts", "moderator:manage:shoutouts"]];
const MODERATE: Scopes = &[
    &["moderator:read:blocked_terms", "moderator:manage:blocked_terms"],
    &["moderator:read:chat_settings", "moderator:manage:chat_settings"],
    &["moderator:read:unban_requests", "moderator:manage:unban_requests"],
    &["moderator:read:banned_users", "moderator:manage:banned_users"],
    &["moderator:read:chat_messages", "moderator:manage:chat_messages"],
    &["moderator:read:moderators"],
    &["moderator:read:vips"],
];
const BANS: Scopes = &[&["channel:moderate"]];
const UNBANS: Scopes = &[&["moderator:read:unban_requests", "moderator:manage:unban_requests"]];
const MODERATORS: Scopes = &[&["moderation:read"]];
const VIPS: Scopes = &[&["channel:read:vips", "channel:manage:vips"]];
const WARNINGS: Scopes = &[&["moderator:read:warnings", "moderator:manage:warnings"]];
const SHIELD: Scopes = &[&["moderator:read:shield_mode", "moderator:manage:shield_mode"]];
const SUSPICIOUS: Scopes = &[&["moderator:read:suspicious_users"]];
const AUTOMOD: Scopes = &[&["moderator:manage:automod"]];
const AUTOMOD_SETTINGS: Scopes = &[&["moderator:read:automod_settings"]];
const GUEST_STAR: Scopes = &[&[
    "channel:read:guest_star",
    "channel:manage:guest_star",
    "moderator:read:guest_star",
    "moderator:manage:guest_star",
]];
const WHISPERS: Scopes = &[&["user:read:whispers", "user:manage:whispers"]];

const V1: &[&str] = &["1"];
const V2: &[&str] = &["2"];
const V1_2: &[&str] = &["1", "2"];
const BETA: &[&str] = &["beta"];

const fn row(
    name: &'static str,
    versions: &'static [&'static str],
    fields: Fields,
    scopes: Scopes,
) -> Kind {
    Kind { name, versions, fields, scopes, carrier: Carrier::Any }
}

const fn app(name: &'static str, fields: Fields) -> Kind {
    Kind { name, versions: V1, fields, scopes: NONE, carrier: Carrier::AppOnly }
}

/// Every type of the documentation, and `channel.custom_power_up_redemption.add`, which is newer.
pub(super) static KINDS: &[Kind] = &[
    row("channel.chat.message", V1, BU, CHAT),
    row("channel.chat.notification", V1, BU, CHAT),
    row("channel.chat.message_delete", V1, BU, CHAT),
    row("channel.chat.clear", V1, BU, CHAT),
    row("channel.chat.clear_user_messages", V1, BU, CHAT),
    row("channel.chat_settings.update", V1, BU, CHAT),
    row("channel.chat.user_message_hold", V1, BU, CHAT),
    row("channel.chat.user_message_update", V1, BU, CHAT),
    row("channel.follow", V2, BM, FOLLOWERS),
    row("channel.subscribe", V1, B, SUBSCRIPTIONS),
    row("channel.subscription.end", V1, B, SUBSCRIPTIONS),
    row("channel.subscription.gift", V1, B, SUBSCRIPTIONS),
    row("channel.subscription.message", V1, B, SUBSCRIPTIONS),
    row("channel.cheer", V1, B, BITS),
    row("channel.bits.use", V1, B, BITS),
    row("channel.custom_power_up_redemption.add", &["beta", "1"], B, BITS),
    row("channel.raid", V1, RAID, NONE),
    row("channel.channel_points_custom_reward.add", V1, B, REDEMPTIONS),
    row("channel.channel_points_custom_reward.update", V1, B_REWARD, REDEMPTIONS),
    row("channel.channel_points_custom_reward.remove", V1, B_REWARD, REDEMPTIONS),
    row("channel.channel_points_custom_reward_redemption.add", V1, B_REWARD, REDEMPTIONS),
    row("channel.channel_points_custom_reward_redemption.update", V1, B_REWARD, REDEMPTIONS),
    row("channel.channel_points_automatic_reward_redemption.add", V1_2, B, REDEMPTIONS),
    row("channel.poll.begin", V1, B, POLLS),
    row("channel.poll.progress", V1, B, POLLS),
    row("channel.poll.end", V1, B, POLLS),
    row("channel.prediction.begin", V1, B, PREDICTIONS),
    row("channel.prediction.progress", V1, B, PREDICTIONS),
    row("channel.prediction.lock", V1, B, PREDICTIONS),
    row("channel.prediction.end", V1, B, PREDICTIONS),
    row("channel.hype_train.begin", V2, B, HYPE),
    row("channel.hype_train.progress", V2, B, HYPE),
    row("channel.hype_train.end", V2, B, HYPE),
    row("channel.goal.begin", V1, B, GOALS),
    row("channel.goal.progress", V1, B, GOALS),
    row("channel.goal.end", V1, B, GOALS),
    row("channel.charity_campaign.donate", V1, B, CHARITY),
    row("channel.charity_campaign.start", V1, B, CHARITY),
    row("channel.charity_campaign.progress", V1, B, CHARITY),
    row("channel.charity_campaign.stop", V1, B, CHARITY),
    row("channel.ad_break.begin", V1, B, ADS),
    row("channel.shoutout.create", V1, BM, SHOUTOUTS),
    row("channel.shoutout.receive", V1, BM, SHOUTOUTS),
    row("stream.online", V1, B, NONE),
    row("stream.offline", V1, B, NONE),
    row("channel.update", V2, B, NONE),
    row("channel.moderate", V1_2, BM, MODERATE),
    row("channel.ban", V1, B, BANS),
    row("channel.unban", V1, B, BANS),
    row("channel.unban_request.create", V1, BM, UNBANS),
    row("channel.unban_request.resolve", V1, BM, UNBANS),
    row("channel.moderator.add", V1, B, MODERATORS),
    row("channel.moderator.remove", V1, B, MODERATORS),
    row("channel.vip.add", V1, B, VIPS),
    row("channel.vip.remove", V1, B, VIPS),
    row("channel.warning.send", V1, BM, WARNINGS),
    row("channel.warning.acknowledge", V1, BM, WARNINGS),
    row("channel.shield_mode.begin", V1, BM, SHIELD),
    row("channel.shield_mode.end", V1, BM, SHIELD),
    row("channel.suspicious_user.message", V1, BM, SUSPICIOUS),
    row("channel.suspicious_user.update", V1, BM, SUSPICIOUS),
    row("channel.shared_chat.begin", V1, B, NONE),
    row("channel.shared_chat.update", V1, B, NONE),
    row("channel.shared_chat.end", V1, B, NONE),
    row("automod.message.hold", V1_2, BM, AUTOMOD),
    row("automod.message.update", V1_2, BM, AUTOMOD),
    row("automod.settings.update", V1, BM, AUTOMOD_SETTINGS),
    row("automod.terms.update", V1, BM, AUTOMOD),
    row("channel.guest_star_session.begin", BETA, BM, GUEST_STAR),
    row("channel.guest_star_session.end", BETA, BM, GUEST_STAR),
    row("channel.guest_star_guest.update", BETA, BM, GUEST_STAR),
    row("channel.guest_star_settings.update", BETA, BM, GUEST_STAR),
    app("conduit.shard.disabled", SHARD),
    app("user.authorization.grant", CLIENT),
    app("user.authorization.revoke", CLIENT),
    row("user.update", V1, U, NONE),
    row("user.whisper.message", V1, U, WHISPERS),
    app("drop.entitlement.grant", DROP),
    app("extension.bits_transaction.create", EXTENSION),
];

/// Every scope that some subscription type or Helix call of the pretend Twitch asks for.
pub(super) fn every_scope() -> Vec<String> {
    let of_kinds = KINDS.iter().flat_map(|kind| kind.scopes.iter().copied().flatten().copied());
    let mut scopes: Vec<String> =
        of_kinds.chain(HELIX_SCOPES.iter().copied()).map(str::to_owned).collect();
    scopes.sort();
    scopes.dedup();
    scopes
}

const HELIX_SCOPES: &[&str] = &[
    "channel:bot",
    "channel:edit:commercial",
    "channel:manage:ads",
    "channel:manage:broadcast",
    "channel:manage:clips",
    "channel:manage:raids",
    "clips:edit",
    "editor:manage:clips",
    "moderator:manage:announcements",
    "moderator:read:chatters",
    "user:bot",
    "user:read:broadcast",
    "user:read:email",
    "user:write:chat",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_of_the_documentation_is_there_once() {
        let names: BTreeSet<_> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), KINDS.len());
        let documented: usize = KINDS
            .iter()
            .filter(|kind| kind.name != "channel.custom_power_up_redemption.add")
            .map(|kind| kind.versions.len())
            .sum();
        assert_eq!(documented, 82);
    }

    #[test]
    fn a_raid_names_one_side() {
        let raid = Kind::named("channel.raid").unwrap();
        let side = |field: &str| (field.to_owned(), "1".to_owned());
        assert!(raid.refuse(&BTreeMap::new()).is_some());
        assert!(raid.refuse(&[side("to_broadcaster_user_id")].into()).is_none());
        let both = [side("to_broadcaster_user_id"), side("from_broadcaster_user_id")];
        assert!(raid.refuse(&both.into()).is_some());
    }
}
