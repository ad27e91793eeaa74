//! Alerts as posts to a webhook, in the words that Discord reads (and what imitates it).

use std::time::Duration;

use async_trait::async_trait;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use serde_json::json;

use crate::domain::alerts::Turn;
use crate::ports::PortError;
use crate::ports::alerts::{Herald, Notice};
use crate::ports::vault::Secret;

/// How long the other side may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Colours of the stripe beside a post: something is wrong, something is over.
const WRONG: u32 = 0x00E0_4F3F;
const OVER: u32 = 0x003F_A96B;

/// Why a webhook cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error(
        "the webhook is no address: copy it from the channel's settings, it begins with https://"
    )]
    Address,
    #[error("cannot speak to webhooks")]
    Client(#[source] reqwest::Error),
}

/// Posts to a webhook.
pub struct WebhookHerald {
    client: Client,
    address: Url,
}

impl WebhookHerald {
    /// Reads the address; speaks to nobody yet.
    pub fn new(address: &Secret) -> Result<Self, WebhookError> {
        let address = Url::parse(address.expose()).map_err(|_| WebhookError::Address)?;
        if !matches!(address.scheme(), "https" | "http") {
            return Err(WebhookError::Address);
        }
        let client = Client::builder()
            .timeout(ANSWER_MAX)
            .redirect(Policy::none())
            .build()
            .map_err(WebhookError::Client)?;
        Ok(Self { client, address })
    }
}

#[async_trait]
impl Herald for WebhookHerald {
    fn way(&self) -> &'static str {
        "webhook"
    }

    async fn tell(&self, notice: &Notice) -> Result<(), PortError> {
        let color = if notice.turn == Turn::Opening { WRONG } else { OVER };
        let post = json!({
            "username": "SPARK",
            // Nothing in a title may ring for everybody.
            "allowed_mentions": { "parse": [] },
            "embeds": [{
                "title": notice.title,
                "description": notice.text,
                "url": notice.link,
                "timestamp": notice.at.to_rfc3339(),
                "color": color,
            }],
        });
        let answer = self.client.post(self.address.clone()).json(&post).send().await;
        // The address is a secret: it stays out of what is told of a fault.
        let answer = answer
            .map_err(|error| PortError::passing("post to the webhook", error.without_url()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let fault = std::io::Error::other(format!("it answered {status}"));
        let may_pass = status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        Err(if may_pass {
            PortError::passing("post to the webhook", fault)
        } else {
            PortError::lasting("post to the webhook", fault)
        })
    }
}
