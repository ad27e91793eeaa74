//! What goes on in channels, and what we do in their name.

use async_trait::async_trait;
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::json;

use crate::adapters::twitch::helix::rows::{
    AdsRow, ChannelRow, ClipRow, DownloadRow, FollowerRow, MarkerRow, PollRow, SentRow, StreamRow,
    TicketRow, UserRow, VideoRow,
};
use crate::adapters::twitch::helix::{Call, Page, TwitchHelix};
use crate::domain::audience::channel::ChannelId;
use crate::ports::platform::{
    AdSchedule, Announcement, AnnouncementColour, Bearer, CHANNELS_ASKED_MAX, ChannelChange,
    ChannelInformation, ChatLine, ClipDownload, ClipTicket, FollowerPage, Marker, Platform,
    PlatformClip, PlatformError, PlatformUser, Poll, RunningStream, Sent, Video, VideoClipOrder,
};

/// Items of one page, the most Helix gives.
const PAGE_ITEMS: usize = 100;
/// Polls of one page, the most Helix gives.
const POLLS_LISTED: usize = 20;
/// Clips whose download is asked for in one question.
const DOWNLOADS_ASKED_MAX: usize = 10;
/// Longest description of a marker, in characters; longer ones are cut.
const MARKER_CHARS_MAX: usize = 140;

#[async_trait]
impl Platform for TwitchHelix {
    async fn streams(
        &self,
        bearer: &Bearer,
        channels: &[ChannelId],
    ) -> Result<Vec<RunningStream>, PlatformError> {
        let mut running = Vec::new();
        for channels in channels.chunks(CHANNELS_ASKED_MAX) {
            let call = Call::new("read streams", Method::GET, "streams")
                .with_each("user_id", channels)
                .with("first", PAGE_ITEMS);
            let page: Page<StreamRow> = self.page(bearer, call).await?;
            // A stream in error has an empty type.
            let sound = page.data.into_iter().filter(|row| !row.kind.is_empty());
            running.extend(sound.map(RunningStream::from));
        }
        Ok(running)
    }

    async fn users(
        &self,
        bearer: &Bearer,
        ids: &[ChannelId],
    ) -> Result<Vec<PlatformUser>, PlatformError> {
        let mut users = Vec::new();
        for ids in ids.chunks(CHANNELS_ASKED_MAX) {
            let call = Call::new("read users", Method::GET, "users").with_each("id", ids);
            let page: Page<UserRow> = self.page(bearer, call).await?;
            users.extend(page.data.into_iter().map(PlatformUser::from));
        }
        Ok(users)
    }

    async fn channel_information(
        &self,
        bearer: &Bearer,
        channel: &ChannelId,
    ) -> Result<ChannelInformation, PlatformError> {
        let call =
            Call::new("read a channel", Method::GET, "channels").with("broadcaster_id", channel);
        let page: Page<ChannelRow> = self.page(bearer, call).await?;
        Ok(page.one()?.into())
    }

    async fn change_channel(
        &self,
        bearer: &Bearer,
        channel: &ChannelId,
        change: &ChannelChange,
    ) -> Result<(), PlatformError> {
        let mut body = serde_json::Map::new();
        if let Some(title) = &change.title {
            body.insert("title".to_owned(), json!(title));
        }
        if let Some(category) = &change.category_id {
            body.insert("game_id".to_owned(), json!(category));
        }
        if let Some(is_branded) = change.is_branded {
            body.insert("is_branded_content".to_owned(), json!(is_branded));
        }
        let call = Call::new("change a channel", Method::PATCH, "channels")
            .with("broadcaster_id", channel)
            .saying(body.into());
        self.call(bearer, call).await.map(drop)
    }

    async fn mark(
        &self,
        bearer: &Bearer,
        channel: &ChannelId,
        description: &str,
    ) -> Result<Marker, PlatformError> {
        let description: String = description.chars().take(MARKER_CHARS_MAX).collect();
        let call = Call::new("put a marker", Method::POST, "streams/markers")
            .saying(json!({ "user_id": channel, "description": description }));
        let page: Page<MarkerRow> = self.page(bearer, call).await.map_err(only_live)?;
        Ok(page.one()?.into())
    }

