//! One session: from a welcome to its end, over as many sockets as Twitch orders. The loop only reads and hands on, so that
//! pings are answered whatever the house is busy with.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use tokio::net::TcpStream;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

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
    /// When the last frame came: until then everything was heard, once the line is open.
    heard: Option<DateTime<Utc>>,
    keepalive: Duration,
    /// Under way after a fresh welcome.
    opening: Option<JoinHandle<Opened>>,
    /// A successor that is being dialled on Twitch's order.
    successor: Option<JoinHandle<Result<Welcomed, End>>>,
}

/// A socket that was welcomed.
struct Welcomed {
    socket: Socket,
    session_id: String,
    keepalive: Option<Duration>,
}

/// What happens next.
#[expect(clippy::large_enum_variant, reason = "made and taken apart in the same step")]
enum Next {
    Frame(Option<Result<Frame, tokio_tungstenite::tungstenite::Error>>),
    Silence,
    Opened(Result<Opened, JoinError>),
    Dropped,
    Successor(Result<Result<Welcomed, End>, JoinError>),
}

impl<'a> Session<'a> {
    pub(super) fn new(house: &'a Arc<House>, line: &'a Arc<dyn Line>) -> Self {
        Self {
            house,
            line,
            heard: None,
            keepalive: Duration::from_secs(KEEPALIVE_S),
            opening: None,
            successor: None,
        }
    }

    /// Connects, opens the line and listens until the end. Nothing was heard since `deaf_since`.
    pub(super) async fn last(mut self, deaf_since: Option<DateTime<Utc>>, reason: &str) -> Ended {
        let end = self.listen(deaf_since, reason).await;
        let opening = self.opening.take().map(|task| task.abort_handle());
        let successor = self.successor.take().map(|task| task.abort_handle());
        for task in opening.into_iter().chain(successor) {
            task.abort();
        }
        self.line.note(&mut |health| health.confirmed = 0);
        // Never open: it is deaf since it was before.
        Ended { end, deaf_since: self.heard.map(|heard| heard - IN_FLIGHT).or(deaf_since) }
    }

    async fn listen(&mut self, deaf_since: Option<DateTime<Utc>>, reason: &str) -> End {
        let separator = if self.house.socket_url.contains('?') { '&' } else { '?' };
        let url =
            format!("{}{separator}keepalive_timeout_seconds={KEEPALIVE_S}", self.house.socket_url);
        let mut socket = match dial(&url).await {
            Ok(welcomed) => {
                let (line, session) = (self.line.clone(), welcomed.session_id.clone());
                self.opening = Some(tokio::spawn(async move { line.open(&session).await }));
                self.welcome(welcomed)
            }
            Err(end) => return end,
        };
        let mut deadline = self.deadline();
        loop {
            match self.next(&mut socket, deadline).await {
                Next::Silence => return End::Silent,
                Next::Frame(Some(Ok(Frame::Text(text)))) => {
                    deadline = self.deadline();
                    if let Some(end) = self.hear(text.as_str()).await {
                        return end;
                    }
                }
                Next::Frame(Some(Ok(Frame::Close(frame)))) => return closed(frame),
                // Pings are answered by the library, and say nothing of the subscriptions.
                Next::Frame(Some(Ok(_))) => {}
                Next::Frame(Some(Err(error))) => return End::Lost(error.to_string()),
                Next::Frame(None) => return End::Lost("the connection ended".to_owned()),
                Next::Dropped => return End::Dropped,
                Next::Opened(done) => {
                    self.opening = None;
                    match done {
                        Ok(opened) => {
                            if let Some(end) = self.confirm(&opened) {
                                return end;
                            }
                            let now = self.house.clock.now();
                            self.heard = Some(now);
                            for missed in self.line.missed(deaf_since, now, reason).await {
                                self.house.tell(missed).await;
                            }
                        }
                        Err(error) => return End::Nothing(error.to_string()),
                    }
                }
                Next::Successor(done) => {
                    self.successor = None;
                    match done.unwrap_or_else(|error| Err(End::Lost(error.to_string()))) {
                        // The old socket delivered until now; what it still holds comes again or was heard.
                        Ok(welcomed) => {
                            self.empty(&mut socket).await;
                            self.line.moved(&welcomed.session_id);
                            socket = self.welcome(welcomed);
                            deadline = self.deadline();
                        }
                        Err(end) => {
                            tracing::warn!(line = self.line.name(), "the successor failed: {end}");
                        }
                    }
                }
            }
        }
    }

    async fn next(&mut self, socket: &mut Socket, deadline: Instant) -> Next {
        tokio::select! {
            biased;
            frame = socket.next() => Next::Frame(frame),
            done = joined(&mut self.opening) => Next::Opened(done),
            done = joined(&mut self.successor) => Next::Successor(done),
            () = self.line.dropped() => Next::Dropped,
            () = tokio::time::sleep_until(deadline) => Next::Silence,
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.keepalive.mul_f64(KEEPALIVE_LEEWAY)
    }

    fn welcome(&mut self, welcomed: Welcomed) -> Socket {
        self.keepalive = welcomed.keepalive.unwrap_or(self.keepalive);
        let now = self.house.clock.now();
        self.line.note(&mut |health| {
            health.state = State::Listening;
            health.connected_at = Some(now);
            health.last_frame_at = Some(now);
        });
        welcomed.socket
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
        if self.heard.is_some() {
            // By the sender's clock: we may read long after it was written, and what waits behind is lost with the socket.
            self.heard = Some(envelope.sent_at.unwrap_or(now).clamp(now - LAG_MAX, now));
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
                self.successor = Some(tokio::spawn(async move { dial(&url).await }));
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

    /// Hands on what the old socket still holds, then closes it.
    async fn empty(&mut self, socket: &mut Socket) {
        while let Some(Some(Ok(frame))) = futures::FutureExt::now_or_never(socket.next()) {
            if let Frame::Text(text) = frame {
                let _ = self.hear(text.as_str()).await;
            }
        }
        let _ = tokio::time::timeout(WELCOME_MAX, socket.close(None)).await;
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

/// Resolves when a task that runs is over; never while there is none.
async fn joined<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}
