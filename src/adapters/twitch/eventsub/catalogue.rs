//! What we subscribe to, the most important first: a fresh socket has ten seconds, and a list may be cut short.

use self::Condition as C;

/// A subscription type the house lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionType {
    /// `type`, such as `channel.follow`.
    pub kind: &'static str,
    pub version: &'static str,
    /// The fields of the condition.
    pub condition: &'static [Condition],
    /// Every group must be granted; of a group one scope is enough.
    pub scopes: &'static [&'static [&'static str]],
    /// Needs an app token: webhooks and conduits only.
    pub app_token: bool,
    /// What is missing without it: French, for people.
    pub lost: &'static str,
}

/// A field of a condition. Over a WebSocket, `Moderator` and `Reader` must be the token's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Broadcaster,
    Moderator,
    /// Who reads the chat.
    Reader,
    /// The channel a raid leaves.
    RaidFrom,
    /// The channel a raid comes to.
    RaidTo,
    /// Our own client id.
    Client,
}

impl Condition {
    /// Its name in a condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Broadcaster => "broadcaster_user_id",
            Self::Moderator => "moderator_user_id",
            Self::Reader => "user_id",
            Self::RaidFrom => "from_broadcaster_user_id",
            Self::RaidTo => "to_broadcaster_user_id",
            Self::Client => "client_id",
        }
    }
}

impl SubscriptionType {
    /// Whether these scopes are enough to subscribe.
    pub fn is_allowed(&self, granted: &[&str]) -> bool {
        self.scopes.iter().all(|group| group.iter().any(|scope| granted.contains(scope)))
    }

