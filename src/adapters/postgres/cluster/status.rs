//! What `spark doctor` says about the private PostgreSQL; looks, changes nothing.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::adapters::postgres::cluster::binaries::Binaries;
use crate::adapters::postgres::cluster::error::ClusterError;
use crate::adapters::postgres::cluster::place::{Home, Place};
use crate::adapters::postgres::cluster::processes::{Phase, Presence, look};
use crate::adapters::postgres::cluster::{Cluster, locks, major_of};

/// The private PostgreSQL as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Supported installations, newest first.
    pub installed: Vec<Binaries>,
    /// What there is.
    pub state: ClusterState,
    /// Whether a spark uses it now.
    pub is_in_use: bool,
    /// Folders of clusters whose data folder is gone, for a person to look at and remove.
    pub abandoned: Vec<PathBuf>,
}

/// What there is in the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterState {
    /// Nothing yet, or a creation that was interrupted: the next start makes it.
    Absent,
    /// A finished cluster, no server.
    Stopped {
        /// Folder of the cluster.
        pgdata: PathBuf,
        /// Major version that made it.
        major: u32,
    },
    /// A finished cluster with a server.
    Running {
        /// Folder of the cluster.
        pgdata: PathBuf,
        /// Major version that made it.
        major: u32,
        /// Process of the server.
        pid: i32,
        /// Whether it takes connections.
        is_ready: bool,
    },
    /// The server died and left processes; the next start ends them.
    Orphaned {
        /// Folder of the cluster.
        pgdata: PathBuf,
        /// Those processes.
        pids: Vec<i32>,
    },
}

impl Cluster {
    /// Looks at the private PostgreSQL of `data_dir`. `search_path` is the value of `PATH`.
    ///
    /// # Errors
    /// The same as [`Cluster::open`] has for a folder it cannot use; each says what to do.
    pub fn status(data_dir: &Path, search_path: &OsStr) -> Result<ClusterStatus, ClusterError> {
        let place = Place::find(data_dir)?;
        let state = place.as_ref().map_or(Ok(ClusterState::Absent), state_of)?;
        let is_in_use =
            place.as_ref().is_some_and(|place| locks::is_in_use(&place.gate(), &place.users()));
        Ok(ClusterStatus {
            installed: Binaries::find_all(search_path),
            state,
            is_in_use,
            abandoned: Home::abandoned(),
        })
    }
}

fn state_of(place: &Place) -> Result<ClusterState, ClusterError> {
    place.check_format()?;
    let Some(home) = place.find_home()?.filter(Home::is_finished) else {
        return Ok(ClusterState::Absent);
    };
    let (pgdata, major) = (home.pgdata(), major_of(&home)?);
    Ok(match look(&home) {
        Presence::Nobody => ClusterState::Stopped { pgdata, major },
        Presence::Orphans(pids) => ClusterState::Orphaned { pgdata, pids },
        Presence::Server { pid, says } => {
            let is_ready = says.is_some_and(|says| says.phase == Phase::Ready);
            ClusterState::Running { pgdata, major, pid, is_ready }
        }
    })
}
