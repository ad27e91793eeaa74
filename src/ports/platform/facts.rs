//! What the platform tells of channels, and what it is told to do in them.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::audience::channel::ChannelId;

/// A running stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningStream {
    pub id: String,
    pub channel: ChannelId,
    pub viewers: u32,
    pub title: String,
    pub category: String,
    pub started_at: Option<DateTime<Utc>>,
}

/// A person of the platform, as everybody sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformUser {
    pub id: ChannelId,
    pub login: String,
    pub name: String,
}

/// How a channel presents itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelInformation {
    pub title: String,
    pub category_id: String,
    pub category: String,
    pub language: String,
    /// The stream says that it is sponsored.
    pub is_branded: bool,
}

/// What to change about a channel; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelChange {
    pub title: Option<String>,
    pub category_id: Option<String>,
    pub is_branded: Option<bool>,
}

/// A marker that was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    pub id: String,
    /// Seconds from the start of the stream.
    pub position_s: u32,
    pub created_at: Option<DateTime<Utc>>,
}

/// A clip that is being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipTicket {
    pub id: String,
    /// Where its owner edits it, for 24 h.
    pub edit_url: String,
}

/// A clip to be cut from a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoClipOrder {
    pub channel: ChannelId,
    /// In whose name: the channel itself or one of its editors.
    pub editor: ChannelId,
    pub video_id: String,
    pub title: String,
    /// Where the clip **ends**, in seconds from the recording's start; at least its duration.
    pub ends_at_s: u32,
    /// 5 to 60.
    pub duration_s: f64,
}

/// A clip that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct PlatformClip {
    pub id: String,
    pub channel: Option<ChannelId>,
    pub url: String,
    pub title: String,
    pub views: u64,
    pub duration_s: f64,
    /// The recording it is of, while there is one.
    pub video_id: Option<String>,
    /// Where it begins in the recording, in seconds.
    pub video_offset_s: Option<u32>,
    pub created_at: Option<DateTime<Utc>>,
}

/// Where a clip is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipDownload {
    pub clip_id: String,
    pub landscape_url: Option<String>,
    pub portrait_url: Option<String>,
}

/// A message for a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatLine {
    pub channel: ChannelId,
    /// Who writes; the bearer, unless that is the application.
    pub sender: ChannelId,
    /// At most 500 characters.
    pub text: String,
    /// The message this one answers.
    pub reply_to: Option<String>,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    Shown {
        message_id: String,
    },
    /// Taken, but shown to nobody; `reason` is the platform's.
    Dropped {
        code: String,
        reason: String,
    },
}

/// An announcement for a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    pub channel: ChannelId,
    /// Who announces: the channel itself or one of its moderators.
    pub moderator: ChannelId,
    /// At most 500 characters; the platform cuts longer ones.
    pub text: String,
    pub colour: AnnouncementColour,
}

/// The colour of an announcement's edge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AnnouncementColour {
    /// The channel's own.
    #[default]
    Primary,
    Blue,
    Green,
    Orange,
    Purple,
}

/// When advertising runs and ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdSchedule {
    pub next_at: Option<DateTime<Utc>>,
    pub last_at: Option<DateTime<Utc>>,
    /// How long the next one takes.
    pub duration: TimeDelta,
    /// How much time without advertising before the stream's start is left.
    pub preroll_free: TimeDelta,
    pub snoozes_left: u32,
}

/// Somebody who follows a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    pub id: ChannelId,
    pub login: String,
    pub name: String,
    pub followed_at: DateTime<Utc>,
}

/// Some of a channel's followers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowerPage {
    /// All of them, counted.
    pub total: u64,
    /// Empty without the permission, though `total` is told.
    pub followers: Vec<Follower>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// A poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    pub id: String,
    pub title: String,
    /// The platform's word: ACTIVE, COMPLETED, TERMINATED, ARCHIVED, …
    pub status: String,
    pub choices: Vec<PollChoice>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// One answer of a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollChoice {
    pub id: String,
    pub title: String,
    pub votes: u64,
}

/// A recording of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Video {
    pub id: String,
    /// The stream it is of.
    pub stream_id: Option<String>,
    pub title: String,
    pub url: String,
    pub created_at: Option<DateTime<Utc>>,
    pub duration: TimeDelta,
}
