//! The DVR in a local folder: `<camera>/<day>/<time>-<recording>-<file>.mp4`, each with its index beside it.
//!
//! A part is written, forced to the disk, then told in the index. A crash costs the open part; whatever is torn is cut off
//! when the folder is next opened, and only that.

mod index;
mod mp4;
mod places;
mod reading;
mod reserve;
mod scan;
mod writing;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use crate::adapters::local_dvr::reserve::Reserve;
use crate::adapters::local_dvr::writing::{LocalRecording, Writer};
use crate::ports::PortError;
use crate::ports::dvr::{Dvr, DvrError, Recording, Space, Start, Stretch};

pub use reading::LocalFootage;

/// The writing side of a folder. One process at a time: whoever opens it holds a lock of its own.
#[derive(Clone)]
pub struct LocalDvr {
    folder: PathBuf,
    reserve: Arc<Reserve>,
}

/// What a mended folder was like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mended {
    /// Files that were not closed in order.
    pub files: usize,
    /// Bytes behind their last whole part, cut off.
    pub cut_bytes: u64,
    /// Files without a single whole part, removed.
    pub removed: usize,
}

/// What a rebuilt index was like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reindexed {
    pub files: usize,
    pub parts: usize,
    /// Files whose index said something else.
    pub differing: usize,
}

impl LocalDvr {
    /// Opens (and makes) the folder, mends what a crash left, and keeps `reserve_bytes` of the disk back for the hour when it
    /// is full; fewer on a small disk.
    pub fn open(folder: &Path, reserve_bytes: u64) -> Result<Self, PortError> {
        std::fs::create_dir_all(folder).map_err(|e| fault("make the folder", folder, e))?;
        let mended =
            places::mend(folder).map_err(|e| fault("mend the recordings in", folder, e))?;
        if mended != Mended::default() {
            tracing::warn!(
                files = mended.files,
                cut_bytes = mended.cut_bytes,
                removed = mended.removed,
                "mended what a crash left"
            );
        }
        let reserve = Reserve::keep(folder, reserve_bytes);
        Ok(Self { folder: folder.to_owned(), reserve: Arc::new(reserve) })
    }

    /// Makes every index anew from its file. Nothing may be recording there.
    pub fn reindex(folder: &Path) -> Result<Reindexed, PortError> {
        places::reindex(folder).map_err(|e| fault("index the recordings in", folder, e))
    }
}

#[async_trait]
impl Dvr for LocalDvr {
    async fn begin(&self, start: Start) -> Result<Box<dyn Recording>, DvrError> {
        let writer = Writer::new(self.folder.clone(), start, self.reserve.clone());
        Ok(Box::new(LocalRecording::new(writer)))
    }

    fn space(&self) -> Space {
        self.reserve.space()
    }

    async fn stretches(&self) -> Result<Vec<Stretch>, PortError> {
        on_thread(&self.folder, "list the recordings in", places::stretches).await
    }

    async fn remove(&self, stretch: &Stretch) -> Result<u64, PortError> {
        let stretch = *stretch;
        on_thread(&self.folder, "remove a recording in", move |folder| {
            places::remove_stretch(folder, &stretch)
        })
        .await
    }
}

/// Works on files of the folder without holding others up.
async fn on_thread<T: Send + 'static>(
    folder: &Path,
    doing: &'static str,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, PortError> {
    let place = folder.to_owned();
    tokio::task::spawn_blocking(move || work(&place))
        .await
        .map_err(|error| PortError::lasting(doing, error))?
        .map_err(|error| fault(doing, folder, error))
}

fn fault(doing: &str, path: &Path, source: io::Error) -> PortError {
    PortError::passing(format!("{doing} `{}`", path.display()), source)
}
