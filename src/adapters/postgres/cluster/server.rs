//! Starts the server, waits until it is ready, stops it.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::adapters::postgres::cluster::account::Account;
use crate::adapters::postgres::cluster::binaries::Binaries;
use crate::adapters::postgres::cluster::create::clear_unfinished;
use crate::adapters::postgres::cluster::error::{ClusterError, tells_of_full_disk};
use crate::adapters::postgres::cluster::place::{Home, socket_path};
use crate::adapters::postgres::cluster::processes::{
    POLL, Phase, PidFile, Presence, end_orphans, is_gone, look, signal, until,
};
use crate::adapters::postgres::cluster::settings;

/// Longest start, recovery after a crash included (bounded by `max_wal_size`).
pub const START_WAIT_MAX: Duration = Duration::from_mins(5);
/// Longest "fast" stop: sessions are ended, a checkpoint is written.
pub const STOP_WAIT_MAX: Duration = Duration::from_secs(30);
/// Longest "immediate" stop, which follows a fast stop that took too long; the next start
/// recovers from the write-ahead log.
pub const IMMEDIATE_STOP_WAIT_MAX: Duration = Duration::from_secs(15);
/// Bytes of the log an error quotes.
const LOG_TAIL_BYTES: u64 = 1500;
/// Log files of earlier runs larger than this are removed at start.
const LOG_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How we came to a ready server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It was started now.
    Started,
    /// It was running: another spark's, or left by one that was killed.
    Adopted,
}

/// Brings the finished cluster in `home` to a ready server. The caller holds the gate.
pub(crate) fn start_or_adopt(
    home: &Home,
    account: Account,
    binaries: &Binaries,
) -> Result<(PidFile, Arrival), ClusterError> {
    match look(home) {
        Presence::Server { pid, says } => {
            let phase = says.as_ref().map_or(Phase::Starting, |says| says.phase);
            if phase == Phase::Stopping {
                // Whoever told it to stop died before it did, or was no spark.
                stop(home)?;
            } else if let Some(ready) = wait_ready(home, pid)? {
                return Ok((ready, Arrival::Adopted));
            }
        }
        Presence::Orphans(_) | Presence::Nobody => {}
    }
    clear_remains(home, account)?;
    start(home, account, binaries).map(|ready| (ready, Arrival::Started))
}

