//! A small EventSub listener and Helix caller of our own, to look at every frame and answer.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use spark::rehearsal::twitch::{Person, PretendTwitch, Settings};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long anything may take before the test says what it waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The first channel, its id, and the second channel's.
pub(crate) const CHANNEL: &str = "villanour";
pub(crate) const NOUR: &str = "700100200";
pub(crate) const MALO: &str = "700100201";

/// A pretend Twitch of two channels whose seconds last 40 ms.
pub(crate) async fn twitch() -> PretendTwitch {
    twitch_with(Duration::from_millis(40)).await
}

pub(crate) async fn twitch_with(second: Duration) -> PretendTwitch {
    let channels = vec![Person::creator(0), Person::creator(1)];
    let settings = Settings { second, channels, ..Settings::default() };
    PretendTwitch::start(settings).await.expect("a pretend Twitch")
}

/// What came over a socket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Frame(Value),
    Closed(u16),
    /// The connection ended without a close frame.
    Gone,
}

pub(crate) struct Listener {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) id: String,
    pub(crate) welcome: Value,
}

impl Listener {
    /// Connects and takes the welcome.
    pub(crate) async fn connect(url: &str) -> Self {
        let mut listener = Self::open(url).await;
        listener.welcome = listener.frame().await;
        assert_eq!(listener.welcome["metadata"]["message_type"], "session_welcome");
        let id = &listener.welcome["payload"]["session"]["id"];
        listener.id = id.as_str().expect("a session id").to_owned();
        listener
    }

    /// Connects without waiting for anything.
    pub(crate) async fn open(url: &str) -> Self {
        let (socket, _) = connect_async(url).await.expect("connect");
        Self { socket, id: String::new(), welcome: Value::Null }
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match next.expect("something comes over the socket in time") {
                Some(Ok(Message::Text(text))) => {
                    return Heard::Frame(serde_json::from_str(&text).expect("a JSON frame"));
                }
                Some(Ok(Message::Close(Some(close)))) => return Heard::Closed(close.code.into()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => panic!("unexpected {other:?}"),
                Some(Err(_)) | None => return Heard::Gone,
            }
        }
    }

    /// The next frame, keepalives too.
    pub(crate) async fn frame(&mut self) -> Value {
        match self.hear().await {
            Heard::Frame(frame) => frame,
            other => panic!("a frame was due, not {other:?}"),
        }
    }

    /// The next frame that is no keepalive.
    pub(crate) async fn event(&mut self) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["metadata"]["message_type"] != "session_keepalive" {
                return frame;
            }
        }
    }

    /// Waits for the end.
    pub(crate) async fn end(&mut self) -> Heard {
        loop {
            match self.hear().await {
                Heard::Frame(_) => {}
                end => return end,
            }
        }
    }

    pub(crate) async fn close(mut self) {
        let _ = self.socket.close(None).await;
    }

    pub(crate) async fn send(&mut self, message: Message) {
        self.socket.send(message).await.expect("send");
    }
}

/// What Helix answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) headers: HeaderMap,
}

/// Somebody who calls Helix.
pub(crate) struct Caller {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Caller {
    pub(crate) fn with(twitch: &PretendTwitch, token: &str) -> Self {
        Self { http: reqwest::Client::new(), base: twitch.helix_url(), token: token.to_owned() }
    }

    /// With a token of this creator and every scope.
    pub(crate) fn user(twitch: &PretendTwitch, user: &str) -> Self {
        Self::with(twitch, &twitch.user_token(user, &[]).expect("a token").access)
    }

    pub(crate) fn app(twitch: &PretendTwitch) -> Self {
        Self::with(twitch, &twitch.app_token())
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let method = method.parse().expect("a method");
        let url = format!("{}{path}", self.base);
        let mut request = self
            .http
            .request(method, url)
            .bearer_auth(&self.token)
            .header("Client-Id", "pretendclient");
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, body, headers }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, Some(body)).await
    }

    /// Subscribes on a socket.
    pub(crate) async fn subscribe(&self, on: &Listener, kind: &str, condition: Value) -> Answer {
        self.subscribe_on(&on.id, kind, condition).await
    }

    pub(crate) async fn subscribe_on(&self, id: &str, kind: &str, condition: Value) -> Answer {
        let version = if ["channel.follow", "channel.update"].contains(&kind) { "2" } else { "1" };
        let transport = json!({"method": "websocket", "session_id": id});
        let wish = json!({"type": kind, "version": version, "condition": condition, "transport": transport});
        self.post("eventsub/subscriptions", wish).await
    }

    /// Subscribes to the chat of the first channel, which must work.
    pub(crate) async fn hear_chat(&self, on: &Listener) -> Value {
        let answer = self.subscribe(on, "channel.chat.message", chat()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.body["data"][0].clone()
    }
}

/// The condition of the first channel's chat, read by its owner.
pub(crate) fn chat() -> Value {
    json!({"broadcaster_user_id": NOUR, "user_id": NOUR})
}

/// The text of a chat notification.
pub(crate) fn text_of(frame: &Value) -> &str {
    frame["payload"]["event"]["message"]["text"].as_str().unwrap_or("(no chat)")
}
