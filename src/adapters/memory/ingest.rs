//! Encoders in memory: a test is the encoder, and hears why it was sent away.

use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::domain::ids::CameraId;
use crate::ports::PortError;
use crate::ports::ingest::{Encoder, Ingest, Leave, Sent};

/// Things an encoder may send ahead.
const AHEAD_MAX: usize = 100_000;

/// The encoder's own end: send what it sends, drop it to cut the connection.
pub struct MemoryCamera {
    pub sends: mpsc::Sender<Result<Sent, Leave>>,
    /// Why it was dismissed.
    pub dismissed: oneshot::Receiver<String>,
}

/// An encoder, as the recorder meets it.
pub struct MemoryEncoder {
    camera: CameraId,
    sent: mpsc::Receiver<Result<Sent, Leave>>,
    dismissed: oneshot::Sender<String>,
}

impl MemoryEncoder {
    /// An encoder of this camera, and its own end.
    pub fn of(camera: CameraId) -> (Self, MemoryCamera) {
        let (sends, sent) = mpsc::channel(AHEAD_MAX);
        let (told, dismissed) = oneshot::channel();
        (Self { camera, sent, dismissed: told }, MemoryCamera { sends, dismissed })
    }
}

#[async_trait]
impl Encoder for MemoryEncoder {
    fn camera(&self) -> CameraId {
        self.camera
    }

    fn peer(&self) -> SocketAddr {
        ([127, 0, 0, 1], 9).into()
    }

    fn protocol(&self) -> &'static str {
        "memory"
    }

    async fn next(&mut self) -> Result<Sent, Leave> {
        self.sent.recv().await.unwrap_or(Err(Leave::Gone))
    }

    async fn dismiss(self: Box<Self>, why: &str) {
        // A test that does not care has dropped its end.
        let _ = self.dismissed.send(why.to_owned());
    }
}

/// A door that tests knock at.
pub struct MemoryIngest {
    knocks: Mutex<mpsc::Receiver<MemoryEncoder>>,
}

impl MemoryIngest {
    /// The door, and the way to knock.
    pub fn new() -> (Self, mpsc::Sender<MemoryEncoder>) {
        let (sends, knocks) = mpsc::channel(16);
        (Self { knocks: Mutex::new(knocks) }, sends)
    }
}

#[async_trait]
impl Ingest for MemoryIngest {
    async fn accept(&self) -> Result<Box<dyn Encoder>, PortError> {
        match self.knocks.lock().await.recv().await {
            Some(encoder) => Ok(Box::new(encoder)),
            // Nobody knocks any more.
            None => std::future::pending().await,
        }
    }

    fn refused(&self) -> Vec<(&'static str, u64)> {
        vec![("key", 0)]
    }
}
