//! The live part of a rehearsal: a pretend Twitch of its own, its channel linked as everybody's is, an evening on air.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::boot::config::Config;
use crate::boot::serve::Server;
use crate::domain::audience::channel::{ChannelId, Feature};
use crate::ports::audience_source::State as Listens;
use crate::ports::vault::Secret;
use crate::rehearsal::twitch::{Person, PretendTwitch, Programme, Settings};
use crate::use_cases::audience::channels::DeviceState;

/// The seed of the evening: the same one every time.
const SEED: u64 = 20_261_108;
/// Length of the evening that is played, in seconds.
const EVENING_S: u32 = 1_200;
/// How many times as fast as it was: ten minutes to look at.
const SPEED: f64 = 2.0;
/// The same when nobody looks.
const SPEED_ONCE: f64 = 8.0;
/// Messages that prove that the evening is heard.
const HEARD_MIN: u64 = 50;
/// How long each step may take.
const STEP_MAX: Duration = Duration::from_mins(1);
/// How often a step is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A pretend Twitch that belongs to a rehearsal.
pub(crate) struct PretendLive {
    twitch: PretendTwitch,
    who: Person,
}

impl PretendLive {
    /// Starts the pretend Twitch, and lets the house speak to it instead of the real one.
    pub(crate) async fn prepare(config: &mut Config) -> Result<Self> {
        let settings = Settings::default();
        let who = settings.channels.first().cloned().context("a rehearsal has a channel")?;
        let (id, secret) = (settings.client_id.clone(), settings.client_secret.clone());
        let twitch = PretendTwitch::start(settings).await?;
        config.twitch.client_id = Some(id);
        config.twitch.client_secret = Some(Secret::new(secret));
        config.twitch.id_url = twitch.oauth_url();
        config.twitch.helix_url = twitch.helix_url();
        config.twitch.eventsub_url = twitch.websocket_url();
        Ok(Self { twitch, who })
    }

    /// Links the channel by a code, waits until Twitch is heard, and goes on air. With `once` it also waits until the
    /// chat has arrived; says how many messages did so far.
    pub(crate) async fn go_live(&self, server: &Server, once: bool) -> Result<(ChannelId, u64)> {
        let house = &server.house;
        let code = house.channels.begin_code(&Feature::ALL).await?;
        self.twitch.allow_device(&code.user_code)?;
        let channel = within("the channel is not linked", || async {
            match house.channels.find_code(code.id).map(|link| link.state) {
                Some(DeviceState::Linked(channel)) => Ok(Some(channel)),
                Some(DeviceState::Waiting) => Ok(None),
                other => bail!("the channel could not be linked: {other:?}"),
            }
        })
        .await?;
        within("Twitch is not heard", || async {
            let health = house.boards.health(&channel);
            let is_heard = |state, confirmed| state == Listens::Listening && confirmed > 0;
            Ok(health.filter(|it| is_heard(it.state, it.confirmed) && it.confirmed == it.wanted))
        })
        .await?;
        let evening = Programme::of_evening(&self.who.login, SEED, EVENING_S);
        self.twitch.play(&self.who.login, evening, if once { SPEED_ONCE } else { SPEED })?;
        let wanted = if once { HEARD_MIN } else { 1 };
        let messages = within("the chat does not arrive", || async {
            let messages = house.boards.look(&channel, |board| board.messages);
            Ok((messages >= wanted).then_some(messages))
        })
        .await?;
        Ok((channel, messages))
    }

    /// Ends it.
    pub(crate) async fn stop(self) {
        self.twitch.stop().await;
    }
}

/// Asks until there is an answer.
pub(super) async fn within<T, F: Future<Output = Result<Option<T>>>>(
    trouble: &str,
    ask: impl Fn() -> F,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if begun.elapsed() > STEP_MAX {
            bail!("{trouble} after {} s", STEP_MAX.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