/// Makes sure that nothing of an earlier server is left: no process, and no lock file whose
/// number may be another program's by now, or that of a dead process nobody collects (the first
/// process of a container often does not). PostgreSQL would take either for a live server.
fn clear_remains(home: &Home, account: Account) -> Result<(), ClusterError> {
    end_orphans(home)?;
    let socket = socket_path(&home.socket_folder(account));
    if UnixStream::connect(&socket).is_ok() {
        return Err(ClusterError::HeldElsewhere { folder: home.pgdata() });
    }
    for file in [socket.with_added_extension("lock"), home.pgdata().join("postmaster.pid")] {
        match fs::remove_file(&file) {
            Ok(()) => tracing::info!(file = %file.display(), "removed what a dead server left"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(ClusterError::io("removing a stale file", &file, source)),
        }
    }
    Ok(())
}

fn start(home: &Home, account: Account, binaries: &Binaries) -> Result<PidFile, ClusterError> {
    let socket_folder = home.socket_folder(account);
    Home::make_private(&socket_folder, account)?;
    Home::make_private(&home.log(), account)?;
    settings::write(home, &socket_folder)?;
    clear_unfinished(home);
    trim_logs(&home.log());
    let mut launcher = launch(home, account, binaries)?;
    let waited = wait_launched(home, &mut launcher);
    // It would go on looking for a moment; the server does not need it.
    let ended = launcher.kill().and_then(|()| launcher.wait());
    ended.map_err(|source| ClusterError::io("ending pg_ctl", home.folder(), source))?;
    waited
}

/// Runs `pg_ctl start`, which puts the server in a session of its own (no Ctrl-C reaches it)
/// and leaves it to the system's first process, so that it outlives us.
fn launch(home: &Home, account: Account, binaries: &Binaries) -> Result<Child, ClusterError> {
    let words = home.folder().join("start.log");
    let out = File::create(&words)
        .map_err(|source| ClusterError::io("writing the start log", &words, source))?;
    let err = out
        .try_clone()
        .map_err(|source| ClusterError::io("writing the start log", &words, source))?;
    let configuration = shell_quote(&home.configuration().to_string_lossy());
    let mut command = binaries.command("pg_ctl");
    command
        .args(["start", "--wait", "--silent", "--timeout"])
        .arg(START_WAIT_MAX.as_secs().to_string())
        .arg("--options")
        .arg(format!("--config-file={configuration}"))
        // Not `--pgdata`: pg_ctl puts that one in a shell command without escaping it.
        .env("PGDATA", home.pgdata())
        .stdout(Stdio::from(out))
        .stderr(Stdio::from(err))
        .process_group(0);
    account.apply(&mut command);
    command.spawn().map_err(|source| ClusterError::io("starting pg_ctl", binaries.folder(), source))
}

/// Waits for the server that `launcher` starts. Looks by itself, since pg_ctl looks only ten
/// times a second.
fn wait_launched(home: &Home, launcher: &mut Child) -> Result<PidFile, ClusterError> {
    let deadline = Instant::now() + START_WAIT_MAX;
    loop {
        if let Presence::Server { says: Some(says), .. } = look_cheaply(home)
            && says.phase == Phase::Ready
        {
            return Ok(says);
        }
        let ended = launcher
            .try_wait()
            .map_err(|source| ClusterError::io("waiting for pg_ctl", home.folder(), source))?;
        match ended {
            Some(status) if !status.success() => return Err(start_failed(home)),
            _ if Instant::now() >= deadline => return Err(start_timed_out()),
            _ => std::thread::sleep(POLL),
        }
    }
}

/// Waits for a server that others started; none when it went away meanwhile.
fn wait_ready(home: &Home, pid: i32) -> Result<Option<PidFile>, ClusterError> {
    let mut found = None;
    let in_time = until(START_WAIT_MAX, || match look_cheaply(home) {
        Presence::Server { pid: now, says: Some(says) }
            if now == pid && says.phase == Phase::Ready =>
        {
            found = Some(says);
            true
        }
        Presence::Server { pid: now, .. } if now == pid => false,
        _ => true,
    });
    if in_time { Ok(found) } else { Err(start_timed_out()) }
}

/// Like [`look`], without the walk through all processes.
fn look_cheaply(home: &Home) -> Presence {
    if home.pgdata().join("postmaster.pid").exists() { look(home) } else { Presence::Nobody }
}

/// Stops the server: fast, then immediately when that takes too long. Nothing running is fine.
pub(crate) fn stop(home: &Home) -> Result<(), ClusterError> {
    let Presence::Server { pid, .. } = look(home) else { return Ok(()) };
    let steps = [(Signal::INT, STOP_WAIT_MAX), (Signal::QUIT, IMMEDIATE_STOP_WAIT_MAX)];
    for (order, limit) in steps {
        signal(pid, home, order)?;
        if until(limit, || is_gone(pid, home)) {
            // Its log writer ends a moment after it.
            return end_orphans(home);
        }
        tracing::warn!(pid, limit_s = limit.as_secs(), "PostgreSQL did not stop in time");
    }
    Err(ClusterError::TimedOut { doing: "stopping PostgreSQL", limit: IMMEDIATE_STOP_WAIT_MAX })
}

fn start_timed_out() -> ClusterError {
    ClusterError::TimedOut { doing: "starting PostgreSQL", limit: START_WAIT_MAX }
}

fn start_failed(home: &Home) -> ClusterError {
    let tail = [Some(home.folder().join("start.log")), newest_log(&home.log())]
        .into_iter()
        .flatten()
        .map(|file| tail(&file))
        .collect::<Vec<_>>()
        .join("\n");
    if tells_of_full_disk(&tail) {
        return ClusterError::DiskFull { path: home.pgdata(), doing: "starting PostgreSQL" };
    }
    ClusterError::StartFailed { log: home.log(), tail: tail.trim().to_owned() }
}

fn newest_log(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .max()
        .map(|(_, path)| path)
}

fn tail(file: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(file)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// A flood of errors within one hour is kept until the next start at most.
fn trim_logs(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_large = entry.metadata().is_ok_and(|metadata| metadata.len() > LOG_FILE_BYTES_MAX);
        if is_large && let Err(error) = fs::remove_file(entry.path()) {
            tracing::warn!(%error, "cannot remove a large PostgreSQL log");
        }
    }
}

/// Quotes a word for the shell through which pg_ctl starts the server.
fn shell_quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
