//! Two file locks: one at a time passes the gate to open or close; everybody inside is counted.
//!
//! `gate` is held exclusively while somebody opens or closes, `users` is held shared by each
//! user. Who closes takes the gate, then tries to turn its share into an exclusive hold: that
//! works for the last user only. The kernel drops both when a process dies, however it dies.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::adapters::postgres::cluster::error::ClusterError;

/// Longest wait for others who are opening or closing; longer than the longest creation and
/// start they may be busy with.
pub(crate) const GATE_WAIT_MAX: Duration = Duration::from_mins(8);
/// Pause between two tries at the gate.
const GATE_POLL: Duration = Duration::from_millis(5);

/// Exclusive passage; dropped, the next one passes.
#[derive(Debug)]
pub(crate) struct Gate {
    _file: File,
}

/// One user's share; dropped (or its process killed), it no longer counts.
#[derive(Debug)]
pub(crate) struct Share {
    file: File,
}

impl Gate {
    /// Waits for the gate, at most [`GATE_WAIT_MAX`].
    pub(crate) fn pass(path: &Path) -> Result<Self, ClusterError> {
        let file = open(path)?;
        let deadline = Instant::now() + GATE_WAIT_MAX;
        while !try_hold(&file, FlockOperation::NonBlockingLockExclusive, path)? {
            if Instant::now() >= deadline {
                return Err(ClusterError::TimedOut {
                    doing: "waiting for another spark that opens or closes this database",
                    limit: GATE_WAIT_MAX,
                });
            }
            std::thread::sleep(GATE_POLL);
        }
        Ok(Self { _file: file })
    }
}

impl Share {
    /// Counts us as a user. Needs the gate: an exclusive hold exists only behind it.
    pub(crate) fn take(_gate: &Gate, path: &Path) -> Result<Self, ClusterError> {
        let file = open(path)?;
        if try_hold(&file, FlockOperation::NonBlockingLockShared, path)? {
            return Ok(Self { file });
        }
        Err(ClusterError::Damaged {
            file: path.to_path_buf(),
            why: "a program that is not spark holds it locked".to_owned(),
        })
    }

    /// Gives the share back and says whether it was the last one.
    pub(crate) fn give_back(self, _gate: &Gate, path: &Path) -> Result<Departure, ClusterError> {
        // The kernel turns a share into an exclusive hold in two steps; the gate keeps everybody
        // else out in between.
        let alone = try_hold(&self.file, FlockOperation::NonBlockingLockExclusive, path)?;
        Ok(if alone { Departure::Last { _hold: self } } else { Departure::OthersRemain })
    }
}

/// What giving back a share found.
#[derive(Debug)]
pub(crate) enum Departure {
    /// Nobody else uses the cluster; so it stays while this is held.
    Last { _hold: Share },
    /// Somebody else does.
    OthersRemain,
}

/// Whether anybody holds a share now; for showing only, it may change at once. Looks from behind
/// the gate, so that its own short hold misleads nobody who opens or closes.
pub(crate) fn is_in_use(gate: &Path, users: &Path) -> bool {
    let (Ok(gate), Ok(users)) = (File::open(gate), File::open(users)) else { return false };
    if flock(&gate, FlockOperation::NonBlockingLockExclusive).is_err() {
        return true;
    }
    flock(&users, FlockOperation::NonBlockingLockExclusive).is_err()
}

fn try_hold(file: &File, operation: FlockOperation, path: &Path) -> Result<bool, ClusterError> {
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(source) => return Err(ClusterError::io("locking", path, source.into())),
        }
    }
}

fn open(path: &Path) -> Result<File, ClusterError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| ClusterError::io("opening the lock file", path, source))
}
