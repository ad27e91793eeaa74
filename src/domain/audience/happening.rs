//! What happened on a channel, as the platform told it once: personal, ordered by nothing, maybe told twice.
//! Adapters make it; what is kept of it, and for how long, is decided by those who hear it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One thing that happened on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// The platform's id of this telling; a resend keeps it.
    pub message_id: String,
    /// When it happened by the platform's clock: the event's own time if it has one, else when it was sent.
    pub at: DateTime<Utc>,
    /// The platform's id of the channel it happened on.
    pub channel: String,
    /// The same for every telling of one event, whatever its `message_id`, unique over kinds and channels.
    /// `None` where the platform gives nothing to make one of, and for standings that replace each other.
    pub business_id: Option<String>,
    pub what: What,
}

impl Happening {
    /// The business id of a follow: the same for the telling on air, which knows fractions of a second, and for the list of
    /// followers, which knows none. Who follows again later has another.
    pub fn follow_id(channel: &str, viewer_id: &str, followed_at: DateTime<Utc>) -> String {
        format!("follow:{channel}:{viewer_id}:{}", followed_at.timestamp())
    }

    /// The business id of the begin, the lock or the end of a thing that lasts: `kind` is the platform's word for that,
    /// such as `channel.poll.end`.
    pub fn phase_id(kind: &str, id: &str) -> String {
        format!("{kind}:{id}")
    }
}

/// A viewer, or another channel, as the platform knows them. Personal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewer {
    pub id: String,
    /// The name shown; empty if the platform told none.
    pub name: String,
}

/// What happened. Raw words of the platform are kept only where no figure hangs on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    Chat(Chat),
    /// A moderator took one message away.
    MessageDeleted {
        /// The `Chat::message_id` of the message.
        message_id: String,
        viewer_id: Option<String>,
    },
    /// Everything one viewer wrote was taken away: they were timed out or banned.
    ViewerSilenced {
        viewer_id: String,
    },
    /// Everything everybody wrote was taken away.
    ChatCleared,
    /// A line the platform writes into the chat (a sub, a raid, an announcement): for the timeline, never counted.
    Notice {
        /// The platform's word, such as `resub`; new words come.
        kind: String,
        /// `None` for anonymous viewers.
        viewer: Option<Viewer>,
        message_id: String,
        /// What the viewer added; often empty.
        text: String,
        /// See `Chat::copied_from`.
        copied_from: Option<String>,
    },
    Followed {
        viewer: Viewer,
    },
    /// A sub that begins, paid or as a gift. Each gift of a bomb is told here too.
    Subscribed {
        viewer: Viewer,
        tier: Tier,
        is_gift: bool,
    },
    /// A sub that goes on, told in chat.
    Resubscribed {
        viewer: Viewer,
        tier: Tier,
        /// Months subscribed in all.
        months: u64,
        text: String,
    },
    SubsGifted {
        /// `None` if they stayed anonymous.
        gifter: Option<Viewer>,
        /// Number of subs.
        total: u64,
        tier: Tier,
    },
    BitsUsed {
        viewer: Option<Viewer>,
        /// Number of bits.
        bits: u64,
    },
    /// Bits cheered, told a second time: for the timeline, `BitsUsed` is counted.
    Cheered {
        /// `None` if they stayed anonymous.
        viewer: Option<Viewer>,
        /// Number of bits.
        bits: u64,
    },
    RaidIn {
        from: Viewer,
        /// Viewers brought along.
        viewers: u64,
    },
    RaidOut {
        to: Viewer,
        /// Viewers taken along.
        viewers: u64,
    },
    Redeemed {
        redemption_id: String,
        viewer: Viewer,
        /// The reward's title, or the platform's word for an automatic one.
        reward: String,
        price: Price,
        text: String,
    },
    /// A redemption was fulfilled or given back.
    RedemptionSettled {
        redemption_id: String,
        fulfilled: bool,
    },
    Poll {
        phase: Phase,
        id: String,
        title: String,
        choices: Vec<Choice>,
    },
    Prediction {
        phase: Phase,
        id: String,
        title: String,
        outcomes: Vec<Choice>,
        /// The winning `Choice::id`, once decided.
        winner: Option<String>,
    },
    HypeTrain {
        phase: Phase,
        id: String,
        level: u64,
        /// Points in all; the platform's own unit.
        total: u64,
    },
    Goal {
        phase: Phase,
        id: String,
        /// What is counted, the platform's word: `follow`, `subscription`, …
        kind: String,
        description: String,
        current: u64,
        target: u64,
    },
    Charity {
        phase: Phase,
        id: String,
        name: String,
        raised: Amount,
        target: Option<Amount>,
    },
    /// Money given to the charity, not to the channel.
    Donated {
        viewer: Viewer,
        amount: Amount,
    },
    AdBreak {
        duration_seconds: u64,
        automatic: bool,
    },
    ShoutoutGiven {
        to: Viewer,
        /// Viewers of our channel then.
        viewers: u64,
    },
    ShoutoutReceived {
        from: Viewer,
        /// Viewers of their channel then.
        viewers: u64,
    },
    StreamOnline {
        stream_id: String,
    },
    StreamOffline {
        /// Older tellings name none.
        stream_id: Option<String>,
    },
    ChannelUpdated {
        title: String,
        category: String,
    },
    Banned {
        viewer: Viewer,
        /// `None` for good.
        until: Option<DateTime<Utc>>,
    },
    Unbanned {
        viewer: Viewer,
    },
    ShieldMode {
        on: bool,
    },
    /// We were not listening between these instants, or not sure to hear everything.
    Missed {
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        /// Why, in English, for operators.
        reason: String,
    },
    /// What the platform still knew of a gap was asked for and stored.
    Backfilled {
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        /// What it told of the gap; what was heard all the same is among them, and stored once.
        found: u64,
    },
    /// The channel's owner let us in.
    AuthorizationGranted,
    /// The channel's owner shut us out: tokens are void, what is theirs must go.
    AuthorizationRevoked,
}

