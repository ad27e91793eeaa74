//! Live sessions: bring a past stream in, list a week's.

pub mod cameras;
mod import;
pub mod index;
mod keep;
mod receive;
pub mod record;
pub mod relay;
mod take;

use std::sync::Arc;

use crate::domain::ids::{LiveId, WeekId};
use crate::ports::PortError;
use crate::ports::chat_reader::ChatReader;
use crate::ports::clock::Clock;
use crate::ports::ledger::Ledger;
use crate::ports::media_engine::MediaEngine;
use crate::ports::media_store::MediaStore;
use crate::ports::shelves::{Shelves, cards_of, find_card};
use crate::read_models::LiveCard;

pub use receive::{Received, copy_into_store};

/// Most steps a pulse is told in, short of a very long live: what a wide screen can show.
const PULSE_STEPS_MAX: i64 = 360;
/// Lengths of a step, in milliseconds. Under 5 s a chat of ordinary size is noise.
const PULSE_STEPS_MS: [i64; 7] = [5_000, 10_000, 15_000, 20_000, 30_000, 60_000, 120_000];

const MINUTE_MS: i64 = 60_000;

/// The length of a pulse's step for a video this long, in milliseconds.
pub fn pulse_step_ms(duration_ms: i64) -> i64 {
    PULSE_STEPS_MS.into_iter().find(|step| duration_ms / step <= PULSE_STEPS_MAX).unwrap_or(300_000)
}

/// Live sessions.
#[derive(Clone)]
pub struct Lives {
    pub ledger: Arc<dyn Ledger>,
    pub shelves: Arc<dyn Shelves>,
    pub store: Arc<dyn MediaStore>,
    pub engine: Arc<dyn MediaEngine>,
    pub chats: Arc<dyn ChatReader>,
    pub clock: Arc<dyn Clock>,
}

impl Lives {
    /// A week's lives, the latest first.
    pub async fn of_week(&self, week: WeekId) -> Result<Vec<LiveCard>, PortError> {
        let mut lives: Vec<LiveCard> = cards_of(&*self.shelves, week.as_uuid()).await?;
        lives.sort_by_key(|live| std::cmp::Reverse(live.started_at));
        Ok(lives)
    }

    /// One live.
    pub async fn find(&self, live: LiveId) -> Result<Option<LiveCard>, PortError> {
        find_card(&*self.shelves, live.as_uuid()).await
    }

    /// A live's messages in equal steps of [`pulse_step_ms`], from 0 to its end; a silent step counts 0.
    pub async fn pulse(&self, live: &LiveCard) -> Result<Vec<u32>, PortError> {
        let step_ms = pulse_step_ms(live.recording.duration_ms);
        let steps = usize::try_from(live.recording.duration_ms.max(0) / step_ms + 1).unwrap_or(0);
        let mut counts = vec![0_u32; steps];
        if step_ms % MINUTE_MS == 0 {
            // Folded already: a long evening is not counted anew for every look at it.
            for minute in self.ledger.minutes_of(live.id).await? {
                let step = i64::from(minute.minute) * MINUTE_MS / step_ms;
                if let Some(count) =
                    usize::try_from(step).ok().and_then(|step| counts.get_mut(step))
                {
                    *count += minute.messages.unsigned_abs();
                }
            }
            return Ok(counts);
        }
        for (step, messages) in self.ledger.pulse_of(live.id, step_ms).await? {
            // What people wrote after the end belongs to no step.
            if let Some(count) = usize::try_from(step).ok().and_then(|step| counts.get_mut(step)) {
                *count = u32::try_from(messages).unwrap_or(u32::MAX);
            }
        }
        Ok(counts)
    }

    /// A live's minutes: messages, chatters, coverage.
    pub async fn minutes(
        &self,
        live: LiveId,
    ) -> Result<Vec<crate::domain::audience::AudienceMinute>, PortError> {
        self.ledger.minutes_of(live).await
    }
}
