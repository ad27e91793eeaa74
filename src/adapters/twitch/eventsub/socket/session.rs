//! One session: from a welcome to its end, over as many sockets as Twitch orders. The loop only reads and hands on, so that
//! pings are answered whatever the house is busy with.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use tokio::net::TcpStream;
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::adapters::twitch::eventsub::envelope::{Envelope, Message};
use crate::adapters::twitch::eventsub::house::House;
use crate::adapters::twitch::eventsub::notice::notice;
use crate::adapters::twitch::eventsub::socket::{Line, Opened};
use crate::domain::audience::notice::Reading;
use crate::ports::audience_source::State;

/// Longest time from dialling to the welcome.
const WELCOME_MAX: Duration = Duration::from_secs(10);
/// The keepalive asked for, in seconds: the shortest there is, so that silence is noticed soonest.
const KEEPALIVE_S: u64 = 10;
/// What was sent this long before the last frame that came may have been behind it on the way, and lost with the socket.
pub(in crate::adapters::twitch::eventsub) const IN_FLIGHT: TimeDelta = TimeDelta::seconds(2);
/// How long a socket that has a successor is read beside it: what Twitch sent before may be on its way.
pub(in crate::adapters::twitch::eventsub) const LINGER: Duration = Duration::from_secs(2);
/// How often a session asks again for what it lacks.
const COMPLETE_EVERY: Duration = Duration::from_secs(30);
/// A frame that seems to be older than this comes from a clock that is wrong.
const LAG_MAX: TimeDelta = TimeDelta::seconds(60);
/// Silence is forgiven up to this share of the keepalive: lines jitter.
const KEEPALIVE_LEEWAY: f64 = 1.2;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::adapters::twitch::eventsub) enum End {
    #[error("cannot connect: {0}")]
    NoConnection(String),
    #[error("no welcome within {} s", WELCOME_MAX.as_secs())]
    NoWelcome,
    #[error("silent for longer than its keepalive")]
    Silent,
    #[error("closed with code {code}: {reason}")]
    Closed { code: u16, reason: String },
    #[error("lost: {0}")]
    Lost(String),
    #[error("nothing is delivered to it: {0}")]
    Nothing(String),
    #[error("Twitch delivers to it no longer")]
    Dropped,
    #[error("the permission was withdrawn")]
    Revoked,
    #[error("it is wanted no longer")]
    Stopped,
}

impl End {
    /// Tells it, as loud as it deserves: some ends are our own fault.
    pub(super) fn log(&self, line: &dyn Line, wait: Duration) {
        let (line, wait) = (line.name(), wait.as_secs_f64());
        match self {
            Self::Closed { code: 4001 | 4002, .. } | Self::Nothing(_) => {
                tracing::error!(line, wait, "listening ended, through a fault of ours: {self}");
            }
            _ => tracing::warn!(line, wait, "listening ended: {self}"),
        }
    }
}

/// How a session ended, and since when nothing is sure to have been heard.
pub(super) struct Ended {
    pub(super) end: End,
    pub(super) deaf_since: Option<DateTime<Utc>>,
}

/// A session in the making.
pub(super) struct Session<'a> {
    house: &'a Arc<House>,
    line: &'a Arc<dyn Line>,
    id: String,
    /// None between the loss of one and the welcome of its successor.
    socket: Option<Socket>,
    /// The one before, and until when it is read still.
    old: Option<(Socket, Instant)>,
    /// When the last frame came: until then everything was heard, once the line is open.
    heard: Option<DateTime<Utc>>,
    keepalive: Duration,
    /// Under way after a fresh welcome, and again when something was lacking.
    opening: Option<AbortOnDropHandle<Option<Opened>>>,
    /// A successor that is being dialled on Twitch's order.
    successor: Option<AbortOnDropHandle<Result<Welcomed, End>>>,
}

/// A socket that was welcomed.
struct Welcomed {
    socket: Socket,
    session_id: String,
    keepalive: Option<Duration>,
}

/// A frame, or what came instead of one.
type Read = Option<Result<Frame, tokio_tungstenite::tungstenite::Error>>;

