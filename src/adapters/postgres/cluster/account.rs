//! Which operating-system account the server runs under: PostgreSQL refuses to run as root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::adapters::postgres::cluster::error::ClusterError;

/// Accounts tried in this order when we are root.
const SERVER_ACCOUNTS: [&str; 2] = ["postgres", "nobody"];
/// Where accounts are listed.
const ACCOUNTS_FILE: &str = "/etc/passwd";

/// The account of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Whether it is another one than ours, which only root can arrange.
    pub(crate) is_other: bool,
}

impl Account {
    /// Chooses the account for a new cluster.
    pub(crate) fn choose() -> Result<Self, ClusterError> {
        let uid = rustix::process::geteuid().as_raw();
        if uid != 0 {
            return Ok(Self { uid, gid: rustix::process::getegid().as_raw(), is_other: false });
        }
        let accounts = fs::read_to_string(ACCOUNTS_FILE).map_err(|source| {
            ClusterError::io("reading accounts", Path::new(ACCOUNTS_FILE), source)
        })?;
        SERVER_ACCOUNTS
            .iter()
            .find_map(|name| look_up(&accounts, name))
            .map(|(uid, gid)| Self { uid, gid, is_other: true })
            .ok_or(ClusterError::NoServerAccount)
    }

    /// The account of a finished cluster is whoever owns it: root may open the folder of an
    /// ordinary user, and must not leave files there which that user cannot read.
    pub(crate) fn of_owner(folder: &Path) -> Result<Self, ClusterError> {
        let metadata = fs::metadata(folder)
            .map_err(|source| ClusterError::io("reading the database folder", folder, source))?;
        let own = rustix::process::geteuid().as_raw();
        if metadata.uid() == own && own != 0 {
            return Ok(Self { uid: own, gid: metadata.gid(), is_other: false });
        }
        if own != 0 {
            return Err(ClusterError::PermissionDenied {
                path: folder.to_path_buf(),
                doing: "opening the database of another user",
            });
        }
        if metadata.uid() == 0 {
            return Err(ClusterError::UnusablePath {
                path: folder.to_path_buf(),
                why: "it belongs to root, and PostgreSQL refuses to run as root",
            });
        }
        Ok(Self { uid: metadata.uid(), gid: metadata.gid(), is_other: true })
    }

    /// Makes a command run under this account.
    pub(crate) fn apply(self, command: &mut Command) {
        if self.is_other {
            command.gid(self.gid).uid(self.uid);
        }
    }

    /// Hands a file or folder we just made to this account.
    pub(crate) fn give(self, path: &Path) -> Result<(), ClusterError> {
        if !self.is_other {
            return Ok(());
        }
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid))
            .map_err(|source| ClusterError::io("handing a file to the server's user", path, source))
    }
}

/// Finds `name:x:uid:gid:…`; an account with uid 0 is root by another name and does not count.
fn look_up(accounts: &str, name: &str) -> Option<(u32, u32)> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (found, _password) = (fields.next()?, fields.next()?);
        let uid: u32 = fields.next()?.parse().ok()?;
        let gid: u32 = fields.next()?.parse().ok()?;
        (found == name && uid != 0).then_some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::look_up;

    #[test]
    fn an_account_is_found_by_its_whole_name_and_never_root() {
        let accounts = "postgresql:x:7:7::/:/bin/sh\npostgres:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n";

        assert_eq!(look_up(accounts, "postgres"), None);
        assert_eq!(look_up(accounts, "nobody"), Some((65534, 65534)));
    }
}
