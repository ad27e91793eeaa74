//! Helix's answers, open: what we do not read is ignored, what may be missing or null is told apart from a fault.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer};

use crate::adapters::twitch::helix::channels::length;
use crate::domain::audience::channel::ChannelId;
use crate::ports::platform::{
    AdSchedule, ChannelInformation, ClipDownload, ClipTicket, Follower, Marker, PlatformClip,
    PlatformUser, Poll, PollChoice, RunningStream, Sent, Video,
};

/// Null is as good as absent.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A time that is absent, null or empty is none.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let said = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    Ok(DateTime::parse_from_rfc3339(&said).ok().map(|time| time.to_utc()))
}

/// A time as RFC 3339, as seconds since 1970, empty, zero or null.
fn any_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let said = serde_json::Value::deserialize(deserializer)?;
    Ok(match &said {
        serde_json::Value::Number(seconds) => {
            let seconds = seconds.as_i64().filter(|seconds| *seconds > 0);
            seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        }
        serde_json::Value::String(text) => {
            DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
        }
        _ => None,
    })
}

/// A number, also where it is written as a text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let said = serde_json::Value::deserialize(deserializer)?;
    Ok(match &said {
        serde_json::Value::Number(number) => number.as_i64().unwrap_or(0),
        serde_json::Value::String(text) => text.parse().unwrap_or(0),
        _ => 0,
    })
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[derive(Deserialize)]
pub(super) struct StreamRow {
    id: String,
    user_id: ChannelId,
    #[serde(default, deserialize_with = "or_default")]
    viewer_count: u32,
    #[serde(default, deserialize_with = "or_default")]
    title: String,
    #[serde(default, deserialize_with = "or_default")]
    game_name: String,
    #[serde(default, deserialize_with = "time")]
    started_at: Option<DateTime<Utc>>,
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    pub kind: String,
}