/// What happens next.
#[expect(clippy::large_enum_variant, reason = "made and taken apart in the same step")]
enum Next {
    Frame(Read),
    /// From the socket before.
    Old(Read),
    Silence,
    Opened(Result<Option<Opened>, JoinError>),
    Complete,
    Dropped(DateTime<Utc>),
    Successor(Result<Result<Welcomed, End>, JoinError>),
    Stopped,
}

impl<'a> Session<'a> {
    pub(super) fn new(house: &'a Arc<House>, line: &'a Arc<dyn Line>) -> Self {
        Self {
            house,
            line,
            id: String::new(),
            socket: None,
            old: None,
            heard: None,
            keepalive: Duration::from_secs(KEEPALIVE_S),
            opening: None,
            successor: None,
        }
    }

    /// Connects, opens the line and listens until the end, or until `stop` between two frames. Nothing was heard since
    /// `deaf_since`.
    pub(super) async fn last(
        mut self,
        deaf_since: Option<DateTime<Utc>>,
        reason: &str,
        stop: &CancellationToken,
    ) -> Ended {
        let end = self.listen(deaf_since, reason, stop).await;
        // Whoever is wanted no longer has no health either.
        if !matches!(end, End::Stopped) {
            self.line.note(&mut |health| health.confirmed = 0);
        }
        // Never open: it is deaf since it was before.
        Ended { end, deaf_since: self.heard.map(|heard| heard - IN_FLIGHT).or(deaf_since) }
    }

    async fn listen(
        &mut self,
        deaf_since: Option<DateTime<Utc>>,
        reason: &str,
        stop: &CancellationToken,
    ) -> End {
        let separator = if self.house.socket_url.contains('?') { '&' } else { '?' };
        let url =
            format!("{}{separator}keepalive_timeout_seconds={KEEPALIVE_S}", self.house.socket_url);
        match stop.run_until_cancelled(dial(&url)).await {
            None => return End::Stopped,
            Some(Err(end)) => return end,
            Some(Ok(welcomed)) => self.welcome(welcomed),
        }
        let (line, session) = (self.line.clone(), self.id.clone());
        let opening = tokio::spawn(async move { Some(line.open(&session).await) });
        self.opening = Some(AbortOnDropHandle::new(opening));
        let mut deadline = self.deadline();
        let mut complete_at = Instant::now() + COMPLETE_EVERY;
        loop {
            match self.next(deadline, complete_at, stop).await {
                Next::Stopped => return End::Stopped,
                Next::Silence => return End::Silent,
                Next::Dropped(since) => {
                    self.heard = self.heard.map(|heard| heard.min(since));
                    return End::Dropped;
                }
                Next::Frame(Some(Ok(Frame::Text(text)))) => {
                    deadline = self.deadline();
                    if let Some(end) = self.hear(text.as_str()).await {
                        return end;
                    }
                }
                // Pings are answered by the library, and say nothing of the subscriptions.
                Next::Frame(Some(Ok(frame))) if !frame.is_close() => {}
                Next::Frame(lost) => {
                    let end = ended(lost);
                    if self.successor.is_none() {
                        return end;
                    }
                    tracing::warn!(
                        line = self.line.name(),
                        "lost before its successor came: {end}"
                    );
                    self.socket = None;
                }
                Next::Old(Some(Ok(Frame::Text(text)))) => {
                    if let Some(end) = self.hear(text.as_str()).await {
                        return end;
                    }
                }
                Next::Old(Some(Ok(frame))) if !frame.is_close() => {}
                Next::Old(_) => self.close_old().await,
                Next::Complete => {
                    complete_at = Instant::now() + COMPLETE_EVERY;
                    if self.opening.is_none() {
                        let (line, session) = (self.line.clone(), self.id.clone());
                        let opening = tokio::spawn(async move { line.complete(&session).await });
                        self.opening = Some(AbortOnDropHandle::new(opening));
                    }
                }
                Next::Opened(Err(error)) => return End::Nothing(error.to_string()),
                Next::Opened(Ok(opened)) => {
                    self.opening = None;
                    let Some(opened) = opened else { continue };
                    if let Some(end) = self.confirm(&opened) {
                        return end;
                    }
                    let now = self.house.clock.now();
                    if self.heard.is_none() {
                        self.heard = Some(now);
                        self.tell_missed(deaf_since, now, reason).await;
                    } else if opened.lacked_since.is_some() {
                        let reason = "subscriptions were missing";
                        self.tell_missed(opened.lacked_since, now, reason).await;
                    }
                }
                Next::Successor(done) => {
                    self.successor = None;
                    match done.unwrap_or_else(|error| Err(End::Lost(error.to_string()))) {
                        Ok(welcomed) => {
                            self.line.moved(&welcomed.session_id);
                            self.succeed(welcomed).await;
                            deadline = self.deadline();
                        }
                        Err(end) => {
                            tracing::warn!(line = self.line.name(), "the successor failed: {end}");
                            if self.socket.is_none() {
                                return end;
                            }
                        }
                    }
                }
            }
        }
    }

