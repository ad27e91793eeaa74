//! A recorder in memory: it says what it is told to say, and remembers what it was told. Away at first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::domain::live::camera::Camera;
use crate::ports::PortError;
use crate::ports::recorder::{CameraBook, RecorderDesk, RecorderState};

/// The twin of a recorder and of its book; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryRecorder(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    state: Option<RecorderState>,
    known: Vec<Camera>,
    is_stuck: bool,
}

impl MemoryRecorder {
    /// Lets it stand so from now on; `None` is away.
    pub fn set(&self, state: Option<RecorderState>) {
        self.inner().state = state;
    }

    /// Lets its book take nothing any more, or again.
    pub fn set_stuck(&self, is_stuck: bool) {
        self.inner().is_stuck = is_stuck;
    }

    /// The cameras it was told last.
    pub fn known(&self) -> Vec<Camera> {
        self.inner().known.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn away() -> PortError {
    PortError { doing: "ask a recorder that is away".to_owned(), retry: true, source: None }
}

#[async_trait]
impl RecorderDesk for MemoryRecorder {
    async fn state(&self) -> Result<RecorderState, PortError> {
        self.inner().state.clone().ok_or_else(away)
    }

    async fn know(&self, cameras: &[Camera]) -> Result<(), PortError> {
        let mut inner = self.inner();
        if inner.state.is_none() {
            return Err(away());
        }
        cameras.clone_into(&mut inner.known);
        Ok(())
    }
}

impl CameraBook for MemoryRecorder {
    fn read(&self) -> Result<Vec<Camera>, PortError> {
        Ok(self.known())
    }

    fn write(&self, cameras: &[Camera]) -> Result<(), PortError> {
        let mut inner = self.inner();
        if inner.is_stuck {
            return Err(PortError::plain("write to a book that is stuck"));
        }
        cameras.clone_into(&mut inner.known);
        Ok(())
    }
}