impl From<StreamRow> for RunningStream {
    fn from(row: StreamRow) -> Self {
        Self {
            id: row.id,
            channel: row.user_id,
            viewers: row.viewer_count,
            title: row.title,
            category: row.game_name,
            started_at: row.started_at,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct UserRow {
    id: ChannelId,
    login: String,
    #[serde(default, deserialize_with = "or_default")]
    display_name: String,
}

impl From<UserRow> for PlatformUser {
    fn from(row: UserRow) -> Self {
        let name = filled(row.display_name).unwrap_or_else(|| row.login.clone());
        Self { id: row.id, name, login: row.login }
    }
}

#[derive(Deserialize)]
pub(super) struct ChannelRow {
    #[serde(default, deserialize_with = "or_default")]
    title: String,
    #[serde(default, deserialize_with = "or_default")]
    game_id: String,
    #[serde(default, deserialize_with = "or_default")]
    game_name: String,
    #[serde(default, deserialize_with = "or_default")]
    broadcaster_language: String,
    #[serde(default, deserialize_with = "or_default")]
    is_branded_content: bool,
}

impl From<ChannelRow> for ChannelInformation {
    fn from(row: ChannelRow) -> Self {
        Self {
            title: row.title,
            category_id: row.game_id,
            category: row.game_name,
            language: row.broadcaster_language,
            is_branded: row.is_branded_content,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct MarkerRow {
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    position_seconds: u32,
    #[serde(default, deserialize_with = "time")]
    created_at: Option<DateTime<Utc>>,
}

impl From<MarkerRow> for Marker {
    fn from(row: MarkerRow) -> Self {
        Self { id: row.id, position_s: row.position_seconds, created_at: row.created_at }
    }
}

#[derive(Deserialize)]
pub(super) struct TicketRow {
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    edit_url: String,
}

impl From<TicketRow> for ClipTicket {
    fn from(row: TicketRow) -> Self {
        Self { id: row.id, edit_url: row.edit_url }
    }
}

#[derive(Deserialize)]
pub(super) struct ClipRow {
    id: String,
    #[serde(default)]
    broadcaster_id: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    url: String,
    #[serde(default, deserialize_with = "or_default")]
    title: String,
    #[serde(default, deserialize_with = "or_default")]
    view_count: u64,
    #[serde(default, deserialize_with = "or_default")]
    duration: f64,
    #[serde(default, deserialize_with = "or_default")]
    video_id: String,
    #[serde(default)]
    vod_offset: Option<u32>,
    #[serde(default, deserialize_with = "time")]
    created_at: Option<DateTime<Utc>>,
}

impl From<ClipRow> for PlatformClip {
    fn from(row: ClipRow) -> Self {
        Self {
            id: row.id,
            channel: row.broadcaster_id.and_then(|id| ChannelId::try_new(id).ok()),
            url: row.url,
            title: row.title,
            views: row.view_count,
            duration_s: row.duration,
            video_id: filled(row.video_id),
            video_offset_s: row.vod_offset,
            created_at: row.created_at,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct DownloadRow {
    clip_id: String,
    #[serde(default)]
    landscape_download_url: Option<String>,
    #[serde(default)]
    portrait_download_url: Option<String>,
}

impl From<DownloadRow> for ClipDownload {
    fn from(row: DownloadRow) -> Self {
        Self {
            clip_id: row.clip_id,
            landscape_url: row.landscape_download_url,
            portrait_url: row.portrait_download_url,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct SentRow {
    #[serde(default, deserialize_with = "or_default")]
    message_id: String,
    #[serde(default, deserialize_with = "or_default")]
    is_sent: bool,
    #[serde(default)]
    drop_reason: Option<DropReason>,
}

#[derive(Default, Deserialize)]
struct DropReason {
    #[serde(default, deserialize_with = "or_default")]
    code: String,
    #[serde(default, deserialize_with = "or_default")]
    message: String,
}

impl From<SentRow> for Sent {
    fn from(row: SentRow) -> Self {
        if row.is_sent {
            return Self::Shown { message_id: row.message_id };
        }
        let DropReason { code, message } = row.drop_reason.unwrap_or_default();
        Self::Dropped { code, reason: message }
    }
}

#[derive(Default, Deserialize)]
pub(super) struct AdsRow {
    #[serde(default, deserialize_with = "any_time")]
    next_ad_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "any_time")]
    last_ad_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "number")]
    duration: i64,
    #[serde(default, deserialize_with = "number")]
    preroll_free_time: i64,
    #[serde(default, deserialize_with = "number")]
    snooze_count: i64,
}

impl From<AdsRow> for AdSchedule {
    fn from(row: AdsRow) -> Self {
        let seconds = |seconds| TimeDelta::try_seconds(seconds).unwrap_or_default();
        Self {
            next_at: row.next_ad_at,
            last_at: row.last_ad_at,
            duration: seconds(row.duration),
            preroll_free: seconds(row.preroll_free_time),
            snoozes_left: u32::try_from(row.snooze_count).unwrap_or(0),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct FollowerRow {
    user_id: ChannelId,
    user_login: String,
    #[serde(default, deserialize_with = "or_default")]
    user_name: String,
    followed_at: DateTime<Utc>,
}

impl From<FollowerRow> for Follower {
    fn from(row: FollowerRow) -> Self {
        let name = filled(row.user_name).unwrap_or_else(|| row.user_login.clone());
        Self { id: row.user_id, name, login: row.user_login, followed_at: row.followed_at }
    }
}

#[derive(Deserialize)]
pub(super) struct PollRow {
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    title: String,
    #[serde(default, deserialize_with = "or_default")]
    status: String,
    #[serde(default, deserialize_with = "or_default")]
    choices: Vec<PollChoiceRow>,
    #[serde(default, deserialize_with = "time")]
    started_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "time")]
    ended_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct PollChoiceRow {
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    title: String,
    #[serde(default, deserialize_with = "or_default")]
    votes: u64,
}

impl From<PollRow> for Poll {
    fn from(row: PollRow) -> Self {
        let choice = |choice: PollChoiceRow| PollChoice {
            id: choice.id,
            title: choice.title,
            votes: choice.votes,
        };
        Self {
            id: row.id,
            title: row.title,
            status: row.status,
            choices: row.choices.into_iter().map(choice).collect(),
            started_at: row.started_at,
            ended_at: row.ended_at,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct VideoRow {
    id: String,
    #[serde(default)]
    stream_id: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    title: String,
    #[serde(default, deserialize_with = "or_default")]
    url: String,
    #[serde(default, deserialize_with = "time")]
    created_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "or_default")]
    duration: String,
}

impl From<VideoRow> for Video {
    fn from(row: VideoRow) -> Self {
        Self {
            id: row.id,
            stream_id: row.stream_id.and_then(filled),
            title: row.title,
            url: row.url,
            created_at: row.created_at,
            duration: length(&row.duration),
        }
    }
}
