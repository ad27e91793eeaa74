//! The yardstick: the twurple client for Node, which hears the same stream in the same run.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// What it runs. It counts, and does nothing else with what it hears.
const PROGRAM: &str = include_str!("count.mjs");
/// Longest wait until it is subscribed to everything.
const READY_MAX: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A twurple that listens; it ends with this value.
pub(super) struct Twurple {
    child: Child,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    ready: AtomicU64,
    heard: AtomicU64,
}

/// A line it writes.
#[derive(Deserialize)]
struct Word {
    #[serde(default)]
    ready: u64,
    #[serde(default)]
    heard: u64,
}

impl Twurple {
    /// Starts it on what is installed in `folder`, and waits until it listens to all channels.
    pub(super) async fn start(
        folder: &Path,
        port: u16,
        access: &str,
        user: &str,
        channels: &[String],
    ) -> io::Result<Self> {
        if !folder.join("node_modules/@twurple/eventsub-ws").is_dir() {
            let trouble = "it is not installed; `make test` does that, in target/clients/node";
            return Err(io::Error::new(io::ErrorKind::NotFound, trouble));
        }
        let mut command = Command::new("node");
        // A module from the command line looks for packages in the present folder.
        command
            .current_dir(folder)
            .args(["--input-type=module", "--eval", PROGRAM, "--", access, user])
            .args(channels)
            .env("TWURPLE_MOCK_API_PORT", port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let said = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
        let told = Arc::new(Told::default());
        let heard = told.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(said).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(Word { ready, heard: count }) = serde_json::from_str(&line) {
                    heard.ready.store(ready, Relaxed);
                    heard.heard.store(count, Relaxed);
                }
            }
        });
        let twurple = Self { child, told };
        let begun = Instant::now();
        while twurple.told.ready.load(Relaxed) < channels.len() as u64 {
            if begun.elapsed() > READY_MAX || twurple.pid().is_none() {
                return Err(io::Error::other("it does not listen to all channels"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(twurple)
    }

    /// `None` once it has ended.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Messages heard, as far as it has told.
    pub(super) fn heard(&self) -> u64 {
        self.told.heard.load(Relaxed)
    }
}
