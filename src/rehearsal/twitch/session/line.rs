//! A socket at work: writes what is queued, keeps time, and ends with the right code.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use futures::{SinkExt, StreamExt};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::rehearsal::chance::Dice;
use crate::rehearsal::twitch::notify::frame;
use crate::rehearsal::twitch::stage::Stage;

use super::{HAND_OVER_MAX, Outgoing, Session, close};

/// Frames written before the socket is looked at again.
const WRITE_BATCH_MAX: usize = 256;
/// A write that takes longer is a network timeout.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// Notifications held back for shuffling leave after this time at the latest.
const HOLD_MAX: Duration = Duration::from_millis(200);
/// In Twitch's seconds: the first subscription, the grace of a reconnect order, a Ping, its Pong.
const UNUSED_S: u64 = 10;
const GRACE_S: u64 = 30;
const PING_EVERY_S: u64 = 30;
const PONG_WITHIN_S: u64 = 10;

/// Why a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The server says so, with this code.
    Code(u16),
    /// The server drops the connection without a word.
    Vanish,
    /// The client closed it or went away.
    Gone,
}

impl Ending {
    /// The status that the socket's subscriptions get.
    fn status(self) -> &'static str {
        match self {
            Self::Code(4000) => "websocket_internal_error",
            Self::Code(4001) => "websocket_received_inbound_traffic",
            Self::Code(4002) => "websocket_failed_ping_pong",
            Self::Code(4003) => "websocket_connection_unused",
            Self::Code(4004 | 4007) => "websocket_failed_to_reconnect",
            Self::Code(4005) => "websocket_network_timeout",
            Self::Code(4006) => "websocket_network_error",
            Self::Code(_) | Self::Vanish | Self::Gone => "websocket_disconnected",
        }
    }
}

/// A socket at work.
pub(super) struct Line<'a> {
    stage: &'a Arc<Stage>,
    socket: WebSocket,
    pub(super) id: Arc<str>,
    pub(super) connected_at: String,
    too_slow: CancellationToken,
    queue: mpsc::Receiver<Outgoing>,
    keepalive: Duration,
    dice: Dice,
    /// Held back for shuffling: number, frame, place in the ledger.
    held: Vec<(u64, Utf8Bytes, Option<usize>)>,
    held_since: Instant,
    taken_in: u64,
    /// The highest number written: what comes after with a lower one was reordered.
    highest: u64,
    keepalive_at: Instant,
    unused_at: Option<Instant>,
    grace_at: Option<Instant>,
    /// After an order to reconnect: how long it keeps what it has when its successor is welcomed.
    lingers: Duration,
    /// It vanished with its order: what it carried waits for its successor.
    is_lost: bool,
    ping_at: Instant,
    pong_at: Option<Instant>,
}

impl<'a> Line<'a> {
    pub(super) fn new(
        stage: &'a Arc<Stage>,
        socket: WebSocket,
        session: Session,
        queue: mpsc::Receiver<Outgoing>,
        keepalive_s: u64,
    ) -> Self {
        let begun = Instant::now();
        let keepalive = stage.seconds(keepalive_s);
        Self {
            stage,
            socket,
            id: session.id,
            connected_at: session.connected_at,
            too_slow: session.too_slow,
            queue,
            keepalive,
            dice: Dice::new(stage.settings.seed ^ 0x736f_636b),
            held: Vec::new(),
            held_since: begun,
            taken_in: 0,
            highest: 0,
            keepalive_at: begun + keepalive,
            unused_at: (!session.is_used).then(|| begun + stage.seconds(UNUSED_S)),
            grace_at: None,
            lingers: Duration::ZERO,
            is_lost: false,
            ping_at: begun + stage.seconds(PING_EVERY_S),
            pong_at: None,
        }
    }

