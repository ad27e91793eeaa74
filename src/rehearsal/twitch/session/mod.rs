//! One EventSub WebSocket from its welcome to its close code.

mod line;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures::StreamExt;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use line::Line;

use crate::rehearsal::twitch::asked::Asked;
use crate::rehearsal::twitch::faults::Welcome;
use crate::rehearsal::twitch::notify::frame;
use crate::rehearsal::twitch::stage::{Stage, State, now, rfc3339};
use crate::rehearsal::twitch::subscriptions::Transport;

/// Frames that wait for one socket at most; a reader further behind is cut with 4005.
const QUEUE_MAX: usize = 65_536;
/// The frames an old socket still has to write, before its successor is welcomed.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);
/// How long a client has to answer a goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
/// Bounds of `keepalive_timeout_seconds`; the lower one is also the default.
const KEEPALIVE_S: (u64, u64) = (10, 600);

/// An open session.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) id: Arc<str>,
    pub(super) connected_at: String,
    /// Client and user whose subscriptions it carries.
    pub(super) owner: Option<(String, String)>,
    /// Something was subscribed on it, or a shard attached to it.
    pub(super) is_used: bool,
    /// A successor was welcomed: nothing comes here any more.
    pub(super) is_replaced: bool,
    pub(super) queue: mpsc::Sender<Outgoing>,
    pub(super) too_slow: CancellationToken,
}

/// What a socket is told to do.
pub(super) enum Outgoing {
    Notification {
        frame: Utf8Bytes,
        entry: Option<usize>,
        window: u16,
    },
    Frame(Utf8Bytes),
    /// A reconnect order: the grace begins.
    Order(Utf8Bytes),
    /// Answer once everything before is written.
    HandOver(oneshot::Sender<()>),
    /// End with this code, or vanish without a word.
    Cut(Option<u16>),
}

/// `GET /ws`.
pub(super) async fn upgrade(
    Shared(stage): Shared<Arc<Stage>>,
    asked: Asked,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(move |socket| serve(stage, socket, asked))
}

async fn serve(stage: Arc<Stage>, mut socket: WebSocket, asked: Asked) {
    let keepalive_s = asked.one("keepalive_timeout_seconds").and_then(|text| text.parse().ok());
    let keepalive_s = keepalive_s.unwrap_or(KEEPALIVE_S.0).clamp(KEEPALIVE_S.0, KEEPALIVE_S.1);
    let Ok((predecessor, welcome)) = stage.state().receive(asked.one("challenge")) else {
        close(&mut socket, 4007).await;
        return;
    };
    let wait = match welcome {
        Welcome::LateMs(ms) => Some(Duration::from_millis(ms)),
        Welcome::Never => Some(Duration::MAX),
        Welcome::AtOnce | Welcome::Overtaken => None,
    };
    if let Some(wait) = wait {
        stage.state().counters.one(if wait == Duration::MAX {
            "welcome_never"
        } else {
            "welcome_late"
        });
        if !still_there_after(&stage, &mut socket, wait).await {
            return;
        }
    }
    let Some((session, queue, hand_over)) = open(&stage, predecessor) else {
        stage.state().counters.one("close_4007");
        close(&mut socket, 4007).await;
        return;
    };
    if let Some(written) = hand_over {
        // What the old socket had before is written before this one is welcomed: no event overtakes the change.
        let _ = timeout(HAND_OVER_MAX, written).await;
    }
    let mut line = Line::new(&stage, socket, session, queue, keepalive_s);
    let shown = json!({"session": {
        "id": *line.id, "status": "connected", "connected_at": line.connected_at,
        "keepalive_timeout_seconds": keepalive_s, "reconnect_url": null, "recovery_url": null,
    }});
    let stamp = stage.state().stamp();
    let greeting: Utf8Bytes = frame("session_welcome", &stamp, &shown).into();
    let ending = if welcome == Welcome::Overtaken && line.is_overtaken(&greeting).await {
        line.live().await
    } else {
        match line.write([greeting].into_iter()).await {
            Ok(()) => line.live().await,
            Err(ending) => ending,
        }
    };
    line.end(ending).await;
}