    const fn new(
        kind: &'static str,
        version: &'static str,
        condition: &'static [Condition],
        scopes: &'static [&'static [&'static str]],
        lost: &'static str,
    ) -> Self {
        Self { kind, version, condition, scopes, app_token: false, lost }
    }

    const fn by_app(kind: &'static str, lost: &'static str) -> Self {
        Self { kind, version: "1", condition: &[C::Client], scopes: &[], app_token: true, lost }
    }
}

const CHANNEL: &[Condition] = &[C::Broadcaster];
const CHAT: &[Condition] = &[C::Broadcaster, C::Reader];
const MODERATED: &[Condition] = &[C::Broadcaster, C::Moderator];

const READ_CHAT: &[&[&str]] = &[&["user:read:chat"]];
const SUBS: &[&[&str]] = &[&["channel:read:subscriptions"]];
const BITS: &[&[&str]] = &[&["bits:read"]];
const REDEMPTIONS: &[&[&str]] = &[&["channel:read:redemptions", "channel:manage:redemptions"]];
const POLLS: &[&[&str]] = &[&["channel:read:polls", "channel:manage:polls"]];
const PREDICTIONS: &[&[&str]] = &[&["channel:read:predictions", "channel:manage:predictions"]];
const HYPE_TRAINS: &[&[&str]] = &[&["channel:read:hype_train"]];
const GOALS: &[&[&str]] = &[&["channel:read:goals"]];
const CHARITY: &[&[&str]] = &[&["channel:read:charity"]];
const SHOUTOUTS: &[&[&str]] = &[&["moderator:read:shoutouts", "moderator:manage:shoutouts"]];
const SHIELD: &[&[&str]] = &[&["moderator:read:shield_mode", "moderator:manage:shield_mode"]];

/// Every type the house subscribes to, the most important first. `decode` understands them all.
pub const CATALOGUE: &[SubscriptionType] = &[
    SubscriptionType::new(
        "channel.chat.message",
        "1",
        CHAT,
        READ_CHAT,
        "le chat, le pouls et les moments",
    ),
    SubscriptionType::new(
        "channel.chat.message_delete",
        "1",
        CHAT,
        READ_CHAT,
        "le retrait des messages supprimés",
    ),
    SubscriptionType::new(
        "channel.chat.clear_user_messages",
        "1",
        CHAT,
        READ_CHAT,
        "le retrait des messages d'un viewer exclu",
    ),
    SubscriptionType::new(
        "channel.chat.clear",
        "1",
        CHAT,
        READ_CHAT,
        "le vidage du chat par la modération",
    ),
    SubscriptionType::new("stream.online", "1", CHANNEL, &[], "le début du direct"),
    SubscriptionType::new("stream.offline", "1", CHANNEL, &[], "la fin du direct"),
    SubscriptionType::new("channel.bits.use", "1", CHANNEL, BITS, "le compte des bits"),
    SubscriptionType::new(
        "channel.subscription.gift",
        "1",
        CHANNEL,
        SUBS,
        "le compte des abonnements offerts",
    ),
    SubscriptionType::new(
        "channel.subscription.message",
        "1",
        CHANNEL,
        SUBS,
        "le compte des réabonnements",
    ),
    SubscriptionType::new(
        "channel.subscribe",
        "1",
        CHANNEL,
        SUBS,
        "le compte des nouveaux abonnements",
    ),
    SubscriptionType::new(
        "channel.follow",
        "2",
        MODERATED,
        &[&["moderator:read:followers"]],
        "les nouveaux followers",
    ),
    SubscriptionType::new("channel.raid", "1", &[C::RaidTo], &[], "les raids reçus"),
    SubscriptionType::new("channel.raid", "1", &[C::RaidFrom], &[], "les raids lancés"),
    SubscriptionType::new(
        "channel.chat.notification",
        "1",
        CHAT,
        READ_CHAT,
        "les annonces de Twitch dans le fil",
    ),
    SubscriptionType::new("channel.cheer", "1", CHANNEL, BITS, "les bits dans le fil"),
    SubscriptionType::new(
        "channel.channel_points_custom_reward_redemption.add",
        "1",
        CHANNEL,
        REDEMPTIONS,
        "les récompenses de points de chaîne",
    ),
    SubscriptionType::new(
        "channel.channel_points_custom_reward_redemption.update",
        "1",
        CHANNEL,
        REDEMPTIONS,
        "la suite donnée aux récompenses",
    ),
    SubscriptionType::new(
        "channel.channel_points_automatic_reward_redemption.add",
        "2",
        CHANNEL,
        REDEMPTIONS,
        "les récompenses automatiques de Twitch",
    ),
    SubscriptionType::new(
        "channel.custom_power_up_redemption.add",
        "1",
        CHANNEL,
        BITS,
        "les power-ups de la chaîne",
    ),
    SubscriptionType::new(
        "channel.hype_train.begin",
        "2",
        CHANNEL,
        HYPE_TRAINS,
        "le début des hype trains",
    ),
    SubscriptionType::new(
        "channel.hype_train.progress",
        "2",
        CHANNEL,
        HYPE_TRAINS,
        "la progression des hype trains",
    ),
    SubscriptionType::new(
        "channel.hype_train.end",
        "2",
        CHANNEL,
        HYPE_TRAINS,
        "la fin des hype trains",
    ),
    SubscriptionType::new("channel.poll.begin", "1", CHANNEL, POLLS, "le début des sondages"),
    SubscriptionType::new("channel.poll.progress", "1", CHANNEL, POLLS, "les votes des sondages"),
    SubscriptionType::new("channel.poll.end", "1", CHANNEL, POLLS, "le résultat des sondages"),
    SubscriptionType::new(
        "channel.prediction.begin",
        "1",
        CHANNEL,
        PREDICTIONS,
        "le début des prédictions",
    ),
    SubscriptionType::new(
        "channel.prediction.progress",
        "1",
        CHANNEL,
        PREDICTIONS,
        "les mises des prédictions",
    ),
    SubscriptionType::new(
        "channel.prediction.lock",
        "1",
        CHANNEL,
        PREDICTIONS,
        "la clôture des mises",
    ),
    SubscriptionType::new(
        "channel.prediction.end",
        "1",
        CHANNEL,
        PREDICTIONS,
        "le résultat des prédictions",
    ),
    SubscriptionType::new(
        "channel.ad_break.begin",
        "1",
        CHANNEL,
        &[&["channel:read:ads"]],
        "les coupures publicitaires",
    ),
    SubscriptionType::new("channel.update", "2", CHANNEL, &[], "le titre et la catégorie"),
    SubscriptionType::new("channel.goal.begin", "1", CHANNEL, GOALS, "le début des objectifs"),
    SubscriptionType::new(
        "channel.goal.progress",
        "1",
        CHANNEL,
        GOALS,
        "la progression des objectifs",
    ),
    SubscriptionType::new("channel.goal.end", "1", CHANNEL, GOALS, "la fin des objectifs"),
    SubscriptionType::new(
        "channel.charity_campaign.donate",
        "1",
        CHANNEL,
        CHARITY,
        "les dons aux associations",
    ),
    SubscriptionType::new(
        "channel.charity_campaign.start",
        "1",
        CHANNEL,
        CHARITY,
        "le début des collectes",
    ),
    SubscriptionType::new(
        "channel.charity_campaign.progress",
        "1",
        CHANNEL,
        CHARITY,
        "la progression des collectes",
    ),
    SubscriptionType::new(
        "channel.charity_campaign.stop",
        "1",
        CHANNEL,
        CHARITY,
        "la fin des collectes",
    ),
    SubscriptionType::new(
        "channel.shoutout.create",
        "1",
        MODERATED,
        SHOUTOUTS,
        "les shoutouts donnés",
    ),
    SubscriptionType::new(
        "channel.shoutout.receive",
        "1",
        MODERATED,
        SHOUTOUTS,
        "les shoutouts reçus",
    ),
    SubscriptionType::new(
        "channel.ban",
        "1",
        CHANNEL,
        &[&["channel:moderate"]],
        "les exclusions dans le fil",
    ),
    SubscriptionType::new(
        "channel.unban",
        "1",
        CHANNEL,
        &[&["channel:moderate"]],
        "la levée des exclusions dans le fil",
    ),
    SubscriptionType::new(
        "channel.shield_mode.begin",
        "1",
        MODERATED,
        SHIELD,
        "l'activation du mode bouclier",
    ),
    SubscriptionType::new(
        "channel.shield_mode.end",
        "1",
        MODERATED,
        SHIELD,
        "la levée du mode bouclier",
    ),
    SubscriptionType::by_app("user.authorization.grant", "l'annonce d'une autorisation donnée"),
    SubscriptionType::by_app(
        "user.authorization.revoke",
        "l'effacement dès qu'une autorisation est retirée",
    ),
    SubscriptionType::by_app(
        "conduit.shard.disabled",
        "l'alerte quand un conduit perd une branche",
    ),
];
