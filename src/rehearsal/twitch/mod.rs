//! A pretend Twitch on loopback: EventSub by WebSocket, webhook and conduit, OAuth, and the Helix calls of the house,
//! all on one port. It keeps production's rules where the official mock does not, errs on purpose when asked to, and
//! keeps a ledger of all it sent.
//!
//! ```text
//!   player · control · tests ──► act ──► happenings ──► notify ──► session   (sockets)
//!                                                          │  └──► webhooks  (callbacks)
//!   subscriptions · conduits · oauth · helix ──► stage ◄───┘──────► ledger, counters
//! ```

mod act;
mod asked;
mod catalog;
mod conduits;
mod control;
mod faults;
mod happenings;
mod helix;
mod ledger;
mod notify;
mod oauth;
mod people;
mod player;
mod polls;
mod refusal;
mod session;
mod stage;
mod subscriptions;
mod tokens;
mod webhooks;

pub use act::{Act, ActError, Oddity};
pub use faults::{Faults, ForcedAnswer, Rotation, Welcome};
pub use ledger::{LEDGER_MAX, LedgerEntry};
pub use people::Person;
pub use player::{Programme, ProgrammeError};
pub use tokens::TokenPair;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use stage::Stage;

/// What to pretend.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A loopback address; port 0 takes a free one. With an IPv4 one `::1` is served too, where it is to be had.
    pub listen: SocketAddr,
    pub client_id: String,
    pub client_secret: String,
    pub channels: Vec<Person>,
    /// How long one second of Twitch's own rules lasts (the 10 s for a first subscription, the 30 s of a reconnect
    /// order, keepalives, retries): shorter in tests. What clients are told stays in ordinary seconds.
    pub second: Duration,
    /// Of everything that is left to chance.
    pub seed: u64,
    /// A film that stands for every clip in downloads.
    pub clip_film: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            client_id: "pretendclient".into(),
            client_secret: "pretendsecret".into(),
            channels: vec![Person::creator(0)],
            second: Duration::from_secs(1),
            seed: 2026,
            clip_film: None,
        }
    }
}

/// Why a pretend Twitch cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "`{0}` is not an address of this machine: a pretend Twitch listens on loopback only, such as 127.0.0.1:8090"
    )]
    NotLoopback(SocketAddr),
    #[error("cannot listen on `{address}`: choose another port")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot prepare the webhook sender")]
    Http(#[source] reqwest::Error),
}

/// A running pretend Twitch. Dropping it ends it: sockets vanish, ports are free again.
pub struct PretendTwitch {
    stage: Arc<Stage>,
    servers: Vec<JoinHandle<()>>,
}

