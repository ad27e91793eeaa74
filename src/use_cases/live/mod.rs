//! Live sessions: bring a past stream in, list a week's.

mod import;
mod receive;

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

    /// A live's minutes: messages, chatters, coverage.
    pub async fn minutes(
        &self,
        live: LiveId,
    ) -> Result<Vec<crate::domain::audience::AudienceMinute>, PortError> {
        self.ledger.minutes_of(live).await
    }
}
