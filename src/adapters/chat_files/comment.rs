//! One comment of a JSON export, in any of the shapes Twitch and TwitchDownloader have written.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::{ChatFormat, ChatLine};

/// Badges that make their wearer's `!clip` count at once.
const TRUSTED_BADGES: [&str; 3] = ["broadcaster", "moderator", "lead_moderator"];

/// TwitchDownloader and API v5 write snake case with `_id`; GraphQL writes camel case with `id`,
/// inside an edge's `node`. Two names of one thing are two fields: a file may hold both.
#[derive(Deserialize)]
pub(super) struct Comment {
    node: Option<Box<Comment>>,
    #[serde(rename = "_id")]
    own_id: Option<Id>,
    id: Option<Id>,
    content_offset_seconds: Option<f64>,
    #[serde(rename = "contentOffsetSeconds")]
    offset_camel: Option<f64>,
    commenter: Option<Commenter>,
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Commenter {
    #[serde(rename = "_id")]
    own_id: Option<Id>,
    id: Option<Id>,
    name: Option<String>,
    login: Option<String>,
    display_name: Option<String>,
    #[serde(rename = "displayName")]
    display_camel: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    body: Option<String>,
    fragments: Option<Vec<Option<Fragment>>>,
    bits_spent: Option<f64>,
    user_badges: Option<Vec<Option<Badge>>>,
    #[serde(rename = "userBadges")]
    badges_camel: Option<Vec<Option<Badge>>>,
}

#[derive(Deserialize)]
struct Fragment {
    text: Option<String>,
}

#[derive(Deserialize)]
struct Badge {
    #[serde(rename = "_id")]
    own_id: Option<String>,
    #[serde(rename = "setID")]
    set_id: Option<String>,
}

/// What a comment turned out to be.
pub(super) enum Read {
    Line { line: ChatLine, seconds: f64, format: ChatFormat },
    Nothing { why: &'static str },
}

impl Comment {
    pub(super) fn into_line(self) -> Read {
        let Some(node) = self.node else { return self.unwrapped(ChatFormat::TwitchComments) };
        node.unwrapped(ChatFormat::TwitchGraphql)
    }

    fn unwrapped(self, format: ChatFormat) -> Read {
        let format = if self.offset_camel.is_some() { ChatFormat::TwitchGraphql } else { format };
        let Some(seconds) = self.content_offset_seconds.or(self.offset_camel) else {
            return Read::Nothing { why: "sans content_offset_seconds" };
        };
        let Some(message) = self.message else {
            return Read::Nothing { why: "sans message" };
        };
        // A deleted account leaves a message without commenter.
        let (user_id, login, display_name) = match self.commenter {
            Some(who) => (
                who.own_id.or(who.id).map(|id| id.0),
                who.name.or(who.login),
                who.display_name.or(who.display_camel),
            ),
            None => (None, None, None),
        };
        let badges: Vec<String> = message
            .user_badges
            .or(message.badges_camel)
            .unwrap_or_default()
            .into_iter()
            .flatten()
            .filter_map(|badge| badge.own_id.or(badge.set_id))
            .collect();
        let text = match message.body {
            Some(body) => body,
            None => message
                .fragments
                .unwrap_or_default()
                .into_iter()
                .flatten()
                .filter_map(|fragment| fragment.text)
                .collect(),
        };
        let line = ChatLine {
            offset_ms: 0,
            message_id: self.own_id.or(self.id).map(|id| id.0).filter(|id| !id.is_empty()),
            user_id,
            login,
            display_name,
            text,
            trusted: badges.iter().any(|badge| TRUSTED_BADGES.contains(&badge.as_str())),
            bits: message.bits_spent.unwrap_or(0.0).clamp(0.0, f64::from(u32::MAX)) as u32,
        };
        Read::Line { line, seconds, format }
    }
}

/// An id that some exports write as a number.
struct Id(String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyId;
        impl Visitor<'_> for AnyId {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an id, text or whole number")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Id, E> {
                Ok(Id(text.to_owned()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Id, E> {
                Ok(Id(number.to_string()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Id, E> {
                Ok(Id(number.to_string()))
            }
        }
        deserializer.deserialize_any(AnyId)
    }
}

/// Replaces `\ud83d` and its kind by U+FFFD where its other half is missing.
pub(super) fn without_half_emojis(json: &str) -> String {
    let unit = |from: usize| {
        let digits = json.get(from..from + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut mended = String::with_capacity(json.len());
    let mut at = 0;
    while let Some(found) = json[at..].find('\\') {
        mended.push_str(&json[at..at + found]);
        at += found;
        let length = match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                mended.push('\u{fffd}');
                at += 6;
                continue;
            }
            (Some(_), _) => 6,
            // The backslash and what it escapes, of whatever width.
            (None, _) => 1 + json[at + 1..].chars().next().map_or(0, char::len_utf8),
        };
        mended.push_str(&json[at..at + length]);
        at += length;
    }
    mended.push_str(&json[at..]);
    mended
}