    async fn next(
        &mut self,
        deadline: Instant,
        complete_at: Instant,
        stop: &CancellationToken,
    ) -> Next {
        tokio::select! {
            biased;
            () = stop.cancelled() => Next::Stopped,
            frame = read(self.socket.as_mut()) => Next::Frame(frame),
            frame = read_until(self.old.as_mut()) => Next::Old(frame),
            done = joined(&mut self.opening) => Next::Opened(done),
            done = joined(&mut self.successor) => Next::Successor(done),
            since = self.line.dropped() => Next::Dropped(since),
            () = tokio::time::sleep_until(deadline), if self.socket.is_some() => Next::Silence,
            () = tokio::time::sleep_until(complete_at) => Next::Complete,
        }
    }

    async fn tell_missed(&self, since: Option<DateTime<Utc>>, now: DateTime<Utc>, reason: &str) {
        for missed in self.line.missed(since, now, reason).await {
            self.house.tell(missed).await;
        }
    }

    /// Goes on with the socket Twitch ordered. The one before is read for a while still; when it was lost first, what
    /// Twitch would have sent by it may be missing.
    async fn succeed(&mut self, welcomed: Welcomed) {
        self.close_old().await;
        let before = self.socket.take();
        self.welcome(welcomed);
        if let Some(socket) = before {
            self.old = Some((socket, Instant::now() + LINGER));
        } else {
            let since = self.heard.map(|heard| heard - IN_FLIGHT);
            let now = self.house.clock.now();
            self.tell_missed(since, now, "lost before its successor came").await;
        }
    }

