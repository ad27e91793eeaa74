//! A recorder in memory: it says what it is told to say, and remembers what it was told. Away at first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::domain::live::camera::Camera;
use crate::domain::live::keeping::Keeping;
use crate::ports::PortError;
use crate::ports::recorder::{CameraBook, RecorderDesk, RecorderState};
use crate::ports::relay::{RelayBook, RelayOrder, RelayState, Standing};

/// The twin of a recorder and of its book; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryRecorder(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    state: Option<RecorderState>,
    known: Vec<Camera>,
    is_stuck: bool,
    relays: Vec<RelayOrder>,
    keeping: Vec<Keeping>,
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

    /// What it was told last to keep.
    pub fn keeping(&self) -> Vec<Keeping> {
        self.inner().keeping.clone()
    }

    /// What it was told last to relay.
    pub fn relayed(&self) -> Vec<RelayOrder> {
        self.inner().relays.clone()
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

    async fn keep(&self, keeping: &[Keeping]) -> Result<(), PortError> {
        let mut inner = self.inner();
        if inner.state.is_none() {
            return Err(away());
        }
        keeping.clone_into(&mut inner.keeping);
        Ok(())
    }

    async fn relay(&self, relays: &[RelayOrder]) -> Result<Option<String>, PortError> {
        let mut inner = self.inner();
        if inner.state.is_none() {
            return Err(away());
        }
        if let Some(odd) = relays.iter().find(|it| !it.url.starts_with("rtmp")) {
            return Ok(Some(format!("« {} » : adresse impossible", odd.name)));
        }
        relays.clone_into(&mut inner.relays);
        let now = inner.state.as_ref().map(|state| state.now).unwrap_or_default();
        if let Some(state) = &mut inner.state {
            let stands = |order: &RelayOrder| RelayState {
                camera: order.camera,
                name: order.name.clone(),
                url: order.url.clone(),
                is_test: order.is_test,
                standing: Standing::Idle,
                since: now,
                sent_bytes: 0,
                kbits: 0,
                dropped: 0,
                reconnects: 0,
            };
            state.relays = relays.iter().map(stands).collect();
        }
        Ok(None)
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

    fn read_keeping(&self) -> Result<Vec<Keeping>, PortError> {
        Ok(self.keeping())
    }

    fn write_keeping(&self, keeping: &[Keeping]) -> Result<(), PortError> {
        keeping.clone_into(&mut self.inner().keeping);
        Ok(())
    }
}

impl RelayBook for MemoryRecorder {
    fn read(&self) -> Result<Vec<RelayOrder>, PortError> {
        Ok(self.inner().relays.clone())
    }

    fn write(&self, relays: &[RelayOrder]) -> Result<(), PortError> {
        relays.clone_into(&mut self.inner().relays);
        Ok(())
    }
}
