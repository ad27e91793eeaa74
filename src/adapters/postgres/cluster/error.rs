//! What can go wrong with the private PostgreSQL, each with what the person can do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::adapters::postgres::cluster::binaries::{MAJOR_MAX, MAJOR_MIN};

/// Why the private PostgreSQL could not be found, opened or closed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No usable PostgreSQL on this machine.
    #[error(
        "no PostgreSQL {MAJOR_MIN} to {MAJOR_MAX} found{}: install Debian's package with `apt-get install postgresql` (or set DATABASE_URL to use a server you have)",
        seen_note(seen)
    )]
    NotInstalled {
        /// Major versions that are installed and not supported.
        seen: Vec<u32>,
    },

    /// The folder was written by another major version than any that is installed.
    #[error(
        "the database in `{folder}` was made by PostgreSQL {major} and this machine has {}: install `postgresql-{major}`, or move the data with `spark backup` there and `spark restore` here",
        list(installed)
    )]
    OtherMajor {
        /// The finished cluster.
        folder: PathBuf,
        /// Its major version.
        major: u32,
        /// Supported major versions that are installed.
        installed: Vec<u32>,
    },

    /// The data folder was written by a newer `spark`; nothing was touched.
    #[error(
        "`{file}` says format {found}, written by {written_by}; this spark knows format {known} at most: use that newer spark, nothing was changed"
    )]
    NewerFolder {
        /// The version file.
        file: PathBuf,
        /// Format it names.
        found: u32,
        /// Newest format this program knows.
        known: u32,
        /// Who says to have written it.
        written_by: String,
    },

    /// The database holds migrations this program does not know; nothing was touched.
    #[error(
        "the database has {} this spark does not know (first: {}): it was used by a newer spark, use that one; nothing was changed",
        count(unknown.len(), "migration"),
        unknown.first().copied().unwrap_or_default()
    )]
    NewerSchema {
        /// Versions of the unknown migrations, ascending.
        unknown: Vec<i64>,
    },

    /// A file of ours is there and does not say what it should.
    #[error("`{file}` is damaged ({why}): put it back from a copy of the data folder")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },

    /// The cluster is there and its password is not.
    #[error(
        "the database in `{folder}` is there but its password file `{file}` is missing: put the file back from a copy of the data folder"
    )]
    PasswordMissing {
        /// The password file.
        file: PathBuf,
        /// The finished cluster.
        folder: PathBuf,
    },

    /// The server runs and refuses the stored password.
    #[error(
        "PostgreSQL refuses the password in `{file}`: put back the file that belongs to this data folder"
    )]
    PasswordRefused {
        /// The password file.
        file: PathBuf,
    },

    /// The pointer file leads to a folder that is gone.
    #[error(
        "`{pointer}` says the database is in `{home}`, which does not exist: put that folder back, or remove `{}` to start with an empty database",
        parent(pointer).display()
    )]
    HomeGone {
        /// The pointer file in the data folder.
        pointer: PathBuf,
        /// Where it points.
        home: PathBuf,
    },

    /// The data folder is a copy of another one that is still there and owns the database.
    #[error(
        "the database in `{home}` belongs to the data folder `{owner}`; `{data_dir}` looks like a copy of it: use `spark backup` and `spark restore` to copy a database"
    )]
    OwnedByOther {
        /// Where the cluster lives.
        home: PathBuf,
        /// The data folder it belongs to.
        owner: PathBuf,
        /// The data folder that was opened.
        data_dir: PathBuf,
    },

    /// Somebody answers on the socket whom this process cannot see.
    #[error(
        "a PostgreSQL this process cannot see already serves `{folder}` (another container?): stop it first"
    )]
    HeldElsewhere {
        /// The finished cluster.
        folder: PathBuf,
    },

    /// No account to run PostgreSQL under although we are root.
    #[error(
        "PostgreSQL refuses to run as root and neither user `postgres` nor `nobody` exists: create one, or start spark as an ordinary user"
    )]
    NoServerAccount,

    /// The path cannot be used for a cluster.
    #[error("`{}` cannot hold a database: {why}", path.display())]
    UnusablePath {
        /// The path.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },

    /// No room left.
    #[error("the disk of `{}` is full while {doing}: free some space and start again", path.display())]
    DiskFull {
        /// A path on that disk.
        path: PathBuf,
        /// What was going on.
        doing: &'static str,
    },

    /// Not allowed.
    #[error("permission denied on `{}` while {doing}: run spark as the user who made the data folder, or give yourself access to it", path.display())]
    PermissionDenied {
        /// The path.
        path: PathBuf,
        /// What was going on.
        doing: &'static str,
    },

    /// Any other failure of the file system or of starting a program.
    #[error("{doing} failed on `{}`", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What was going on.
        doing: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },

    /// `initdb` gave up.
    #[error("initdb could not create the database in `{}`: {output}", folder.display())]
    InitFailed {
        /// Where it tried.
        folder: PathBuf,
        /// The end of what it said.
        output: String,
    },

    /// The server gave up while starting.
    #[error("PostgreSQL did not start; the end of its log in `{}`: {tail}", log.display())]
    StartFailed {
        /// The log folder.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },

    /// Something took longer than its limit.
    #[error("{doing} took longer than {} s", limit.as_secs())]
    TimedOut {
        /// What was waited for.
        doing: &'static str,
        /// The limit.
        limit: Duration,
    },

    /// The server is ready but a query of ours failed.
    #[error("PostgreSQL answered with an error while {doing}")]
    Query {
        /// What was going on.
        doing: &'static str,
        /// The driver's reason.
        #[source]
        source: sqlx::Error,
    },
}

impl ClusterError {
    /// Sorts an IO error by what the person can do about it.
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, doing }
            }
            io::ErrorKind::PermissionDenied => Self::PermissionDenied { path, doing },
            _ => Self::Io { path, doing, source },
        }
    }
}

/// Whether the last words of a PostgreSQL program tell of a full disk.
pub(crate) fn tells_of_full_disk(output: &str) -> bool {
    output.contains("No space left on device") || output.contains("Disk quota exceeded")
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn list(majors: &[u32]) -> String {
    if majors.is_empty() {
        return "no supported PostgreSQL".to_owned();
    }
    let names: Vec<String> = majors.iter().map(|m| format!("PostgreSQL {m}")).collect();
    names.join(", ")
}

fn seen_note(seen: &[u32]) -> String {
    if seen.is_empty() {
        return String::new();
    }
    let names: Vec<String> = seen.iter().map(u32::to_string).collect();
    format!(" (found only {})", names.join(", "))
}