impl PretendTwitch {
    /// Starts one on the present tokio runtime.
    ///
    /// # Errors
    /// When the address is not on loopback or taken.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let wanted = settings.listen;
        if !wanted.ip().is_loopback() {
            return Err(StartError::NotLoopback(wanted));
        }
        let taken = |source| StartError::Listen { address: wanted, source };
        let first = TcpListener::bind(wanted).await.map_err(taken)?;
        let address = first.local_addr().map_err(taken)?;
        let mut listeners = vec![first];
        if wanted.is_ipv4() {
            // Some clients ask for `localhost` and get this one first; a machine may be without it.
            let also = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), address.port());
            listeners.extend(TcpListener::bind(also).await.ok());
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(StartError::Http)?;
        let (outbox, deliveries) = mpsc::channel(webhooks::OUTBOX_MAX);
        let stage = Arc::new(Stage::new(settings, address, outbox));
        let router = routes(&stage);
        let mut servers =
            vec![tokio::spawn(webhooks::dispatch(Arc::clone(&stage), http, deliveries))];
        for listener in listeners {
            let (router, stop) = (router.clone(), stage.stop.clone());
            servers.push(tokio::spawn(async move {
                // Served until the stop; axum itself goes on after errors of single connections.
                let _ = stop.run_until_cancelled(axum::serve(listener, router).into_future()).await;
            }));
        }
        Ok(Self { stage, servers })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.stage.address
    }

    /// `http://…/helix/`
    pub fn helix_url(&self) -> String {
        format!("http://{}/helix/", self.address())
    }

    /// `http://…/oauth2/`
    pub fn oauth_url(&self) -> String {
        format!("http://{}/oauth2/", self.address())
    }

    /// `ws://…/ws`
    pub fn websocket_url(&self) -> String {
        format!("ws://{}/ws", self.address())
    }

    /// A pair for a creator, as if they had just said yes; every scope of the rehearsal when `scopes` is empty.
    ///
    /// # Errors
    /// When nobody of that name has a channel.
    pub fn user_token(&self, user: &str, scopes: &[&str]) -> Result<TokenPair, ActError> {
        let scopes = if scopes.is_empty() {
            catalog::every_scope().into_iter().collect()
        } else {
            scopes.iter().map(|scope| (*scope).to_owned()).collect()
        };
        let mut state = self.stage.state();
        let channel = state.channel(user).ok_or_else(|| ActError::NoChannel(user.to_owned()))?;
        let id = channel.who.id.clone();
        Ok(state.grant(&self.stage.settings.client_id, &id, &scopes, false))
    }

    /// An app token.
    pub fn app_token(&self) -> String {
        self.stage.state().tokens.issue_app(&self.stage.settings.client_id).access
    }

    /// Makes something happen. Returns the ids of what came of it: message, poll, redemption or session ids.
    ///
    /// # Errors
    /// When the channel, socket or message is not there.
    pub fn act(&self, act: Act) -> Result<Vec<String>, ActError> {
        self.stage.act(act)
    }

    /// Makes something happen later. What is not possible then, is counted as `act_failed`.
    pub fn act_after(&self, wait: Duration, act: Act) {
        self.stage.act_after(wait, act);
    }

    /// Somebody writes. Returns the message's id.
    ///
    /// # Errors
    /// When there is no such channel.
    pub fn say(&self, channel: &str, viewer: &str, text: &str) -> Result<String, ActError> {
        let (channel, viewer) = (channel.to_owned(), viewer.to_owned());
        let ids = self.act(Act::Say { channel, viewer, text: text.to_owned(), bits: 0 })?;
        Ok(ids.into_iter().next().unwrap_or_default())
    }

    /// Sends any event of any type. Returns how many subscriptions were told.
    pub fn emit(
        &self,
        kind: &str,
        version: &str,
        channel: &str,
        event: &serde_json::Value,
    ) -> usize {
        let mut state = self.stage.state();
        let channel = state.person(channel).id;
        state.emit(kind, version, &channel, event)
    }

    /// Changes the lasting faults.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.stage.state().faults);
    }

    /// How often a fault really happened, by its counter's name (see [`Faults`] and [`Act`]).
    pub fn counter(&self, name: &str) -> u64 {
        self.counters().get(name).copied().unwrap_or(0)
    }

    /// All counters.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.stage.state().counters.all()
    }

    /// The ledger so far.
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.stage.state().ledger.entries().to_vec()
    }

    /// The first channel's person types the code a device shows, and says yes.
    ///
    /// # Errors
    /// When no device waits with this code.
    pub fn allow_device(&self, user_code: &str) -> Result<(), ActError> {
        let mut state = self.stage.state();
        let user = state.channels.first().map(|channel| channel.who.id.clone());
        let waiting =
            state.tokens.devices.values_mut().find(|device| device.user_code == user_code);
        let nobody = || ActError::NotThere(format!("device that waits with `{user_code}`"));
        waiting.ok_or_else(nobody)?.user = user;
        Ok(())
    }

    /// Plays a programme on a channel in the background, `speed` times as fast as it was. The task tells how many cues
    /// could not be played.
    ///
    /// # Errors
    /// When there is no such channel or the speed is out of range.
    pub fn play(
        &self,
        channel: &str,
        programme: Programme,
        speed: f64,
    ) -> Result<JoinHandle<usize>, PlayError> {
        Programme::check_speed(speed)?;
        let who = self.stage.state().channel(channel).map(|channel| channel.who.clone());
        let who = who.ok_or_else(|| ActError::NoChannel(channel.to_owned()))?;
        Ok(tokio::spawn(programme.play(Arc::clone(&self.stage), who, speed)))
    }

    /// Ends it and waits until its ports are free.
    pub async fn stop(mut self) {
        self.stage.stop.cancel();
        for server in self.servers.drain(..) {
            let _ = server.await;
        }
    }
}

/// Why a programme cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    #[error(transparent)]
    Programme(#[from] ProgrammeError),
    #[error(transparent)]
    Act(#[from] ActError),
}

impl Drop for PretendTwitch {
    fn drop(&mut self) {
        self.stage.stop.cancel();
    }
}

fn routes(stage: &Arc<Stage>) -> Router {
    let helix = helix::routes(stage);
    Router::new()
        .route("/ws", get(session::upgrade))
        .route("/files/{name}", get(helix::film))
        .nest("/oauth2", oauth::routes())
        .nest("/helix", helix.clone())
        // Where the twurple packages look in their mock mode.
        .nest("/auth", oauth::routes())
        .nest("/mock", helix)
        .merge(helix::eventsub_routes(stage))
        .nest("/control", control::routes())
        .with_state(Arc::clone(stage))
}
