//! The processes of a cluster, told by their working folder: PostgreSQL's stand in `pgdata`.
//!
//! A pid in a file proves nothing (it may be another program's by now); a working folder does.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use crate::adapters::postgres::cluster::error::ClusterError;
use crate::adapters::postgres::cluster::place::Home;

/// Pause between two looks at a server that starts or stops.
pub(crate) const POLL: Duration = Duration::from_millis(5);
/// How long processes whose server died may take to notice it themselves.
const ORPHANS_NOTICE_WAIT: Duration = Duration::from_secs(2);
/// How long they may take to end once told to.
const ORPHANS_END_WAIT_MAX: Duration = Duration::from_secs(10);

/// What `postmaster.pid` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PidFile {
    pub(crate) pid: i32,
    pub(crate) port: u16,
    pub(crate) socket_folder: PathBuf,
    pub(crate) phase: Phase,
}

/// How far the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Ready,
    Stopping,
}

/// Who stands in the cluster's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Nobody; a pid file that is there is stale.
    Nobody,
    /// The server, with what its file says (it is written in steps: none while it is incomplete).
    Server { pid: i32, says: Option<PidFile> },
    /// Processes of a server that is gone.
    Orphans(Vec<i32>),
}

/// Looks who stands in the cluster.
pub(crate) fn look(home: &Home) -> Presence {
    let text = fs::read_to_string(home.pgdata().join("postmaster.pid")).unwrap_or_default();
    if let Some(pid) = first_line_pid(&text)
        && stands_in(pid, home)
    {
        return Presence::Server { pid, says: parse_pid_file(&text) };
    }
    let standing = standing_in(home);
    if standing.is_empty() { Presence::Nobody } else { Presence::Orphans(standing) }
}

/// Every live process of the cluster.
fn standing_in(home: &Home) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| stands_in(*pid, home))
        .collect()
}

/// Whether a live process belongs to the cluster: it is called `postgres` (a person's shell may
/// stand there too) and its working folder is `pgdata`. Root in a container may not look at the
/// working folder of another account's process; then its command line tells.
pub(crate) fn stands_in(pid: i32, home: &Home) -> bool {
    let is_postgres = fs::read_to_string(format!("/proc/{pid}/comm"))
        .is_ok_and(|name| name.starts_with("postgres"));
    if !is_postgres {
        return false;
    }
    match (fs::metadata(format!("/proc/{pid}/cwd")), fs::metadata(home.pgdata())) {
        // What the names lead to is compared, not the names.
        (Ok(its), Ok(ours)) => (its.dev(), its.ino()) == (ours.dev(), ours.ino()),
        (Err(error), _) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| names_us(&line, home))
        }
        _ => false,
    }
}

/// Whether a process of the cluster has ended, collected or not. One that is ending has left its
/// folder already while the kernel still gives back what it held.
pub(crate) fn is_gone(pid: i32, home: &Home) -> bool {
    if stands_in(pid, home) {
        return false;
    }
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    // `4242 (postgres) Z …`; another name means that the number is another program's by now.
    let Some((name, rest)) = stat.rsplit_once(") ") else { return true };
    !name.ends_with("(postgres") || rest.starts_with(['Z', 'X'])
}

/// Whether a command line is the server's (it names our configuration) or one of its children's
/// (their title begins with the cluster's name).
fn names_us(line: &[u8], home: &Home) -> bool {
    let title = format!("postgres: {}:", home.cluster_name());
    let configuration = home.configuration();
    let option = [b"--config-file=", configuration.as_os_str().as_bytes()].concat();
    line.starts_with(title.as_bytes()) || line.split(|byte| *byte == 0).any(|word| word == option)
}

/// Sends a signal to a process only while it belongs to the cluster: the handle is taken before
/// the look, so a reused pid is never hit. Says whether it was sent.
pub(crate) fn signal(pid: i32, home: &Home, signal: Signal) -> Result<bool, ClusterError> {
    let Some(pid_of) = Pid::from_raw(pid) else { return Ok(false) };
    let sent = match pidfd_open(pid_of, PidfdFlags::empty()) {
        Ok(handle) if stands_in(pid, home) => pidfd_send_signal(&handle, signal),
        // Some sandboxes know no handles.
        Err(Errno::NOSYS | Errno::PERM) if stands_in(pid, home) => kill_process(pid_of, signal),
        Ok(_) | Err(Errno::SRCH | Errno::INVAL) => return Ok(false),
        Err(source) => Err(source),
    };
    match sent {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(source) => {
            Err(ClusterError::io("signalling PostgreSQL", &home.pgdata(), source.into()))
        }
    }
}

/// Ends what a dead server left behind. Two servers on one folder would destroy it, and what is
/// left of the first still writes: so nobody starts before all of it is gone.
pub(crate) fn end_orphans(home: &Home) -> Result<(), ClusterError> {
    if until(ORPHANS_NOTICE_WAIT, || standing_in(home).is_empty()) {
        return Ok(());
    }
    for pid in standing_in(home) {
        tracing::warn!(pid, "ending a PostgreSQL process whose server is gone");
        signal(pid, home, Signal::KILL)?;
    }
    if until(ORPHANS_END_WAIT_MAX, || standing_in(home).is_empty()) {
        return Ok(());
    }
    Err(ClusterError::TimedOut {
        doing: "ending the processes a dead PostgreSQL left behind",
        limit: ORPHANS_END_WAIT_MAX,
    })
}

/// Looks again and again until `done` or the limit; says which.
pub(crate) fn until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

fn first_line_pid(text: &str) -> Option<i32> {
    text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 0)
}

/// Reads the eight lines of the file: pid, folder, start time, port, socket folder, listen
/// address, shared memory key, phase (PostgreSQL's `src/include/utils/pidfile.h`).
fn parse_pid_file(text: &str) -> Option<PidFile> {
    let pid = first_line_pid(text)?;
    let lines: Vec<&str> = text.lines().collect();
    let phase = match lines.get(7)?.trim() {
        "starting" => Phase::Starting,
        "ready" => Phase::Ready,
        "stopping" => Phase::Stopping,
        _ => return None,
    };
    let port = lines.get(3)?.trim().parse().ok()?;
    Some(PidFile { pid, port, socket_folder: PathBuf::from(lines.get(4)?), phase })
}

#[cfg(test)]
mod tests {
    use super::{Phase, first_line_pid, parse_pid_file};

    const WHOLE: &str = "4242\n/d/pgdata\n1700000000\n5432\n/d/socket\n\n  123  0\nready   \n";

    #[test]
    fn a_whole_pid_file_tells_the_socket_and_the_phase() {
        let found = parse_pid_file(WHOLE).unwrap();

        assert_eq!((found.pid, found.port), (4242, 5432));
        assert_eq!(found.socket_folder.to_str(), Some("/d/socket"));
        assert_eq!(found.phase, Phase::Ready);
    }

    #[test]
    fn a_half_written_pid_file_tells_the_pid_only() {
        let half = "4242\n/d/pgdata\n1700000000\n5432\n";

        assert_eq!(parse_pid_file(half), None);
        assert_eq!(first_line_pid(half), Some(4242));
        assert_eq!(first_line_pid(""), None);
        assert_eq!(first_line_pid("-1\n"), None);
    }
}
