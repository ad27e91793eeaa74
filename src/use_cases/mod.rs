//! Verbs: what we do, one service a feature, only through ports. Features meet in the event log; what follows what
//! stands in `reactions`, slow work in `jobs`.

pub mod accounts;
pub mod alerts;
pub mod audience;
pub mod clips;
pub mod health;
pub mod jobs;
pub mod live;
pub mod moments;
pub mod reactions;
pub mod resources;
pub mod villa;

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Duration, NaiveDate, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

use crate::domain::audience::Pseudonym;
use crate::domain::clips::footage::Inspection;
use crate::domain::ids::{PersonId, WeekId};
use crate::domain::job::JobTicket;
use crate::domain::media::MediaKey;
use crate::domain::villa::{VillaEvent, WEEK_DAYS, WeekName, week_of};
use crate::ports::PortError;
use crate::ports::ledger::{Commit, CommitError, Expectation, Ledger};
use crate::ports::media_engine::{JobWatch, MediaError, MediaProgress};
use crate::ports::media_store::{MediaStore, StoreError};
use crate::ports::shelves::{Shelves, cards_of};
use crate::read_models::WeekCard;
use tokio_util::sync::CancellationToken;

/// A viewer within one villa week: an HMAC-SHA256 under the week's key (RFC 2104), cut to 128 bits.
pub(crate) fn pseudonym(key: &[u8; 32], viewer_id: &str) -> Pseudonym {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(viewer_id.as_bytes());
    let mut viewer = [0; 16];
    viewer.copy_from_slice(&mac.finalize().into_bytes()[..16]);
    Pseudonym(viewer)
}

/// The villa week of an instant, opened when nobody did: what happens does not wait for paperwork.
async fn week_at(
    ledger: &dyn Ledger,
    shelves: &dyn Shelves,
    at: DateTime<Utc>,
) -> Result<WeekId, PortError> {
    let day = at.date_naive();
    let weeks: Vec<WeekCard> = cards_of(shelves, Uuid::nil()).await?;
    let holds_day = |week: &&WeekCard| {
        week.starts_on <= day && day < week.starts_on + Duration::days(WEEK_DAYS)
    };
    let latest = weeks.iter().filter(holds_day).max_by_key(|week| (week.starts_on, week.opened_at));
    if let Some(week) = latest {
        return Ok(week.id);
    }
    let (name, starts_on) = week_of(day);
    open_week(ledger, name, starts_on, None).await
}

/// Opens a week, or finds the one of this name.
async fn open_week(
    ledger: &dyn Ledger,
    name: WeekName,
    starts_on: NaiveDate,
    by: Option<PersonId>,
) -> Result<WeekId, PortError> {
    let week = WeekId::named(&name.folded());
    let commit = Commit {
        events: vec![VillaEvent::Opened { week, name, starts_on, by }.into()],
        expect: Some(Expectation { subject: week.as_uuid(), events: 0 }),
        ..Commit::default()
    };
    match ledger.commit(commit).await {
        Ok(_) | Err(CommitError::Conflict | CommitError::LeaseLost) => Ok(week),
        Err(CommitError::Port(error)) => Err(error),
    }
}

/// A piece of slow work in hand: the right to finish it, how far it is, and whether to stop.
#[derive(Clone)]
pub struct Work {
    pub ticket: JobTicket,
    pub cancel: CancellationToken,
    progress: Arc<Mutex<(f32, String)>>,
}

impl Work {
    /// Takes a job in hand.
    pub fn on(ticket: JobTicket, cancel: CancellationToken) -> Self {
        Self { ticket, cancel, progress: Arc::default() }
    }

    /// How far it is: a share from 0 to 1 and a word on the present step.
    pub fn progress(&self) -> (f32, String) {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says how far it is.
    pub fn report(&self, share: f32, note: &str) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) =
            (share.clamp(0.0, 1.0), note.to_owned());
    }

    /// A watch for one media step that goes from `from` to `to` of the whole.
    pub fn step(&self, from: f32, to: f32, note: &'static str) -> JobWatch {
        self.report(from, note);
        let work = self.clone();
        JobWatch {
            on_progress: Arc::new(move |MediaProgress { share }| {
                work.report(from + (to - from) * share as f32, note);
            }),
            cancel: self.cancel.clone(),
        }
    }
}

/// Why a piece of work ended without its result.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The input is at fault: trying again would not help. French, for people.
    #[error("{0}")]
    Refused(String),
    /// Something around is at fault and may pass. For people and the log.
    #[error("{0}")]
    Passing(String),
    #[error("stopped on request")]
    Cancelled,
    #[error("another worker has the job now")]
    LeaseLost,
}

impl From<PortError> for WorkError {
    fn from(error: PortError) -> Self {
        // Even a lasting fault is tried again: somebody may mend it before the tries are used up.
        Self::Passing(error.chain())
    }
}

impl From<CommitError> for WorkError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::LeaseLost => Self::LeaseLost,
            CommitError::Conflict => Self::Passing(error.to_string()),
            CommitError::Port(error) => error.into(),
        }
    }
}

impl From<MediaError> for WorkError {
    fn from(error: MediaError) -> Self {
        match error {
            MediaError::Cancelled => Self::Cancelled,
            error if error.may_pass_later() => Self::Passing(error.to_string()),
            error => Self::Refused(error.to_string()),
        }
    }
}

impl From<StoreError> for WorkError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Cancelled => Self::Cancelled,
            StoreError::Port(error) => error.into(),
            error => Self::Passing(error.to_string()),
        }
    }
}

/// Reads what the import learnt of a video.
pub(crate) async fn read_inspection(
    store: &dyn MediaStore,
    key: &MediaKey,
) -> Result<Inspection, WorkError> {
    let missing = || {
        WorkError::Refused(
            "L'inspection de la vidéo manque : importez de nouveau ce direct.".into(),
        )
    };
    let file = store.local_path(key).await?.ok_or_else(missing)?;
    let document = tokio::fs::read(&file)
        .await
        .map_err(|e| WorkError::Passing(format!("cannot read the inspection: {e}")))?;
    serde_json::from_slice(&document)
        .map_err(|e| WorkError::Refused(format!("L'inspection est illisible : {e}.")))
}
