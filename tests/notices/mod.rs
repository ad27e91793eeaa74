//! Notices as the platform would have told them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use chrono::{DateTime, Duration, Utc};
use spark::domain::audience::happening::{Chat, Happening, Viewer, What};
use spark::domain::audience::notice::{Notice, Reading};

/// Ours.
pub const CHANNEL: &str = "1001";

/// `n` seconds into the evening.
pub fn at(n: i64) -> DateTime<Utc> {
    let begins: DateTime<Utc> = "2026-11-18T19:00:00Z".parse().expect("an instant");
    begins + Duration::seconds(n)
}

/// A number that is the viewer's own.
pub fn viewer_id(name: &str) -> String {
    name.bytes().fold(7_u64, |id, byte| id * 31 % 1_000_003 + u64::from(byte)).to_string()
}

pub fn viewer(name: &str) -> Viewer {
    Viewer { id: viewer_id(name), name: name.to_owned() }
}

/// Chat message number `n`, said at second `n`.
pub fn chat(n: i64, name: &str, text: &str) -> Notice {
    let message = Chat {
        message_id: format!("said-{n}"),
        viewer: viewer(name),
        text: text.to_owned(),
        trusted: false,
        bits: 0,
        copied_from: None,
    };
    let mut notice = notice(n, "channel.chat.message", What::Chat(message));
    notice.raw = serde_json::json!({
        "message_id": format!("said-{n}"), "chatter_user_id": viewer_id(name),
        "chatter_user_name": name, "message": { "text": text.replace('\0', "") },
    })
    .to_string();
    with_business(notice, format!("chat:said-{n}"))
}

pub fn follow(n: i64, name: &str) -> Notice {
    let mut notice = notice(n, "channel.follow", What::Followed { viewer: viewer(name) });
    notice.raw = format!("{{\"user_id\":\"{}\",\"user_name\":\"{name}\"}}", viewer_id(name));
    with_business(notice, format!("follow:{name}:{n}"))
}

pub fn online(n: i64) -> Notice {
    let what = What::StreamOnline { stream_id: format!("stream-{n}") };
    with_business(notice(n, "stream.online", what), format!("online:{n}"))
}

pub fn offline(n: i64) -> Notice {
    notice(n, "stream.offline", What::StreamOffline { stream_id: None })
}

pub fn deleted(n: i64, said: i64) -> Notice {
    let message_id = format!("said-{said}");
    let what = What::MessageDeleted { message_id, viewer_id: None };
    notice(n, "channel.chat.message_delete", what)
}

pub fn silenced(n: i64, name: &str) -> Notice {
    let what = What::ViewerSilenced { viewer_id: viewer_id(name) };
    notice(n, "channel.chat.clear_user_messages", what)
}

/// Something at second `n`.
pub fn notice(n: i64, kind: &str, what: What) -> Notice {
    let message_id = format!("{kind}-{n}");
    let happening = Happening {
        message_id: message_id.clone(),
        at: at(n),
        channel: CHANNEL.to_owned(),
        business_id: None,
        what,
    };
    Notice {
        message_id,
        heard_at: at(n) + Duration::milliseconds(80),
        channel: CHANNEL.to_owned(),
        kind: kind.to_owned(),
        version: "1".to_owned(),
        raw: "{}".to_owned(),
        reading: Reading::Understood(Box::new(happening)),
    }
}

fn with_business(mut notice: Notice, id: String) -> Notice {
    if let Reading::Understood(happening) = &mut notice.reading {
        happening.business_id = Some(id);
    }
    notice
}

/// The same, told again under another message id.
pub fn told_again(notice: &Notice, message_id: &str) -> Notice {
    Notice { message_id: message_id.to_owned(), ..notice.clone() }
}
