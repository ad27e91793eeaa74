//! Villa weeks: open one, list them, find one, fold what is left of their audience, let the rest age.

mod age;
mod minutes;

use std::sync::Arc;

use chrono::NaiveDate;
use uuid::Uuid;

use crate::domain::ids::{PersonId, WeekId};
use crate::domain::villa::WeekName;
use crate::ports::PortError;
use crate::ports::ledger::Ledger;
use crate::ports::shelves::{Shelves, cards_of, find_card};
use crate::ports::viewer_samples::ViewerSamples;
use crate::read_models::WeekCard;
use crate::use_cases::open_week;

/// Villa weeks.
#[derive(Clone)]
pub struct Weeks {
    pub ledger: Arc<dyn Ledger>,
    pub shelves: Arc<dyn Shelves>,
    pub samples: Arc<dyn ViewerSamples>,
}

impl Weeks {
    /// Opens a week, or finds the one of this name (case and spaces aside): opening twice opens one.
    pub async fn open(
        &self,
        name: WeekName,
        starts_on: NaiveDate,
        by: Option<PersonId>,
    ) -> Result<WeekId, PortError> {
        open_week(&*self.ledger, name, starts_on, by).await
    }

    /// All weeks, the latest first.
    pub async fn list(&self) -> Result<Vec<WeekCard>, PortError> {
        let mut weeks: Vec<WeekCard> = cards_of(&*self.shelves, Uuid::nil()).await?;
        weeks.sort_by_key(|week| std::cmp::Reverse((week.starts_on, week.opened_at)));
        Ok(weeks)
    }

    /// One week.
    pub async fn find(&self, week: WeekId) -> Result<Option<WeekCard>, PortError> {
        find_card(&*self.shelves, week.as_uuid()).await
    }
}
