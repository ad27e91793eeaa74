//! The envelope around every event, on a WebSocket or in a webhook: as open as it can be read, because a frame that is
//! not understood must still be stored, counted and told apart. It borrows the event; the raw text is the caller's.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::fields::Fields;

/// Largest frame or webhook body taken, in bytes. Twitch's own are a hundred times smaller. Depth needs no limit:
/// nothing here recurses into what it reads.
pub const ENVELOPE_BYTES_MAX: usize = 1024 * 1024;

/// A frame or a webhook body.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// Absent in a webhook body, whose headers hold it.
    pub message_id: Option<String>,
    /// As written, such as `notification`, empty if absent; in a webhook body told by its content.
    pub message_type: String,
    /// When Twitch sent it. Absent in a webhook body, whose headers hold it.
    pub sent_at: Option<DateTime<Utc>>,
    pub message: Message<'a>,
}

/// What an envelope holds.
#[derive(Debug)]
pub enum Message<'a> {
    /// The first frame of a socket: subscribe within ten seconds.
    Welcome(Session),
    /// Nothing happened for a while; the socket lives.
    Keepalive,
    Notification(Notification<'a>),
    /// Connect to `url` as it stands, and keep this socket until the welcome there.
    Reconnect {
        url: String,
    },
    /// Twitch ended a subscription; its `status` says why.
    Revocation(Subscription),
    /// Answer with the bare `answer` to prove that the webhook is ours.
    Challenge {
        answer: String,
        proves: Proof,
    },
    /// A message newer than this program, or one that lacks what it is for.
    Unknown {
        reason: String,
    },
}

/// A socket's session.
#[derive(Debug)]
pub struct Session {
    pub id: String,
    /// The longest silence of a socket that lives.
    pub keepalive: Option<Duration>,
}

/// What a challenge is asked for.
#[derive(Debug)]
pub enum Proof {
    Subscription(Subscription),
    ConduitShard { conduit_id: Option<String> },
}

/// An event on its way. See `decode` for what it says.
#[derive(Debug)]
pub struct Notification<'a> {
    pub subscription: Subscription,
    /// The JSON text of `event`, or of the list `events` where Twitch sends several at once.
    pub event: Option<&'a str>,
}

/// The subscription an envelope came by. Every word is kept as written: new ones come.
#[derive(Debug)]
pub struct Subscription {
    pub id: Option<String>,
    pub status: Option<String>,
    /// `type`, such as `channel.follow`.
    pub kind: String,
    pub version: String,
    pub cost: Option<u64>,
    pub condition: BTreeMap<String, String>,
    /// The socket's session it is bound to, if it is bound to one.
    pub session_id: Option<String>,
}

/// What is not an envelope at all, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidEnvelope {
    pub reason: String,
}

impl<'a> Envelope<'a> {
    /// Reads a WebSocket frame or a bare webhook body; which of the two, its content tells.
    pub fn read(json: &'a [u8]) -> Result<Self, InvalidEnvelope> {
        let invalid = |reason: String| InvalidEnvelope { reason };
        if json.len() > ENVELOPE_BYTES_MAX {
            let reason = format!("{} bytes, at most {ENVELOPE_BYTES_MAX} are taken", json.len());
            return Err(invalid(reason));
        }
        let fields =
            Fields::read(json).map_err(|error| invalid(format!("no JSON object: {error}")))?;
        if let Some(metadata) = fields.object("metadata") {
            let payload = fields.object("payload");
            return Ok(frame(&metadata, payload.as_ref()));
        }
        webhook(&fields).ok_or_else(|| {
            invalid("neither `metadata`, `subscription` nor `challenge`: no envelope".into())
        })
    }
}

fn frame<'a>(metadata: &Fields<'a>, payload: Option<&Fields<'a>>) -> Envelope<'a> {
    let message_type = metadata.text("message_type").unwrap_or_default();
    let read = match message_type.as_str() {
        "session_welcome" => session(payload).map(Message::Welcome),
        "session_keepalive" => Ok(Message::Keepalive),
        "session_reconnect" => reconnect_url(payload).map(|url| Message::Reconnect { url }),
        "notification" => subscription(payload, Some(metadata)).map(|subscription| {
            Message::Notification(Notification { subscription, event: payload.and_then(event) })
        }),
        "revocation" => subscription(payload, Some(metadata)).map(Message::Revocation),
        other => Err(format!("message type `{other}` is none we know")),
    };
    Envelope {
        message_id: metadata.text("message_id"),
        message_type,
        sent_at: metadata.time("message_timestamp"),
        message: read.unwrap_or_else(|reason| Message::Unknown { reason }),
    }
}

fn webhook<'a>(body: &Fields<'a>) -> Option<Envelope<'a>> {
    let (message_type, read) = if let Some(answer) = body.text("challenge") {
        let proves = match body.object("conduit_shard") {
            Some(shard) => Ok(Proof::ConduitShard { conduit_id: shard.text("conduit_id") }),
            None => subscription(Some(body), None).map(Proof::Subscription),
        };
        let challenge = proves.map(|proves| Message::Challenge { answer, proves });
        ("webhook_callback_verification", challenge)
    } else {
        body.object("subscription")?;
        let event = event(body);
        match subscription(Some(body), None) {
            Ok(of) if event.is_none() && of.status.as_deref() != Some("enabled") => {
                ("revocation", Ok(Message::Revocation(of)))
            }
            read => {
                let notify =
                    |subscription| Message::Notification(Notification { subscription, event });
                ("notification", read.map(notify))
            }
        }
    };
    Some(Envelope {
        message_id: None,
        message_type: message_type.to_owned(),
        sent_at: None,
        message: read.unwrap_or_else(|reason| Message::Unknown { reason }),
    })
}

fn event<'a>(payload: &Fields<'a>) -> Option<&'a str> {
    payload.json("event").or_else(|| payload.json("events"))
}

fn session(payload: Option<&Fields<'_>>) -> Result<Session, String> {
    let session = payload.and_then(|payload| payload.object("session")).ok_or("no `session`")?;
    let keepalive = session.number("keepalive_timeout_seconds").map(Duration::from_secs);
    Ok(Session { id: session.need("id", Fields::text)?, keepalive })
}

fn reconnect_url(payload: Option<&Fields<'_>>) -> Result<String, String> {
    let session = payload.and_then(|payload| payload.object("session")).ok_or("no `session`")?;
    session.need("reconnect_url", Fields::text)
}

/// The subscription of a payload; what it does not say of type and version, the frame's metadata may.
fn subscription(
    payload: Option<&Fields<'_>>,
    metadata: Option<&Fields<'_>>,
) -> Result<Subscription, String> {
    let told = payload.and_then(|payload| payload.object("subscription"));
    let text = |name| told.as_ref().and_then(|told| told.text(name));
    let object = |name| told.as_ref().and_then(|told| told.object(name));
    let spare = |name| metadata.and_then(|metadata| metadata.text(name));
    Ok(Subscription {
        id: text("id"),
        status: text("status"),
        kind: text("type")
            .or_else(|| spare("subscription_type"))
            .ok_or("the subscription's `type` is missing")?,
        version: text("version").or_else(|| spare("subscription_version")).unwrap_or_default(),
        cost: told.as_ref().and_then(|told| told.number("cost")),
        condition: object("condition").map(|it| it.texts().collect()).unwrap_or_default(),
        session_id: object("transport").and_then(|transport| transport.text("session_id")),
    })
}