/// Enters a session; takes the subscriptions of its predecessor over. `None` when that one is gone.
fn open(
    stage: &Stage,
    predecessor: Option<Arc<str>>,
) -> Option<(Session, mpsc::Receiver<Outgoing>, Option<oneshot::Receiver<()>>)> {
    let mut state = stage.state();
    let (queue, incoming) = mpsc::channel(QUEUE_MAX);
    let mut session = Session {
        id: format!("AgoQ{}", Uuid::new_v4().simple()).into(),
        connected_at: rfc3339(now()),
        owner: None,
        is_used: false,
        is_replaced: false,
        queue,
        too_slow: CancellationToken::new(),
    };
    let mut hand_over = None;
    if let Some(old_id) = predecessor {
        let old = state.sessions.get_mut(&old_id)?;
        old.is_replaced = true;
        let (written, is_written) = oneshot::channel();
        // A full queue means a reader that is cut anyway.
        if old.queue.try_send(Outgoing::HandOver(written)).is_ok() {
            hand_over = Some(is_written);
        }
        session.owner.clone_from(&old.owner);
        session.is_used = old.is_used;
        for known in state.subscriptions.iter_mut().filter(|known| known.is_on(&old_id)) {
            if let Transport::Websocket { session: held, connected_at, .. } = &mut known.transport {
                *held = Arc::clone(&session.id);
                connected_at.clone_from(&session.connected_at);
            }
            known.rewrite();
        }
        for conduit in &mut state.conduits {
            conduit.follow(&old_id, &session.id);
        }
        state.counters.one("reconnected");
    }
    state.sessions.insert(Arc::clone(&session.id), session.clone());
    Some((session, incoming, hand_over))
}

impl State {
    /// Who a socket follows and how it is welcomed. `Err` when its challenge is of no open reconnect order.
    fn receive(&mut self, challenge: Option<&str>) -> Result<(Option<Arc<str>>, Welcome), ()> {
        let Some(challenge) = challenge else { return Ok((None, self.faults.welcome)) };
        let Some(old) = self.reconnects.remove(challenge) else {
            self.counters.one("close_4007");
            return Err(());
        };
        Ok((Some(old), self.faults.successor_welcome))
    }

    /// Forgets a session; its subscriptions end with `status`, unless a successor carries them.
    fn leave(&mut self, id: &Arc<str>, status: &str) {
        let Some(session) = self.sessions.remove(id) else { return };
        if session.is_replaced {
            return;
        }
        let leaves_orphans = self.faults.leave_orphans;
        for known in self.subscriptions.iter_mut().filter(|known| known.is_on(id)) {
            if !known.is_enabled() {
                continue;
            }
            if leaves_orphans {
                self.counters.one("orphan");
            } else {
                known.disable(status);
            }
        }
        self.disable_shards_on(id, status);
    }

    /// Orders a session to reconnect. False when there is none.
    pub(super) fn order_reconnect(&mut self, id: &str, address: std::net::SocketAddr) -> bool {
        let Some(session) = self.sessions.get(id).filter(|session| !session.is_replaced) else {
            return false;
        };
        let (id, connected_at) = (Arc::clone(&session.id), session.connected_at.clone());
        let challenge = Uuid::new_v4().simple().to_string();
        let payload = json!({"session": {
            "id": *id, "status": "reconnecting", "keepalive_timeout_seconds": null,
            "reconnect_url": format!("ws://{address}/ws?challenge={challenge}&id={id}"),
            "connected_at": connected_at,
        }});
        let stamp = self.stamp();
        let order = frame("session_reconnect", &stamp, &payload);
        self.reconnects.insert(challenge, Arc::clone(&id));
        let sent = self.post(&id, Outgoing::Order(order.into()));
        self.counters.add("reconnect_order", u64::from(sent));
        sent
    }
}

/// Waits before a welcome. False when the client went away or spoke meanwhile.
async fn still_there_after(stage: &Stage, socket: &mut WebSocket, wait: Duration) -> bool {
    tokio::select! {
        () = stage.stop.cancelled() => false,
        _ = socket.next() => false,
        () = tokio::time::sleep(wait) => true,
    }
}

/// Says goodbye with a code; a client that is gone does not hear it.
async fn close(socket: &mut WebSocket, code: u16) {
    let reason = match code {
        4000 => "internal server error",
        4001 => "client sent inbound traffic",
        4002 => "client failed ping-pong",
        4003 => "connection unused",
        4004 => "reconnect grace time expired",
        4005 => "network timeout",
        4006 => "network error",
        4007 => "invalid reconnect",
        _ => "",
    };
    let goodbye = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let farewell = async {
        if socket.send(goodbye).await.is_ok() {
            // The client's own goodbye ends the connection in order.
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let _ = timeout(GOODBYE_MAX, farewell).await;
}