    pub(super) async fn live(&mut self) -> Ending {
        let mut batch = Vec::with_capacity(WRITE_BATCH_MAX);
        loop {
            let wake_at = self.next_deadline();
            let went = tokio::select! {
                biased;
                () = self.stage.stop.cancelled() => Err(Ending::Vanish),
                () = self.too_slow.cancelled() => Err(Ending::Code(4005)),
                heard = self.socket.next() => self.hear(heard.as_ref()),
                () = sleep_until(wake_at) => self.wake().await,
                _ = self.queue.recv_many(&mut batch, WRITE_BATCH_MAX) => self.carry_out(&mut batch).await,
            };
            if let Err(ending) = went {
                return ending;
            }
        }
    }

    fn next_deadline(&self) -> Instant {
        let held =
            (!self.held.is_empty() && self.lingers.is_zero()).then(|| self.held_since + HOLD_MAX);
        let optional = [self.unused_at, self.grace_at, self.pong_at, held];
        let regular = self.keepalive_at.min(self.ping_at);
        optional.into_iter().flatten().fold(regular, Instant::min)
    }

    /// A client says nothing but Pong and goodbye.
    fn hear(&mut self, heard: Option<&Result<Message, axum::Error>>) -> Result<(), Ending> {
        match heard {
            Some(Ok(Message::Pong(_))) => {
                self.pong_at = None;
                Ok(())
            }
            Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Ping(_))) => {
                Err(Ending::Code(4001))
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => Err(Ending::Gone),
        }
    }

    async fn wake(&mut self) -> Result<(), Ending> {
        let time = Instant::now();
        let over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= time);
        if over(self.grace_at) {
            return Err(Ending::Code(4004));
        }
        if over(self.pong_at) {
            return Err(Ending::Code(4002));
        }
        if over(self.unused_at) {
            self.unused_at = None;
            let state = self.stage.state();
            if state.sessions.get(&self.id).is_some_and(|session| !session.is_used) {
                return Err(Ending::Code(4003));
            }
        }
        if !self.held.is_empty() && self.lingers.is_zero() && self.held_since + HOLD_MAX <= time {
            self.release(0).await?;
        }
        if self.ping_at <= time {
            self.ping_at = time + self.stage.seconds(PING_EVERY_S);
            self.pong_at = Some(time + self.stage.seconds(PONG_WITHIN_S));
            let ping = self.socket.send(Message::Ping(bytes::Bytes::from_static(b"spark")));
            written(&timeout(WRITE_MAX, ping).await)?;
        }
        if self.keepalive_at <= time {
            self.keep_alive().await?;
        }
        Ok(())
    }

    async fn keep_alive(&mut self) -> Result<(), Ending> {
        let stamp = {
            let mut state = self.stage.state();
            let (is_silent, jitter_ms) =
                (state.faults.keepalive_silent, state.faults.keepalive_jitter_ms);
            self.keepalive_at = Instant::now() + self.keepalive;
            // A replaced socket has nothing to say.
            let is_replaced =
                state.sessions.get(&self.id).is_none_or(|session| session.is_replaced);
            if is_silent || is_replaced {
                state.counters.add("keepalive_silenced", u64::from(is_silent));
                return Ok(());
            }
            if jitter_ms > 0 {
                self.keepalive_at += Duration::from_millis(self.dice.bits() % jitter_ms);
                state.counters.one("keepalive_late");
            }
            state.stamp()
        };
        let keepalive: Utf8Bytes = frame("session_keepalive", &stamp, &json!({})).into();
        self.write([keepalive].into_iter()).await
    }

    async fn carry_out(&mut self, batch: &mut Vec<Outgoing>) -> Result<(), Ending> {
        if batch.is_empty() {
            return Err(Ending::Vanish);
        }
        let mut window = 0;
        for outgoing in batch.drain(..) {
            match outgoing {
                Outgoing::Notification { frame, entry, window: wanted } => {
                    if self.held.is_empty() {
                        self.held_since = Instant::now();
                    }
                    self.taken_in += 1;
                    self.held.push((self.taken_in, frame, entry));
                    window = usize::from(wanted);
                }
                Outgoing::Frame(frame) => {
                    self.release(0).await?;
                    self.write([frame].into_iter()).await?;
                }
                Outgoing::Order(frame) => {
                    self.release(0).await?;
                    self.write([frame].into_iter()).await?;
                    let mut state = self.stage.state();
                    if state.faults.lost_before_successor {
                        state.counters.one("lost_before_successor");
                        self.is_lost = true;
                        return Err(Ending::Vanish);
                    }
                    self.lingers = Duration::from_millis(state.faults.hand_over_late_ms);
                    drop(state);
                    self.grace_at = Some(Instant::now() + self.stage.seconds(GRACE_S));
                }
                Outgoing::HandOver(written) => {
                    if self.lingers.is_zero() {
                        self.release(0).await?;
                    }
                    // The successor may have gone again; then nobody listens.
                    let _ = written.send(());
                    if !self.lingers.is_zero() {
                        let overtaken = self.held.len() as u64;
                        self.stage.state().counters.add("overtaken", overtaken);
                        tokio::time::sleep(self.lingers).await;
                        self.lingers = Duration::ZERO;
                        self.release(0).await?;
                    }
                }
                Outgoing::Cut(code) => return Err(code.map_or(Ending::Vanish, Ending::Code)),
            }
        }
        if !self.lingers.is_zero() {
            return Ok(());
        }
        self.release(window.saturating_sub(1)).await
    }

    /// Writes what is held, but for `keep` notifications; shuffled if there is a window.
    async fn release(&mut self, keep: usize) -> Result<(), Ending> {
        if self.held.len() <= keep {
            return Ok(());
        }
        let mut leaving = Vec::with_capacity(self.held.len());
        if keep == 0 {
            leaving.append(&mut self.held);
        }
        while self.held.len() > keep {
            let place = self.dice.below(self.held.len());
            leaving.push(self.held.swap_remove(place));
        }
        self.held_since = Instant::now();
        self.write(leaving.iter().map(|(_, frame, _)| frame.clone())).await?;
        let mut state = self.stage.state();
        for (number, _, entry) in &leaving {
            state.counters.add("reordered", u64::from(*number < self.highest));
            self.highest = self.highest.max(*number);
            if let Some(entry) = entry {
                state.ledger.taken(*entry, &self.id);
            }
        }
        drop(state);
        self.keepalive_at = Instant::now() + self.keepalive;
        Ok(())
    }

    pub(super) async fn write(
        &mut self,
        frames: impl Iterator<Item = Utf8Bytes>,
    ) -> Result<(), Ending> {
        let socket = &mut self.socket;
        let all = async {
            for frame in frames {
                socket.feed(Message::Text(frame)).await?;
            }
            socket.flush().await
        };
        written(&timeout(WRITE_MAX, all).await)
    }

    /// Sends the first notification before the welcome. False when none comes in time.
    pub(super) async fn is_overtaken(&mut self, greeting: &Utf8Bytes) -> bool {
        let Ok(Some(first)) = timeout(HAND_OVER_MAX, self.queue.recv()).await else { return false };
        if self.carry_out(&mut vec![first]).await.is_err()
            || self.release(0).await.is_err()
            || self.write([greeting.clone()].into_iter()).await.is_err()
        {
            return false;
        }
        self.stage.state().counters.one("welcome_overtaken");
        true
    }

    pub(super) async fn end(mut self, ending: Ending) {
        {
            let mut state = self.stage.state();
            match ending {
                Ending::Code(code) => state.counters.one(&format!("close_{code}")),
                Ending::Vanish => state.counters.one("vanished"),
                Ending::Gone => state.counters.one("client_gone"),
            }
            if !self.is_lost {
                state.leave(&self.id, ending.status());
            }
        }
        if let Ending::Code(code) = ending {
            close(&mut self.socket, code).await;
        }
    }
}

fn written(
    outcome: &Result<Result<(), axum::Error>, tokio::time::error::Elapsed>,
) -> Result<(), Ending> {
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Ending::Gone),
        Err(_) => Err(Ending::Code(4005)),
    }
}
