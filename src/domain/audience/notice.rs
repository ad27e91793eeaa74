//! A notification as it reached us: whole and raw, with what it says where that is understood.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::audience::happening::{Happening, What};

/// How the message id of a notice begins that was not heard but asked for later.
pub const BACKFILLED: &str = "backfill:";

/// One notification of the platform. Personal: it ages with the audience messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The transport's id of it; a repeat keeps it.
    pub message_id: String,
    pub heard_at: DateTime<Utc>,
    /// The platform's channel id; empty where the notification names none.
    pub channel: String,
    /// The subscription's type and version, in the platform's words.
    pub kind: String,
    pub version: String,
    /// The event as it came: JSON.
    pub raw: String,
    /// What it says, or why that is not known.
    pub reading: Reading,
}

/// What was made of a notification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    Understood(Box<Happening>),
    /// Of a known shape, but nothing the house acts on.
    Noted,
    Unknown {
        reason: String,
    },
}

impl Notice {
    /// What it says happened, where that is understood.
    pub fn happening(&self) -> Option<&Happening> {
        match &self.reading {
            Reading::Understood(happening) => Some(happening),
            Reading::Noted | Reading::Unknown { .. } => None,
        }
    }

    /// The chat message it tells, by the platform's id.
    pub fn subject(&self) -> Option<&str> {
        match &self.happening()?.what {
            What::Chat(chat) => Some(&chat.message_id),
            _ => None,
        }
    }

    /// The viewer who did it, by the platform's id.
    pub fn viewer_id(&self) -> Option<&str> {
        self.happening()?.what.viewer_id()
    }

    /// Whether it was not heard when it happened, but asked for later.
    pub fn is_backfilled(&self) -> bool {
        self.message_id.starts_with(BACKFILLED)
    }

    /// When it happened or was heard, by whichever clock was earlier.
    pub fn known_at(&self) -> DateTime<Utc> {
        self.happening().map_or(self.heard_at, |happening| happening.at.min(self.heard_at))
    }

    /// Leaves nothing of what was said.
    pub fn forget_words(&mut self) {
        self.raw = String::new();
        self.reading = Reading::Noted;
    }

    /// Whether a viewer is named anywhere in it, by the platform's id.
    pub fn names(&self, viewer_id: &str) -> bool {
        self.viewer_id() == Some(viewer_id) || self.raw.contains(&format!("\"{viewer_id}\""))
    }
}

/// A viewer asked that everything of theirs goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// The platform's id.
    pub viewer_id: String,
    pub at: DateTime<Utc>,
}

impl Erasure {
    /// Whether a notice goes: it names the viewer, and it happened or was heard by then. What is said later is heard as ever.
    pub fn takes(&self, notice: &Notice) -> bool {
        notice.known_at() <= self.at && notice.names(&self.viewer_id)
    }
}
