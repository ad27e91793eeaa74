//! What goes on in channels, and what we do in their name.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::Deserialize;

use crate::adapters::twitch::helix::{Call, Page, TwitchHelix};
use crate::domain::audience::channel::ChannelId;
use crate::ports::platform::{
    Bearer, CHANNELS_ASKED_MAX, Platform, PlatformError, PlatformUser, RunningStream,
};

#[derive(Deserialize)]
struct StreamRow {
    id: String,
    user_id: ChannelId,
    #[serde(default)]
    viewer_count: u32,
    #[serde(default)]
    title: String,
    #[serde(default)]
    game_name: String,
    #[serde(default)]
    started_at: Option<DateTime<Utc>>,
    #[serde(rename = "type", default)]
    kind: String,
}

#[derive(Deserialize)]
struct UserRow {
    id: ChannelId,
    login: String,
    #[serde(default)]
    display_name: String,
}

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
                .with("first", CHANNELS_ASKED_MAX);
            let page: Page<StreamRow> = self.page(bearer, call).await?;
            // A stream in error has an empty type.
            running.extend(page.data.into_iter().filter(|row| !row.kind.is_empty()).map(|row| {
                RunningStream {
                    id: row.id,
                    channel: row.user_id,
                    viewers: row.viewer_count,
                    title: row.title,
                    category: row.game_name,
                    started_at: row.started_at,
                }
            }));
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
            users.extend(page.data.into_iter().map(|row| PlatformUser {
                id: row.id,
                name: if row.display_name.is_empty() {
                    row.login.clone()
                } else {
                    row.display_name
                },
                login: row.login,
            }));
        }
        Ok(users)
    }
}