    async fn create_clip(
        &self,
        bearer: &Bearer,
        channel: &ChannelId,
        title: Option<&str>,
        duration_s: Option<f64>,
    ) -> Result<ClipTicket, PlatformError> {
        let call = Call::new("create a clip", Method::POST, "clips")
            .with("broadcaster_id", channel)
            .with_some("title", title)
            .with_some("duration", duration_s.map(tenths));
        let page: Page<TicketRow> = self.page(bearer, call).await.map_err(only_live)?;
        Ok(page.one()?.into())
    }

    async fn create_video_clip(
        &self,
        bearer: &Bearer,
        order: &VideoClipOrder,
    ) -> Result<ClipTicket, PlatformError> {
        let call = Call::new("create a clip of a recording", Method::POST, "videos/clips")
            .with("broadcaster_id", &order.channel)
            .with("editor_id", &order.editor)
            .with("vod_id", &order.video_id)
            .with("vod_offset", order.ends_at_s)
            .with("duration", tenths(order.duration_s))
            .with("title", &order.title);
        let page: Page<TicketRow> = self.page(bearer, call).await?;
        Ok(page.one()?.into())
    }

    async fn clips(
        &self,
        bearer: &Bearer,
        ids: &[String],
    ) -> Result<Vec<PlatformClip>, PlatformError> {
        let mut clips = Vec::new();
        for ids in ids.chunks(PAGE_ITEMS) {
            let call = Call::new("read clips", Method::GET, "clips").with_each("id", ids);
            let page: Page<ClipRow> = self.page(bearer, call).await?;
            clips.extend(page.data.into_iter().map(PlatformClip::from));
        }
        Ok(clips)
    }

    async fn clip_downloads(
        &self,
        bearer: &Bearer,
        channel: &ChannelId,
        ids: &[String],
    ) -> Result<Vec<ClipDownload>, PlatformError> {
        let mut downloads = Vec::new();
        for ids in ids.chunks(DOWNLOADS_ASKED_MAX) {
            let call = Call::new("find where clips are fetched", Method::GET, "clips/downloads")
                .with("broadcaster_id", channel)
                .with("editor_id", channel)
                .with_each("clip_id", ids);
            let page: Page<DownloadRow> = self.page(bearer, call).await?;
            downloads.extend(page.data.into_iter().map(ClipDownload::from));
        }
        Ok(downloads)
    }

    async fn send_message(&self, bearer: &Bearer, line: &ChatLine) -> Result<Sent, PlatformError> {
        let mut body = json!({
            "broadcaster_id": line.channel, "sender_id": line.sender, "message": line.text
        });
        if let Some(parent) = &line.reply_to {
            body["reply_parent_message_id"] = json!(parent);
        }
        let call = Call::new("write into a chat", Method::POST, "chat/messages").saying(body);
        let page: Page<SentRow> = self.page(bearer, call).await?;
        Ok(page.one()?.into())
    }

    async fn announce(
        &self,
        bearer: &Bearer,
        announcement: &Announcement,
    ) -> Result<(), PlatformError> {
        let colour = match announcement.colour {
            AnnouncementColour::Primary => "primary",
            AnnouncementColour::Blue => "blue",
            AnnouncementColour::Green => "green",
            AnnouncementColour::Orange => "orange",
            AnnouncementColour::Purple => "purple",
        };
        let call = Call::new("announce in a chat", Method::POST, "chat/announcements")
            .with("broadcaster_id", &announcement.channel)
            .with("moderator_id", &announcement.moderator)
            .saying(json!({ "message": announcement.text, "color": colour }));
        self.call(bearer, call).await.map(drop)
    }