impl What {
    /// The viewer who did it, by the platform's id.
    pub fn viewer_id(&self) -> Option<&str> {
        match self {
            Self::Chat(chat) => Some(&chat.viewer.id),
            Self::Followed { viewer }
            | Self::Subscribed { viewer, .. }
            | Self::Resubscribed { viewer, .. }
            | Self::Redeemed { viewer, .. }
            | Self::Donated { viewer, .. }
            | Self::Banned { viewer, .. }
            | Self::Unbanned { viewer } => Some(&viewer.id),
            Self::SubsGifted { gifter: viewer, .. }
            | Self::BitsUsed { viewer, .. }
            | Self::Cheered { viewer, .. }
            | Self::Notice { viewer, .. } => viewer.as_ref().map(|viewer| viewer.id.as_str()),
            _ => None,
        }
    }

    /// The money this counts as. Several happenings tell of one payment; each kind is counted from one of them only,
    /// and every other answers `None`.
    pub fn money(&self) -> Option<Money> {
        match self {
            Self::BitsUsed { bits, .. } => Some(Money::Bits(*bits)),
            Self::Subscribed { tier, is_gift: false, .. } => Some(Money::NewSub(*tier)),
            Self::Resubscribed { tier, .. } => Some(Money::Resub(*tier)),
            Self::SubsGifted { total, tier, .. } => {
                Some(Money::GiftedSubs { total: *total, tier: *tier })
            }
            _ => None,
        }
    }
}

/// What a viewer paid, in the platform's units; what the channel earns of it is the platform's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Money {
    /// Number of bits; the channel's share is 0.01 USD each.
    Bits(u64),
    /// One sub that begins.
    NewSub(Tier),
    /// One sub that goes on.
    Resub(Tier),
    /// Subs given away.
    GiftedSubs { total: u64, tier: Tier },
}

/// A chat message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chat {
    /// The id on this channel: deletions name it.
    pub message_id: String,
    pub viewer: Viewer,
    /// Without NUL characters (PostgreSQL takes none).
    pub text: String,
    /// The creator or a moderator of this channel wrote it.
    pub trusted: bool,
    /// Bits cheered with it, for the timeline: `BitsUsed` is counted.
    pub bits: u64,
    /// The channel it was written on, if that is another one sharing its chat: then this is only a copy, whose
    /// original is told there with the same `Happening::business_id`.
    pub copied_from: Option<String>,
}

/// A sub's price class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Tier {
    One,
    Two,
    Three,
    /// A class newer than this program.
    Other,
}

/// What a redemption cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Price {
    /// Channel points.
    Points(u64),
    /// Number of bits; for the timeline, `BitsUsed` is counted.
    Bits(u64),
}

/// Where a thing that lasts stands. Progress may be told before the begin, and after the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    Begin,
    Progress,
    /// A prediction takes no more points.
    Lock,
    End,
}

/// A choice of a poll, or an outcome of a prediction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    pub id: String,
    pub title: String,
    /// Votes in a poll, viewers in a prediction.
    pub votes: u64,
    /// Channel points put on it.
    pub points: u64,
}

/// An amount in a currency: `value` / 10^`decimal_places`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// In the currency's smallest unit.
    pub value: u64,
    pub decimal_places: u64,
    /// ISO 4217, such as `EUR`.
    pub currency: String,
}
