//! Makes a new cluster: `initdb` in a folder with a name of its own, then one rename.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::adapters::postgres::cluster::account::Account;
use crate::adapters::postgres::cluster::binaries::Binaries;
use crate::adapters::postgres::cluster::error::{ClusterError, tells_of_full_disk};
use crate::adapters::postgres::cluster::place::{Home, sync_folder, write_atomically};
use crate::adapters::postgres::cluster::processes::until;

/// PostgreSQL role of `spark`; it owns the private cluster.
pub(crate) const ROLE: &str = "spark";
/// Free bytes a new cluster needs: about 40 MB of catalogs, 64 MB of write-ahead log, and room
/// for a first import.
pub(crate) const FREE_BYTES_MIN: u64 = 256 * 1024 * 1024;
/// Longest creation, on a slow disk.
pub(crate) const INIT_WAIT_MAX: Duration = Duration::from_mins(2);
/// Bytes of what `initdb` said that an error quotes.
const OUTPUT_BYTES_MAX: usize = 1500;

/// Creates the cluster in `home`. A kill at any point leaves either no cluster or a whole one.
pub(crate) fn create(
    home: &Home,
    account: Account,
    binaries: &Binaries,
    password: &str,
) -> Result<(), ClusterError> {
    clear_unfinished(home);
    check_room(home.folder())?;
    let making = home.new_unfinished();
    Home::make_private(&making, account)?;
    let data = making.join("pgdata");
    let password_file = making.join("password");
    write_atomically(&password_file, password.as_bytes(), 0o600)?;
    account.give(&password_file)?;
    run_initdb(&data, &password_file, account, binaries)?;
    fs::rename(&data, home.pgdata())
        .and_then(|()| sync_folder(home.folder()))
        .map_err(|source| ClusterError::io("finishing the new database", &data, source))?;
    clear_unfinished(home);
    Ok(())
}

/// Removes what killed creations left.
pub(crate) fn clear_unfinished(home: &Home) {
    for folder in home.unfinished() {
        // An `initdb` that outlives its spark may still write there: the next start removes it.
        if let Err(error) = fs::remove_dir_all(&folder) {
            tracing::warn!(%error, folder = %folder.display(), "cannot remove an unfinished database yet");
        }
    }
}

fn run_initdb(
    data: &Path,
    password_file: &Path,
    account: Account,
    binaries: &Binaries,
) -> Result<(), ClusterError> {
    let mut command = binaries.command("initdb");
    command
        .arg("--pgdata")
        .arg(data)
        .arg("--pwfile")
        .arg(password_file)
        .args(["--username", ROLE])
        .args(["--auth", "scram-sha-256"])
        .args(["--encoding", "UTF8", "--locale", "C.UTF-8"])
        .args(["--data-checksums", "--no-instructions"])
        // In a group of its own: Ctrl-C means us, and we finish this first.
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    account.apply(&mut command);
    let failed = |source| ClusterError::io("running initdb", binaries.folder(), source);
    let mut child = command.spawn().map_err(failed)?;
    let mut ended = Ok(None);
    // What it says fits the pipes.
    let in_time = until(INIT_WAIT_MAX, || {
        ended = child.try_wait();
        !matches!(ended, Ok(None))
    });
    ended.map_err(failed)?;
    if !in_time {
        let group = Pid::from_child(&child);
        kill_process_group(group, Signal::KILL).map_err(|source| failed(source.into()))?;
        child.wait().map_err(failed)?;
        return Err(ClusterError::TimedOut { doing: "running initdb", limit: INIT_WAIT_MAX });
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said[said.len().saturating_sub(OUTPUT_BYTES_MAX)..]);
    if tells_of_full_disk(&said) {
        let path = data.to_path_buf();
        return Err(ClusterError::DiskFull { path, doing: "creating the database" });
    }
    Err(ClusterError::InitFailed { folder: data.to_path_buf(), output: said.trim().to_owned() })
}

fn check_room(folder: &Path) -> Result<(), ClusterError> {
    let stat = rustix::fs::statvfs(folder)
        .map_err(|source| ClusterError::io("measuring the disk", folder, source.into()))?;
    if stat.f_bavail.saturating_mul(stat.f_frsize) >= FREE_BYTES_MIN {
        return Ok(());
    }
    Err(ClusterError::DiskFull {
        path: folder.to_path_buf(),
        doing: "creating the database (it needs 256 MB)",
    })
}