    async fn ad_schedule(
        &self,
        bearer: &Bearer,
        channel: &ChannelId,
    ) -> Result<AdSchedule, PlatformError> {
        let call = Call::new("read the ad schedule", Method::GET, "channels/ads")
            .with("broadcaster_id", channel);
        let page: Page<AdsRow> = self.page(bearer, call).await?;
        // Off air the list is empty.
        Ok(page.data.into_iter().next().unwrap_or_default().into())
    }

    async fn followers(
        &self,
        bearer: &Bearer,
        channel: &ChannelId,
        after: Option<&str>,
    ) -> Result<FollowerPage, PlatformError> {
        let call = Call::new("read followers", Method::GET, "channels/followers")
            .with("broadcaster_id", channel)
            .with("first", PAGE_ITEMS)
            .with_some("after", after);
        let page: Page<FollowerRow> = self.page(bearer, call).await?;
        Ok(FollowerPage {
            total: page.total.unwrap_or(page.data.len() as u64),
            next: page.next(),
            followers: page.data.into_iter().map(Into::into).collect(),
        })
    }

    async fn polls(
        &self,
        bearer: &Bearer,
        channel: &ChannelId,
    ) -> Result<Vec<Poll>, PlatformError> {
        let call = Call::new("read polls", Method::GET, "polls")
            .with("broadcaster_id", channel)
            .with("first", POLLS_LISTED);
        let page: Page<PollRow> = self.page(bearer, call).await?;
        Ok(page.data.into_iter().map(Poll::from).collect())
    }

    async fn start_raid(
        &self,
        bearer: &Bearer,
        from: &ChannelId,
        to: &ChannelId,
    ) -> Result<(), PlatformError> {
        let call = Call::new("start a raid", Method::POST, "raids")
            .with("from_broadcaster_id", from)
            .with("to_broadcaster_id", to);
        self.call(bearer, call).await.map(drop)
    }

    async fn cancel_raid(&self, bearer: &Bearer, from: &ChannelId) -> Result<(), PlatformError> {
        let call = Call::new("cancel a raid", Method::DELETE, "raids").with("broadcaster_id", from);
        self.call(bearer, call).await.map(drop)
    }

    async fn videos(
        &self,
        bearer: &Bearer,
        channel: &ChannelId,
    ) -> Result<Vec<Video>, PlatformError> {
        let call = Call::new("read recordings", Method::GET, "videos")
            .with("user_id", channel)
            .with("type", "archive")
            .with("first", PAGE_ITEMS);
        let page: Page<VideoRow> = self.page(bearer, call).await?;
        Ok(page.data.into_iter().map(Video::from).collect())
    }
}

/// Where only a running stream will do, not found means that there is none.
fn only_live(error: PlatformError) -> PlatformError {
    match error {
        PlatformError::NotFound => PlatformError::NotLive,
        error => error,
    }
}

/// Seconds in the steps Helix takes.
fn tenths(seconds: f64) -> String {
    format!("{seconds:.1}")
}

/// A length as Helix writes it: `3h8m33s`.
pub(super) fn length(said: &str) -> TimeDelta {
    let mut seconds = 0_i64;
    let mut number = 0_i64;
    for sign in said.chars() {
        match (sign.to_digit(10), sign) {
            (Some(digit), _) => number = number.saturating_mul(10).saturating_add(i64::from(digit)),
            (None, unit) => {
                let each = match unit {
                    'd' => 86_400,
                    'h' => 3_600,
                    'm' => 60,
                    's' => 1,
                    _ => 0,
                };
                seconds = seconds.saturating_add(number.saturating_mul(each));
                number = 0;
            }
        }
    }
    TimeDelta::try_seconds(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_and_nonsense_is_nothing() {
        assert_eq!(length("3h8m33s"), TimeDelta::seconds(11_313));
        assert_eq!(length("45s"), TimeDelta::seconds(45));
        assert_eq!(length(""), TimeDelta::zero());
        assert_eq!(length("99999999999999999999999999h"), TimeDelta::zero());
    }
}
