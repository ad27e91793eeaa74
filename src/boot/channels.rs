//! `spark twitch link` and `rotate-keys`: linking a channel from a terminal, rotating the keys of the vault.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sqlx::PgPool;

use crate::adapters::clock::SystemClock;
use crate::boot::config::Config;
use crate::boot::wire::{Database, channels};
use crate::domain::audience::channel::Feature;
use crate::ports::clock::Clock;
use crate::use_cases::audience::channels::{Channels, DeviceState};

/// How often the terminal looks whether the code was typed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Links a channel by a code; `with` are optional features besides the necessary ones.
pub(crate) async fn link(config: &Config, with: &[String]) -> Result<()> {
    let mut wanted = Vec::new();
    for word in with {
        wanted.push(Feature::parse(word).with_context(|| {
            let optional = Feature::ALL.into_iter().filter(|feature| !feature.is_necessary());
            let words: Vec<&str> = optional.map(Feature::as_str).collect();
            format!("`{word}` is no optional permission: choose among {}", words.join(", "))
        })?);
    }
    let (house, channels) = Opened::open(config).await?;
    let linked = await_code(&channels, &wanted).await;
    house.close().await?;
    linked
}

async fn await_code(channels: &Channels, wanted: &[Feature]) -> Result<()> {
    let code = channels.begin_code(wanted).await?;
    println!("Open {} and type {}", code.url, code.user_code);
    println!("(signed in at Twitch as the channel to link; waiting until {})", code.expires_at);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let state = channels.find_code(code.id).map(|link| link.state);
        match state {
            Some(DeviceState::Waiting) => {}
            Some(DeviceState::Linked(id)) => {
                let name = channels.find(&id).await?.map(|channel| channel.name);
                println!("Linked: {} ({id})", name.unwrap_or_default());
                return Ok(());
            }
            Some(DeviceState::Failed(_)) => {
                bail!("the channel could not be linked: the log above says why; ask for a new code")
            }
            Some(DeviceState::Over) | None => {
                bail!("the code expired or was turned down: run `spark twitch link` again")
            }
        }
    }
}

/// Rotates the vault's keys, beside a running server if there is one.
pub(crate) async fn rotate_keys(config: &Config) -> Result<()> {
    let (house, channels) = Opened::open(config).await?;
    let rotated = channels.rotate_keys().await;
    house.close().await?;
    let rotated = rotated?;
    println!(
        "Sealed {} channels' tokens with a new key; removed {} old keys. Copy vault.keys to where its backup is.",
        rotated.resealed, rotated.keys_removed
    );
    Ok(())
}

/// The database alone, without the rest of the house.
struct Opened {
    database: Database,
    pool: PgPool,
}

impl Opened {
    async fn open(config: &Config) -> Result<(Self, Channels)> {
        let (database, pool) = Database::open_current(config).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let opened = Self { database, pool };
        match channels(config, &opened.pool, &clock) {
            Ok(channels) => Ok((opened, channels)),
            Err(error) => {
                opened.close().await?;
                Err(error)
            }
        }
    }

    async fn close(self) -> Result<()> {
        self.pool.close().await;
        self.database.close().await
    }
}
