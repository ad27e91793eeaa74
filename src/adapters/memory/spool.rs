//! A spool in memory. Full on request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::domain::audience::notice::Notice;
use crate::ports::PortError;
use crate::ports::spool::{Held, Mark, SPOOL_BYTES_MAX, Spool, SpoolError};

/// The twin of a folder; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemorySpool(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    notices: VecDeque<(u64, Notice)>,
    given: u64,
    is_full: bool,
}

impl MemorySpool {
    /// Lets it take nothing more, or again.
    pub fn set_full(&self, is_full: bool) {
        self.state().is_full = is_full;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Spool for MemorySpool {
    async fn put(&self, notices: Vec<Notice>) -> Result<(), SpoolError> {
        let mut state = self.state();
        if state.is_full {
            return Err(SpoolError::Full { held: SPOOL_BYTES_MAX });
        }
        for notice in notices {
            state.given += 1;
            let number = state.given;
            state.notices.push_back((number, notice));
        }
        Ok(())
    }

    async fn oldest(&self, limit: usize) -> Result<Held, PortError> {
        let state = self.state();
        let held = || state.notices.iter().take(limit);
        let mark = held().next_back().map(|(number, _)| Mark { segment: 0, offset: *number });
        Ok(Held { notices: held().map(|(_, notice)| notice.clone()).collect(), mark })
    }

    async fn done(&self, mark: Mark) -> Result<(), PortError> {
        self.state().notices.retain(|(number, _)| *number > mark.offset);
        Ok(())
    }

    async fn is_empty(&self) -> Result<bool, PortError> {
        Ok(self.state().notices.is_empty())
    }

    async fn erase_viewer(&self, viewer_id: &str) -> Result<u64, PortError> {
        let mut state = self.state();
        let before = state.notices.len();
        state.notices.retain(|(_, notice)| !notice.names(viewer_id));
        Ok((before - state.notices.len()) as u64)
    }
}
