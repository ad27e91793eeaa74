//! Live sessions: one stream of a villa week, with its recording.

pub mod camera;
pub mod feed;
pub mod keeping;
pub mod parameters;
pub mod part;
pub mod relay;
pub mod sync;
pub mod track;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::ids::{LiveId, PersonId, WeekId};
use crate::domain::media::{MediaKey, MediaObject};

/// Chat that runs on this long after the end of the video still belongs to it: people talk on after a stream, in milliseconds.
pub const CHAT_AFTER_END_MS_MAX: i64 = 10 * 60 * 1000;

/// Share of the messages that must fall inside the video for a chat to be this stream's.
pub const CHAT_INSIDE_MIN: f64 = 0.5;

/// What is known of a recording: durations in milliseconds, frame rate as a fraction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    pub file: MediaObject,
    /// Where the inspection (key-frame index, loudness curve) is kept.
    pub inspection: MediaKey,
    pub duration_ms: i64,
    pub width: u32,
    pub height: u32,
    pub fps: (u32, u32),
    pub video_codec: String,
    pub audio_codec: String,
}

/// What happened to a live session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LiveEvent {
    /// A past stream came in whole: its video, its chat, its place in a week.
    Imported {
        live: LiveId,
        week: WeekId,
        title: String,
        started_at: DateTime<Utc>,
        recording: Recording,
        chat_sha256: String,
        messages: u64,
        chatters: u64,
        by: Option<PersonId>,
    },
    /// The detector has read the live to its end. `delay_ms` is how far the chat ran behind, `delay_origin` how that is known.
    Analysed { live: LiveId, moments: u32, delay_ms: i64, delay_origin: String },
    /// A channel went on air; `channel` is the platform's id of it.
    Began { live: LiveId, week: WeekId, channel: String, title: String, started_at: DateTime<Utc> },
    /// Somebody said that this was good; `offset_ms` counts from the live's start.
    Marked { live: LiveId, offset_ms: i64, by: Option<PersonId> },
    /// The channel went off air.
    Ended { live: LiveId, ended_at: DateTime<Utc> },
}

impl LiveEvent {
    /// The live this is about.
    pub const fn live(&self) -> LiveId {
        match self {
            Self::Imported { live, .. }
            | Self::Analysed { live, .. }
            | Self::Began { live, .. }
            | Self::Marked { live, .. }
            | Self::Ended { live, .. } => *live,
        }
    }
}

/// Why a chat cannot belong to a video: French, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatMismatch {
    #[error(
        "Le chat ne contient aucun message : exportez-le de nouveau, ou vérifiez que c'est bien celui de ce direct."
    )]
    Empty,
    #[error(
        "Ce chat est celui d'un autre direct : {inside} messages sur {messages} seulement tombent dans les {video_s} s de \
         la vidéo (le dernier arrive à {last_s} s). Vérifiez que la vidéo et le chat viennent du même direct."
    )]
    OtherStream { inside: u64, messages: u64, video_s: i64, last_s: i64 },
}

/// Checks that a chat with these offsets (milliseconds) can be that of a video this long.
pub fn check_chat_fits(offsets_ms: &[i64], video_ms: i64) -> Result<(), ChatMismatch> {
    if offsets_ms.is_empty() {
        return Err(ChatMismatch::Empty);
    }
    let messages = offsets_ms.len() as u64;
    let inside = offsets_ms
        .iter()
        .filter(|&&at| at <= video_ms + CHAT_AFTER_END_MS_MAX.min(video_ms))
        .count() as u64;
    if (inside as f64) < CHAT_INSIDE_MIN * messages as f64 {
        let last_s = offsets_ms.iter().max().copied().unwrap_or(0) / 1000;
        return Err(ChatMismatch::OtherStream {
            inside,
            messages,
            video_s: video_ms / 1000,
            last_s,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_far_beyond_the_video_is_of_another_stream() {
        let offsets: Vec<i64> = (0..100).map(|i| i * 60_000).collect();
        assert!(matches!(
            check_chat_fits(&offsets, 600_000),
            Err(ChatMismatch::OtherStream { .. })
        ));
        assert_eq!(check_chat_fits(&offsets, 99 * 60_000), Ok(()));
        assert_eq!(check_chat_fits(&[], 1_000), Err(ChatMismatch::Empty));
    }
}
