//! The recorder's desk, spoken to over its socket: HTTP, so that `curl --unix-socket` shows what is said.

mod book;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, RequestBuilder, Response, StatusCode};

use crate::domain::live::camera::Camera;
use crate::domain::live::keeping::Keeping;
use crate::ports::PortError;
use crate::ports::recorder::{RecorderDesk, RecorderState};
use crate::ports::relay::RelayOrder;

pub use book::LocalBook;

/// Longest wait for the recorder: it answers from memory.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Longest path of a socket on Linux, in bytes, its closing zero aside.
pub const SOCKET_BYTES_MAX: usize = 107;

/// Speaks to the recorder whose socket lies here.
#[derive(Debug, Clone)]
pub struct LocalRecorder {
    socket: PathBuf,
    client: Client,
}

impl LocalRecorder {
    /// For the socket at this path, whether or not somebody answers there yet.
    pub fn at(socket: &Path) -> Result<Self, PortError> {
        let client = Client::builder()
            .unix_socket(socket)
            .timeout(ANSWER_MAX)
            .no_proxy()
            // A recorder that was replaced has closed its connections.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|e| PortError::lasting("prepare to speak to the recorder", e))?;
        Ok(Self { socket: socket.to_owned(), client })
    }

    /// Asks it to end everything and stop. It goes on for as long as its last parts take to reach the disk.
    pub async fn stop(&self) -> Result<(), PortError> {
        self.ask(self.client.post(at("stop"))).await.map(drop)
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Response, PortError> {
        let doing = || format!("ask the recorder at `{}`", self.socket.display());
        let answer = request.send().await.map_err(|e| PortError::passing(doing(), e))?;
        answer.error_for_status().map_err(|e| PortError::lasting(doing(), e))
    }
}

fn at(path: &str) -> String {
    format!("http://recorder/{path}")
}

#[async_trait]
impl RecorderDesk for LocalRecorder {
    async fn state(&self) -> Result<RecorderState, PortError> {
        let answer = self.ask(self.client.get(at("state"))).await?;
        answer.json().await.map_err(|e| {
            PortError::lasting("read what the recorder says: is it of another version?", e)
        })
    }

    async fn know(&self, cameras: &[Camera]) -> Result<(), PortError> {
        self.ask(self.client.put(at("cameras")).json(cameras)).await.map(drop)
    }

    async fn keep(&self, keeping: &[Keeping]) -> Result<(), PortError> {
        self.ask(self.client.put(at("keeping")).json(keeping)).await.map(drop)
    }

    async fn relay(&self, relays: &[RelayOrder]) -> Result<Option<String>, PortError> {
        let doing = || format!("ask the recorder at `{}`", self.socket.display());
        let request = self.client.put(at("relays")).json(relays);
        let answer = request.send().await.map_err(|e| PortError::passing(doing(), e))?;
        if answer.status() == StatusCode::UNPROCESSABLE_ENTITY {
            return answer.text().await.map(Some).map_err(|e| PortError::passing(doing(), e));
        }
        let answer = answer.error_for_status().map_err(|e| PortError::lasting(doing(), e));
        answer.map(|_| None)
    }
}
