//! Keeping what comes, whatever is away: stored at once, or on the spool until the database is back.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::domain::audience::notice::Notice;
use crate::ports::PortError;
use crate::ports::audience_log::NOTICES_BATCH_MAX;
use crate::ports::spool::SpoolError;
use crate::use_cases::audience::Audience;

/// A database that takes longer than this to store a batch is away: the batch goes to the spool, and what of it went
/// through all the same is dropped as heard when it comes again.
const STORE_MAX: Duration = Duration::from_secs(2);

/// What was kept so far by this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// In the database.
    pub stored: u64,
    /// Left out because they were heard before, or of a viewer who is erased.
    pub repeated: u64,
    /// That went over the spool.
    pub spooled: u64,
    /// Neither could take them.
    pub lost: u64,
    /// Some wait on the spool now.
    pub is_spooling: bool,
}

impl Audience {
    /// Keeps notices; says whether they are kept. Only when neither the database nor the disk takes them, they are lost, and
    /// counted.
    pub async fn keep(&self, notices: Vec<Notice>) -> bool {
        if !self.state.spooling.load(Relaxed) {
            match tokio::time::timeout(STORE_MAX, self.store(&notices)).await {
                Ok(Ok(())) => return true,
                Ok(Err(error)) => {
                    tracing::warn!(error = %error.chain(), "the audience waits on the spool");
                }
                Err(_) => tracing::warn!("the database is slow: the audience waits on the spool"),
            }
        }
        let count = notices.len() as u64;
        match self.spool.put(notices).await {
            Ok(()) => {
                self.state.spooled.fetch_add(count, Relaxed);
                self.state.spooling.store(true, Relaxed);
                true
            }
            Err(error) => {
                self.state.lost.fetch_add(count, Relaxed);
                let error = match error {
                    SpoolError::Port(error) => error.chain(),
                    full @ SpoolError::Full { .. } => full.to_string(),
                };
                tracing::error!(
                    count,
                    error,
                    "notices are lost: neither database nor disk takes them"
                );
                false
            }
        }
    }

    /// Stores the oldest of what waits; says whether more may wait.
    pub async fn drain(&self) -> Result<bool, PortError> {
        let held = self.spool.oldest(NOTICES_BATCH_MAX).await?;
        let Some(mark) = held.mark else {
            self.state.spooling.store(false, Relaxed);
            return Ok(false);
        };
        self.store(&held.notices).await?;
        self.spool.done(mark).await?;
        Ok(true)
    }

    /// Whether something waits on the spool.
    pub fn is_spooling(&self) -> bool {
        self.state.spooling.load(Relaxed)
    }

    /// Takes up what an earlier process left on the spool.
    pub async fn look_at_spool(&self) -> Result<(), PortError> {
        let waits = !self.spool.is_empty().await?;
        self.state.spooling.store(waits, Relaxed);
        Ok(())
    }

    /// What was kept so far.
    pub fn kept(&self) -> Kept {
        let state = &self.state;
        Kept {
            stored: state.stored.load(Relaxed),
            repeated: state.repeated.load(Relaxed),
            spooled: state.spooled.load(Relaxed),
            lost: state.lost.load(Relaxed),
            is_spooling: state.spooling.load(Relaxed),
        }
    }

    /// Removes everything a viewer left, here and on the spool; says how many rows went. What other processes still hold
    /// of them goes as it reaches the log, and from their boards within seconds.
    pub async fn erase_viewer(&self, viewer_id: &str) -> Result<u64, PortError> {
        let at = self.clock.now();
        let waiting = self.spool.erase_viewer(viewer_id).await?;
        let logged = self.ledger.erase_viewer(viewer_id, at).await?;
        Ok(waiting + logged)
    }
}
