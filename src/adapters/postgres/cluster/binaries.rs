//! Finds the PostgreSQL programs of this machine.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::adapters::postgres::cluster::error::ClusterError;

/// Oldest major version `spark` runs on.
pub const MAJOR_MIN: u32 = 14;
/// Newest major version `spark` runs on.
pub const MAJOR_MAX: u32 = 18;
/// Where Debian and Ubuntu put each major version: `/usr/lib/postgresql/15/bin`.
const DEBIAN_ROOT: &str = "/usr/lib/postgresql";
/// Programs a folder must hold to count as an installation.
const PROGRAMS: [&str; 6] = ["postgres", "initdb", "pg_ctl", "pg_dump", "pg_restore", "psql"];

/// The folder that holds the programs of one PostgreSQL version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
    major: u32,
}

impl Binaries {
    /// Finds every supported installation, newest first: Debian's folders, then `search_path`
    /// (the value of `PATH`).
    pub fn find_all(search_path: &OsStr) -> Vec<Self> {
        let mut found: Vec<Self> =
            candidates(search_path).into_iter().filter(Self::is_supported).collect();
        found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
        found
    }

    /// Finds the newest supported installation.
    ///
    /// # Errors
    /// [`ClusterError::NotInstalled`], which names the package to install.
    pub fn find(search_path: &OsStr) -> Result<Self, ClusterError> {
        let all = candidates(search_path);
        let seen = all.iter().map(|binaries| binaries.major).collect();
        all.into_iter()
            .filter(Self::is_supported)
            .max_by_key(|binaries| binaries.major)
            .ok_or(ClusterError::NotInstalled { seen })
    }

    /// Major version, such as 15.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Folder of the programs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Full path of one program.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A command that inherits nothing of our environment: a stray `PGDATA`, `PGOPTIONS` or
    /// `PGSERVICE` must not lead it elsewhere, and its messages must be in English to be read.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.program(name));
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .current_dir("/");
        command
    }

    fn is_supported(&self) -> bool {
        (MAJOR_MIN..=MAJOR_MAX).contains(&self.major)
    }
}

/// Every installation, supported or not, without repeats.
fn candidates(search_path: &OsStr) -> Vec<Binaries> {
    let debian = fs::read_dir(DEBIAN_ROOT)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"));
    let mut found: Vec<Binaries> = Vec::new();
    for folder in debian.chain(std::env::split_paths(search_path)) {
        if !folder.is_absolute() || !PROGRAMS.iter().all(|name| folder.join(name).is_file()) {
            continue;
        }
        // `/usr/bin` may hold links into a version's folder; `postgres` looks beside itself.
        let Ok(folder) = folder.canonicalize() else { continue };
        if found.iter().any(|known| known.folder == folder) {
            continue;
        }
        if let Some(major) = major_of(&folder) {
            found.push(Binaries { folder, major });
        }
    }
    found
}

fn major_of(folder: &Path) -> Option<u32> {
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    parse_major(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)` or `… 18beta1`.
fn parse_major(text: &str) -> Option<u32> {
    let version = text.split("(PostgreSQL)").nth(1)?.trim_start();
    let digits = version.len() - version.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    version[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse_major;

    #[track_caller]
    fn check(text: &str, expected: Option<u32>) {
        assert_eq!(parse_major(text), expected);
    }

    #[test]
    fn the_major_version_is_read_from_what_postgres_says() {
        check("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n", Some(15));
        check("postgres (PostgreSQL) 18beta1\n", Some(18));
        check("postgres (EnterpriseDB) 15\n", None);
        check("", None);
    }
}
