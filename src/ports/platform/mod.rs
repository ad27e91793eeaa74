//! The streaming platform, asked: who allows us what ([`Identity`]), what goes on in a channel and what we do in its
//! name ([`Platform`]), which events we are sent and how ([`Deliveries`]). Nothing of a wire format passes this line.

mod deliveries;
mod facts;
mod identity;

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::audience::channel::ChannelId;
use crate::ports::PortError;
use crate::ports::vault::Secret;

pub use deliveries::{
    Condition, Conduit, Deliveries, DeliveryVia, Grant, ListedSubscription, Shard, ShardRefused,
    SubscriptionFilter, SubscriptionOrder,
};
pub use facts::{
    AdSchedule, Announcement, AnnouncementColour, ChannelChange, ChannelInformation, ChatLine,
    ClipDownload, ClipTicket, Follower, FollowerPage, Marker, PlatformClip, PlatformUser, Poll,
    PollChoice, RunningStream, Sent, Video, VideoClipOrder,
};
pub use identity::{Authorisation, DeviceAnswer, DeviceCode, Identity, Whoami};

/// Most channels one question about streams, people or grants names; the client cuts longer lists.
pub const CHANNELS_ASKED_MAX: usize = 100;

/// Why the platform did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// No client id is set.
    #[error(
        "no Twitch application is set: write client_id (and client_secret) under [twitch] in spark.toml"
    )]
    NotConfigured,
    /// The token is not taken (any more).
    #[error("the platform takes this token no longer")]
    Unauthorised,
    /// The channel gave no permission for this.
    #[error("the channel's permission is missing: {reason}")]
    MissingScope { reason: String },
    #[error("the platform knows no such thing")]
    NotFound,
    /// Only possible during a stream.
    #[error("the channel is not live")]
    NotLive,
    /// It stands already. `existing` is its id where the platform says it.
    #[error("it stands already")]
    Conflict { existing: Option<String> },
    /// Too much was asked. Without `retry_after`, waiting does not help: another limit than the rate is reached.
    #[error("too much was asked of the platform: {reason}")]
    RateLimited { retry_after: Option<Duration>, reason: String },
    /// The platform understood and says no.
    #[error("the platform refuses ({status}): {reason}")]
    Refused { status: u16, reason: String },
    /// Did not answer, or not in a way to be understood; may pass.
    #[error(transparent)]
    Passing(PortError),
    /// It failed so often that it is not asked for a while.
    #[error("the platform fails at this; asked again in {} s", retry_after.as_secs())]
    BreakerOpen { retry_after: Duration },
}

impl PlatformError {
    /// Whether the same call may go through later by itself.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Passing(error) => error.retry,
            Self::BreakerOpen { .. } | Self::RateLimited { retry_after: Some(_), .. } => true,
            _ => false,
        }
    }
}

/// In whose name the platform is asked. Limits are counted apart for each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    App,
    Channel(ChannelId),
}

/// A token and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    pub caller: Caller,
    pub token: Secret,
}

/// The platform's facts and deeds. Unless said otherwise the bearer is the channel that is asked about, with the
/// permission of the feature concerned.
#[async_trait]
pub trait Platform: Send + Sync {
    /// The streams running now among these channels, any number of them; any bearer.
    async fn streams(
        &self,
        bearer: &Bearer,
        channels: &[ChannelId],
    ) -> Result<Vec<RunningStream>, PlatformError>;

    /// People by id, any number of them; whoever is not there is left out; any bearer.
    async fn users(
        &self,
        bearer: &Bearer,
        ids: &[ChannelId],
    ) -> Result<Vec<PlatformUser>, PlatformError>;

    /// How a channel presents itself; any bearer.
    async fn channel_information(
        &self,
        bearer: &Bearer,
        channel: &ChannelId,
    ) -> Result<ChannelInformation, PlatformError>;

    /// Changes what is named in `change`, and nothing else.
    async fn change_channel(
        &self,
        bearer: &Bearer,
        channel: &ChannelId,
        change: &ChannelChange,
    ) -> Result<(), PlatformError>;

    /// Puts a marker at the present place of the running stream. [`PlatformError::NotLive`] without one that is recorded.
    async fn mark(
        &self,
        bearer: &Bearer,
        channel: &ChannelId,
        description: &str,
    ) -> Result<Marker, PlatformError>;

    /// Begins a clip of the last `duration_s` (5 to 60) of the running stream. It is made afterwards: absent from
    /// [`Self::clips`] 15 s later, it failed.
    async fn create_clip(
        &self,
        bearer: &Bearer,
        channel: &ChannelId,
        title: Option<&str>,
        duration_s: Option<f64>,
    ) -> Result<ClipTicket, PlatformError>;

    /// Begins a clip of a recording, that of the running stream included.
    async fn create_video_clip(
        &self,
        bearer: &Bearer,
        order: &VideoClipOrder,
    ) -> Result<ClipTicket, PlatformError>;

    /// Clips by id; those not made (yet) are left out; any bearer.
    async fn clips(
        &self,
        bearer: &Bearer,
        ids: &[String],
    ) -> Result<Vec<PlatformClip>, PlatformError>;

    /// Where to fetch a channel's clips, soon after.
    async fn clip_downloads(
        &self,
        bearer: &Bearer,
        channel: &ChannelId,
        ids: &[String],
    ) -> Result<Vec<ClipDownload>, PlatformError>;

    /// Writes into a channel's chat. Look at [`Sent`]: the platform may take a message and drop it.
    async fn send_message(&self, bearer: &Bearer, line: &ChatLine) -> Result<Sent, PlatformError>;

    /// Writes an announcement into a channel's chat.
    async fn announce(
        &self,
        bearer: &Bearer,
        announcement: &Announcement,
    ) -> Result<(), PlatformError>;

    /// When advertising runs and ran.
    async fn ad_schedule(
        &self,
        bearer: &Bearer,
        channel: &ChannelId,
    ) -> Result<AdSchedule, PlatformError>;

    /// A page of a channel's followers, the latest first; the next one by [`FollowerPage::next`].
    async fn followers(
        &self,
        bearer: &Bearer,
        channel: &ChannelId,
        after: Option<&str>,
    ) -> Result<FollowerPage, PlatformError>;

    /// A channel's polls of the last 90 days, the latest first, at most 20.
    async fn polls(&self, bearer: &Bearer, channel: &ChannelId)
    -> Result<Vec<Poll>, PlatformError>;

    /// Sends a channel's viewers to another one after a countdown of 90 s.
    async fn start_raid(
        &self,
        bearer: &Bearer,
        from: &ChannelId,
        to: &ChannelId,
    ) -> Result<(), PlatformError>;

    /// Calls a raid off that has not left yet.
    async fn cancel_raid(&self, bearer: &Bearer, from: &ChannelId) -> Result<(), PlatformError>;

    /// A channel's recordings of streams, the latest first, at most 100; any bearer.
    async fn videos(
        &self,
        bearer: &Bearer,
        channel: &ChannelId,
    ) -> Result<Vec<Video>, PlatformError>;
}
