//! Who is on the pretend Twitch: the channels, what each of them shows, and viewers made from their names.

use std::collections::VecDeque;
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::rehearsal::chance::scramble;

/// Somebody with an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub id: String,
    /// Lowercase.
    pub login: String,
    pub name: String,
}

impl Person {
    /// The viewer of that name: the same name gives the same id.
    pub fn viewer(name: &str) -> Self {
        let login = name.to_lowercase();
        let hash = login.bytes().fold(0x7669_6577, |hash, byte| scramble(hash ^ u64::from(byte)));
        let id = (40_000_000 + hash % 900_000_000).to_string();
        Self { id, login, name: name.to_owned() }
    }

    /// The creator number `index` of a rehearsal, from 0.
    pub fn creator(index: usize) -> Self {
        const NAMES: [&str; 12] = [
            "Nour", "Malo", "Ines", "Camille", "Sacha", "Lou", "Eden", "Noa", "Charlie", "Alix",
            "Robin", "Zelie",
        ];
        let name = match NAMES.get(index) {
            Some(name) => format!("Villa{name}"),
            None => format!("VillaArtiste{}", index + 1),
        };
        Self { id: (700_100_200 + index).to_string(), login: name.to_lowercase(), name }
    }
}

/// A stream that is on air.
#[derive(Debug, Clone)]
pub(super) struct OnAir {
    pub(super) stream_id: String,
    pub(super) video_id: String,
    pub(super) started_at: DateTime<Utc>,
    pub(super) viewers: u32,
}

/// A channel and what Helix tells of it. The lists hold Helix's own objects, newest first.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) who: Person,
    pub(super) title: String,
    pub(super) category: (String, String),
    pub(super) tags: Vec<String>,
    pub(super) is_branded: bool,
    pub(super) on_air: Option<OnAir>,
    pub(super) followers: Vec<Value>,
    pub(super) subscribers: Vec<Value>,
    pub(super) videos: Vec<Value>,
    pub(super) clips: Vec<Value>,
    pub(super) markers: Vec<Value>,
    pub(super) polls: Vec<Value>,
    /// Target of a raid that waits for its start.
    pub(super) raid: Option<String>,
    pub(super) ad: Ads,
    /// The latest messages and who wrote them.
    pub(super) recent: VecDeque<(String, Person)>,
    /// Who sent messages by call, and when.
    pub(super) sent: Vec<(String, Instant)>,
}

/// The ad schedule of a channel.
#[derive(Debug, Default, Clone)]
pub(super) struct Ads {
    pub(super) last_at: Option<DateTime<Utc>>,
    pub(super) snoozes: u32,
}

impl Channel {
    pub(super) fn new(who: Person) -> Self {
        Self {
            title: format!("Semaine de villa chez {}", who.name),
            who,
            category: ("509658".into(), "Just Chatting".into()),
            tags: vec!["Français".into()],
            is_branded: false,
            on_air: None,
            followers: Vec::new(),
            subscribers: Vec::new(),
            videos: Vec::new(),
            clips: Vec::new(),
            markers: Vec::new(),
            polls: Vec::new(),
            raid: None,
            ad: Ads { last_at: None, snoozes: 3 },
            recent: VecDeque::new(),
            sent: Vec::new(),
        }
    }
}