    async fn close_old(&mut self) {
        if let Some((mut socket, _)) = self.old.take() {
            let _ = tokio::time::timeout(LINGER, socket.close(None)).await;
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.keepalive.mul_f64(KEEPALIVE_LEEWAY)
    }

    fn welcome(&mut self, welcomed: Welcomed) {
        self.keepalive = welcomed.keepalive.unwrap_or(self.keepalive);
        (self.id, self.socket) = (welcomed.session_id, Some(welcomed.socket));
        let now = self.house.clock.now();
        self.line.note(&mut |health| {
            health.state = State::Listening;
            health.connected_at = Some(now);
            health.last_frame_at = Some(now);
        });
    }

    /// Takes a text frame; says whether it ends the session.
    async fn hear(&mut self, text: &str) -> Option<End> {
        let now = self.house.clock.now();
        let envelope = match Envelope::read(text.as_bytes()) {
            Ok(envelope) => envelope,
            Err(invalid) => {
                tracing::warn!(line = self.line.name(), "not an envelope: {invalid}");
                self.line.note(&mut |health| health.unknown += 1);
                return None;
            }
        };
        if let Some(heard) = &mut self.heard {
            // By the sender's clock: we may read long after it was written, and what waits behind is lost with the socket.
            *heard = envelope.sent_at.unwrap_or(now).clamp(now - LAG_MAX, now).max(*heard);
        }
        self.line.note(&mut |health| health.last_frame_at = Some(now));
        match envelope.message {
            Message::Notification(notification) => {
                let message_id = envelope.message_id.unwrap_or_default();
                let sent_at = envelope.sent_at.unwrap_or(now);
                let notice = notice(&notification, message_id, sent_at, now);
                let is_unknown = matches!(notice.reading, Reading::Unknown { .. });
                self.line.note(&mut |health| {
                    health.last_event_at = Some(now);
                    health.unknown += u64::from(is_unknown);
                });
                self.house.tell(notice).await;
            }
            Message::Reconnect { url } => {
                let dialling = tokio::spawn(async move { dial(&url).await });
                self.successor = Some(AbortOnDropHandle::new(dialling));
            }
            Message::Revocation(subscription) => {
                let (kind, status) = (&subscription.kind, subscription.status.as_deref());
                tracing::warn!(line = self.line.name(), kind, status, "a subscription was revoked");
                if self.line.revoked(&subscription).await {
                    return Some(End::Revoked);
                }
            }
            Message::Unknown { reason } => {
                tracing::warn!(line = self.line.name(), "a frame of a later day: {reason}");
                self.line.note(&mut |health| health.unknown += 1);
            }
            Message::Keepalive | Message::Welcome(_) | Message::Challenge { .. } => {}
        }
        None
    }

    fn confirm(&self, opened: &Opened) -> Option<End> {
        if opened.is_revoked {
            return Some(End::Revoked);
        }
        let first = opened.refused.first().map(|(kind, reason)| format!("{kind}: {reason}"));
        let is_deaf = opened.confirmed == 0;
        self.line.note(&mut |health| opened.tell(health));
        is_deaf.then(|| End::Nothing(first.unwrap_or_default()))
    }
}

/// Connects and waits for the welcome.
async fn dial(url: &str) -> Result<Welcomed, End> {
    let welcomed = async {
        let (mut socket, _) = tokio_tungstenite::connect_async(url)
            .await
            .map_err(|error| End::NoConnection(error.to_string()))?;
        loop {
            match socket.next().await {
                Some(Ok(Frame::Text(text))) => {
                    let envelope = Envelope::read(text.as_bytes());
                    if let Ok(Envelope { message: Message::Welcome(session), .. }) = envelope {
                        let (session_id, keepalive) = (session.id, session.keepalive);
                        return Ok(Welcomed { socket, session_id, keepalive });
                    }
                }
                Some(Ok(Frame::Close(frame))) => return Err(closed(frame)),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(End::Lost(error.to_string())),
                None => return Err(End::Lost("the connection ended".to_owned())),
            }
        }
    };
    tokio::time::timeout(WELCOME_MAX, welcomed).await.unwrap_or(Err(End::NoWelcome))
}

fn closed(frame: Option<CloseFrame>) -> End {
    frame.map_or(End::Lost("closed without a word".to_owned()), |frame| End::Closed {
        code: frame.code.into(),
        reason: frame.reason.to_string(),
    })
}

/// Why a socket brings nothing more.
fn ended(lost: Read) -> End {
    match lost {
        Some(Ok(Frame::Close(frame))) => closed(frame),
        Some(Err(error)) => End::Lost(error.to_string()),
        _ => End::Lost("the connection ended".to_owned()),
    }
}

/// The next frame; never while there is no socket.
async fn read(socket: Option<&mut Socket>) -> Read {
    match socket {
        Some(socket) => socket.next().await,
        None => std::future::pending().await,
    }
}

/// The next frame of a socket that is read for a while still; nothing when that is over.
async fn read_until(old: Option<&mut (Socket, Instant)>) -> Read {
    match old {
        Some((socket, until)) => {
            tokio::time::timeout_at(*until, socket.next()).await.unwrap_or_default()
        }
        None => std::future::pending().await,
    }
}

/// Resolves when a task that runs is over; never while there is none.
async fn joined<T>(task: &mut Option<AbortOnDropHandle<T>>) -> Result<T, JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}
