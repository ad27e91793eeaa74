//! `spark listen`: the listening alone, in a process of its own; and how listening is wired wherever it is done.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::adapters::twitch::eventsub::{Connection, Transport, webhook_secret};
use crate::boot::config::{Config, EventsVia};
use crate::boot::serve::{STOP_MAX, StopSignal, keep_running, lock_folder};
use crate::boot::wire::House;
use crate::ports::listeners::Listeners;
use crate::ports::platform::Deliveries;
use crate::use_cases::audience::Audience;
use crate::use_cases::audience::channels::{ChannelBearers, Channels};

/// Shards of a conduit at most; Twitch takes 20,000, and one process a handful.
const SHARDS_MAX: u32 = 100;
/// Characters of a webhook's secret.
const SECRET_CHARS: std::ops::RangeInclusive<usize> = 10..=100;

/// Listens until Ctrl-C or a TERM signal, beside whoever else does.
pub(crate) async fn listen(config: Config, name: &str) -> Result<()> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    ensure!(
        !name.is_empty() && name.len() <= 40 && name.chars().all(is_word),
        "`{name}` is no name for a listener: take up to 40 letters, digits and hyphens"
    );
    if config.twitch.events == EventsVia::Webhooks {
        bail!(
            "events come by webhook to the pages of `spark serve`: there is nothing to listen to"
        );
    }
    let stop_signal = StopSignal::listen()?;
    let _lock = lock_folder(&config, &format!("listen-{name}"))?;
    let mut house = House::open(&config, Some(name)).await?;
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    spawn(&mut house, &mut tasks, &stop);
    if let Some(cluster) = house.database.cluster() {
        tasks.spawn(keep_running(cluster, stop.clone()));
    }
    println!("SPARK listens as `{name}`");
    stop_signal.arrived().await;
    tracing::info!("stopping");
    stop.cancel();
    let ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_MAX, ended).await.is_err() {
        tracing::warn!("listening did not stop in time");
        tasks.shutdown().await;
    }
    house.close().await
}

/// Starts what listening needs in a house.
pub(crate) fn spawn(house: &mut House, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let audience = house.audience.clone();
    tasks.spawn(crate::workers::live_keeper::run(audience.clone(), stop.clone()));
    if let Some(source) = house.source.take() {
        tasks.spawn(crate::workers::audience_listener::run(
            audience,
            Box::new(source),
            stop.clone(),
        ));
    }
}

/// A process among those that listen to one database: its machine, its data folder and its role.
pub(crate) fn name_of(config: &Config, role: &str) -> String {
    let machine = rustix::system::uname();
    format!("{}:{}:{role}", machine.nodename().to_string_lossy(), config.data.folder.display())
}

/// What listening needs.
pub(crate) fn connection(
    config: &Config,
    name: String,
    channels: &Channels,
    audience: &Audience,
    deliveries: Arc<dyn Deliveries>,
    listeners: Arc<dyn Listeners>,
) -> Connection {
    let settings = config.twitch.settings();
    let bearers = ChannelBearers { channels: channels.clone(), log: audience.log.clone() };
    Connection {
        client_id: settings.client_id.unwrap_or_default(),
        socket_url: settings.eventsub_url,
        deliveries,
        bearers: Arc::new(bearers),
        listeners,
        clock: audience.clock.clone(),
        name,
    }
}

/// The way events take, as the settings say. `key` is the house's own, from which a secret for webhooks is drawn.
pub(crate) fn transport(config: &Config, key: &[u8; 32]) -> Result<Transport> {
    let twitch = &config.twitch;
    let needs_secret = twitch.events != EventsVia::Sockets;
    if needs_secret && twitch.settings().client_id.is_some() {
        ensure!(
            twitch.settings().client_secret.is_some(),
            "conduits and webhooks need the application's own token: set client_secret under [twitch]"
        );
    }
    Ok(match twitch.events {
        EventsVia::Sockets => Transport::Sockets,
        EventsVia::Conduit => {
            let shards = twitch.conduit_shards;
            ensure!(
                (1..=SHARDS_MAX).contains(&shards),
                "conduit_shards under [twitch] must be 1 to {SHARDS_MAX}, not {shards}"
            );
            Transport::Conduit { shards }
        }
        EventsVia::Webhooks => {
            let base = config.web.public_url.as_deref().unwrap_or_default();
            ensure!(
                base.starts_with("https://") || is_loopback(base),
                "Twitch posts its events to https addresses only: set public_url under [web]"
            );
            let secret = twitch.webhook_secret.clone().unwrap_or_else(|| webhook_secret(key));
            let length = secret.expose().len();
            ensure!(
                secret.expose().is_ascii() && SECRET_CHARS.contains(&length),
                "webhook_secret under [twitch] must be 10 to 100 ASCII characters"
            );
            let callback = format!("{}{}", base.trim_end_matches('/'), crate::web::MAILBOX_PATH);
            Transport::Webhooks { callback, secret }
        }
    })
}

/// A rehearsal's own address.
fn is_loopback(base: &str) -> bool {
    ["http://127.0.0.1:", "http://[::1]:", "http://localhost:"]
        .iter()
        .any(|start| base.starts_with(start))
}
