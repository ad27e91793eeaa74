//! The recorder under `spark serve`: a child of its own process group that outlives a crash of the server. The next server
//! finds it at its desk and goes on with it; only a server that stops in order stops it, last.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;

use crate::adapters::recorder::LocalRecorder;
use crate::boot::config::Config;
use crate::boot::serve::lock_folder;
use crate::ports::recorder::RecorderDesk;

/// The lock a recorder holds in its data folder.
pub(crate) const LOCK: &str = "record";
/// How often somebody looks whether it is there.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest a recorder may take from its start to its first answer: it mends what a crash left first.
const ANSWERS_MAX: Duration = Duration::from_secs(20);
/// Longest it may take to stop.
const STOPS_MAX: Duration = Duration::from_secs(15);
/// First and longest pause before a recorder that ended is started again.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A recorder that stood this long has a clean record.
const STANDS: Duration = Duration::from_mins(1);
/// Its log is begun anew at its start when it is longer than this, in bytes.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// Keeps the recorder of a data folder running.
pub(crate) struct RecorderChild {
    config: Config,
    program: PathBuf,
    desk: LocalRecorder,
    /// The one this server started; none when it was taken up.
    child: Option<Child>,
    pause: Duration,
}

impl RecorderChild {
    pub(crate) fn new(config: &Config) -> Result<Self> {
        Ok(Self {
            program: std::env::current_exe().context("cannot find spark's own program")?,
            desk: LocalRecorder::at(&config.recorder_socket())?,
            config: config.clone(),
            child: None,
            pause: PAUSE_MIN,
        })
    }

    /// Keeps it running until `stop`, then stops it.
    pub(crate) async fn keep(mut self, stop: CancellationToken) {
        let mut started: Option<Instant> = None;
        while !stop.is_cancelled() {
            if let Some(begun) = started
                && begun.elapsed() > STANDS
            {
                self.pause = PAUSE_MIN;
            }
            if self.is_gone().await {
                if started.is_some() {
                    tracing::error!(pause_ms = self.pause.as_millis(), "the recorder is gone");
                    if stop.run_until_cancelled(tokio::time::sleep(self.pause)).await.is_none() {
                        break;
                    }
                    self.pause = (self.pause * 2).min(PAUSE_MAX);
                }
                match self.start() {
                    Ok(()) => started = Some(Instant::now()),
                    Err(error) => tracing::error!(error = format!("{error:#}"), "no recorder"),
                }
                self.wait_for_answer(&stop).await;
            } else if started.is_none() {
                started = Some(Instant::now());
                tracing::info!("took up the recorder that was there");
            }
            let _ = stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
        }
        self.stop().await;
    }

    /// Whether nobody holds the recorder's lock: the kernel gives it back with its holder's life, however that ended. A
    /// recorder that is there and does not answer is not replaced: it may be writing.
    async fn is_gone(&mut self) -> bool {
        // A child that ended must be waited for, or it stays as a zombie.
        if let Some(child) = &mut self.child
            && let Ok(Some(status)) = child.try_wait()
        {
            tracing::warn!(%status, "the recorder ended");
            self.child = None;
        }
        if self.child.is_some() || self.desk.state().await.is_ok() {
            return false;
        }
        lock_folder(&self.config, LOCK).is_ok()
    }

    fn start(&mut self) -> Result<()> {
        let config = &self.config;
        let folder = config.recorder_folder();
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        let log = open_log(&folder.join("record.log"))?;
        // It gets what it needs and nothing else: no password of a database, no token, no settings
        // file of ours.
        let mut settings = vec![
            ("SPARK_RECORD_RTMP", config.record.rtmp.to_string()),
            ("SPARK_RECORD_SRT", config.record.srt.to_string()),
            ("SPARK_RECORD_SRT_LATENCY_MS", config.record.srt_latency_ms.to_string()),
            ("SPARK_RECORD_FOLDER", config.dvr_folder().display().to_string()),
            ("SPARK_RECORD_SOCKET", config.recorder_socket().display().to_string()),
            ("SPARK_LOGS_FILTER", config.logs.filter.clone().unwrap_or_else(|| "info".to_owned())),
        ];
        if let Some(passphrase) = &config.record.srt_passphrase {
            settings.push(("SPARK_RECORD_SRT_PASSPHRASE", passphrase.expose().to_owned()));
        }
        let child = Command::new(&self.program)
            .args(["record", "--data"])
            .arg(&config.data.folder)
            .env_clear()
            .envs(settings)
            .current_dir(&folder)
            // Ctrl-C in a terminal goes to the server alone, which stops it last.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start the recorder")?;
        tracing::info!(pid = child.id(), "started the recorder");
        self.child = Some(child);
        Ok(())
    }

    async fn wait_for_answer(&mut self, stop: &CancellationToken) {
        let begun = Instant::now();
        while begun.elapsed() < ANSWERS_MAX && !stop.is_cancelled() {
            let is_running = |child: &mut Child| matches!(child.try_wait(), Ok(None));
            if self.desk.state().await.is_ok() || !self.child.as_mut().is_some_and(is_running) {
                return;
            }
            tokio::time::sleep(LOOK_EVERY / 5).await;
        }
    }

    /// Stops it; its last parts reach the disk first.
    async fn stop(mut self) {
        if let Err(error) = self.desk.stop().await {
            tracing::warn!(error = %error.chain(), "could not ask the recorder to stop");
        }
        let begun = Instant::now();
        while !self.is_gone().await {
            if begun.elapsed() > STOPS_MAX {
                tracing::error!("the recorder did not stop in time; it goes on without a server");
                return;
            }
            tokio::time::sleep(LOOK_EVERY / 5).await;
        }
    }
}

fn open_log(path: &std::path::Path) -> Result<File> {
    let is_long = std::fs::metadata(path).is_ok_and(|log| log.len() > LOG_BYTES_MAX);
    let mut options = File::options();
    options.create(true);
    if is_long {
        options.write(true).truncate(true)
    } else {
        options.append(true)
    };
    options.open(path).with_context(|| format!("cannot open `{}`", path.display()))
}
