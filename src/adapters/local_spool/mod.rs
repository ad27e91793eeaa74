//! The spool in a local folder: append-only files with a checksum on each record, readable after a torn tail.
//!
//! A file is written by one process run and read from its start; what was stored elsewhere before a crash comes again, and
//! the inbox drops it. Every step holds the folder's lock, so that a command beside the server can erase a viewer.

mod segment;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::domain::audience::notice::Notice;
use crate::ports::PortError;
use crate::ports::spool::{Held, Mark, SPOOL_BYTES_MAX, Spool, SpoolError};

/// A file this long is followed by the next, so that what is stored elsewhere leaves the disk.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;

/// A spool in a folder.
#[derive(Clone)]
pub struct LocalSpool {
    folder: PathBuf,
    state: Arc<Mutex<State>>,
}

/// Where this process stands.
#[derive(Default)]
struct State {
    /// The file written to; the first write after the start begins a new one, behind any torn tail.
    writes: Option<u64>,
    reads: Option<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    segment: u64,
    inode: u64,
    offset: u64,
}

impl LocalSpool {
    /// Opens (and makes) the folder.
    pub fn open(folder: &Path) -> Result<Self, PortError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|e| fault("open the spool", folder, e))?;
        Ok(Self { folder: folder.to_owned(), state: Arc::default() })
    }

    async fn with_lock<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self, &mut State) -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<T, SpoolError> {
        let spool = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut state = spool.state.lock().unwrap_or_else(PoisonError::into_inner);
            let path = spool.folder.join("lock");
            let lock = File::create(&path).map_err(|e| fault("open the spool's lock", &path, e))?;
            lock.lock().map_err(|e| fault("wait for the spool's lock", &path, e))?;
            work(&spool, &mut state)
        });
        done.await.map_err(|e| SpoolError::Port(PortError::passing("work on the spool", e)))?
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.folder.join(format!("{segment:020}.spool"))
    }

    /// The files' numbers, oldest first, with their bytes.
    fn segments(&self) -> Result<Vec<(u64, u64)>, PortError> {
        let entries = std::fs::read_dir(&self.folder)
            .map_err(|e| fault("read the spool", &self.folder, e))?;
        let mut segments: Vec<(u64, u64)> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let number = name.strip_suffix(".spool")?.parse().ok()?;
                Some((number, entry.metadata().ok()?.len()))
            })
            .collect();
        segments.sort_unstable();
        Ok(segments)
    }

    fn put_now(&self, state: &mut State, notices: &[Notice]) -> Result<(), SpoolError> {
        let segments = self.segments()?;
        let held: u64 = segments.iter().map(|(_, bytes)| bytes).sum();
        if held >= SPOOL_BYTES_MAX {
            return Err(SpoolError::Full { held });
        }
        // Never a number that was read: a place in a file must not be one in its namesake.
        let newest = segments.last().map_or(0, |(number, _)| *number);
        let newest = newest.max(state.writes.unwrap_or(0));
        let fits = |number: &u64| {
            segments.iter().any(|(n, bytes)| n == number && *bytes < SEGMENT_BYTES_MAX)
        };
        let segment = state.writes.filter(fits).unwrap_or(newest + 1);
        let path = self.path(segment);
        let is_new = !path.exists();
        let mut bytes = Vec::new();
        for notice in notices {
            bytes.extend(segment::record(notice).map_err(|e| fault("write a notice", &path, e))?);
        }
        segment::append(&path, &bytes).map_err(|e| fault("write to the spool", &path, e))?;
        if is_new {
            self.flush_names()?;
        }
        state.writes = Some(segment);
        Ok(())
    }

    fn oldest_now(&self, state: &mut State, limit: usize) -> Result<Held, PortError> {
        for (segment, _) in self.segments()? {
            let path = self.path(segment);
            let failed = |e| fault("read the spool", &path, e);
            let inode = segment::inode(&path).map_err(failed)?;
            // A file that was written anew is read from its start.
            let place = state.reads.filter(|at| at.segment == segment && at.inode == inode);
            let from = place.map_or(0, |at| at.offset);
            let found = segment::read(&path, from, limit).map_err(failed)?;
            if found.torn > 0 {
                let path = path.display();
                tracing::warn!(bytes = found.torn, %path, "torn or damaged records in the spool are left out");
            }
            state.reads = Some(Place { segment, inode, offset: from });
            if found.notices.is_empty() && found.is_end {
                self.remove(segment)?;
                continue;
            }
            let mark = Mark { segment, offset: found.offset };
            return Ok(Held { notices: found.notices, mark: Some(mark) });
        }
        Ok(Held::default())
    }

    fn done_now(&self, state: &mut State, mark: Mark) -> Result<(), PortError> {
        let Some(place) = state.reads.as_mut().filter(|at| at.segment == mark.segment) else {
            return Ok(());
        };
        let path = self.path(mark.segment);
        let Ok(inode) = segment::inode(&path) else { return Ok(()) };
        if inode != place.inode {
            // Written anew meanwhile: what was read comes again, and is dropped as heard.
            return Ok(());
        }
        place.offset = mark.offset;
        let found =
            segment::read(&path, mark.offset, 1).map_err(|e| fault("read the spool", &path, e))?;
        if found.notices.is_empty() && found.is_end {
            self.remove(mark.segment)?;
        }
        Ok(())
    }

    fn erase_now(&self, viewer_id: &str) -> Result<u64, PortError> {
        let mut erased = 0;
        for (segment, _) in self.segments()? {
            let path = self.path(segment);
            let failed = |e| fault("erase a viewer from the spool", &path, e);
            let found = segment::read(&path, 0, usize::MAX).map_err(failed)?;
            let (gone, kept): (Vec<Notice>, Vec<Notice>) =
                found.notices.into_iter().partition(|notice| notice.names(viewer_id));
            if gone.is_empty() && found.torn == 0 {
                continue;
            }
            // A torn record may hold half a name: it goes too.
            let anew = path.with_extension("anew");
            let written = || -> std::io::Result<()> {
                let mut file = File::options()
                    .create(true)
                    .truncate(true)
                    .write(true)
                    .mode(0o600)
                    .open(&anew)?;
                for notice in &kept {
                    file.write_all(&segment::record(notice)?)?;
                }
                file.sync_all()?;
                std::fs::rename(&anew, &path)
            };
            written().map_err(failed)?;
            self.flush_names()?;
            erased += gone.len() as u64;
        }
        Ok(erased)
    }

    fn remove(&self, segment: u64) -> Result<(), PortError> {
        let path = self.path(segment);
        std::fs::remove_file(&path).map_err(|e| fault("remove a file of the spool", &path, e))
    }

    /// Flushes the folder's own entries, so that a new file has its name after a power loss.
    fn flush_names(&self) -> Result<(), PortError> {
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|e| fault("flush the spool's folder", &self.folder, e))
    }
}

#[async_trait]
impl Spool for LocalSpool {
    async fn put(&self, notices: Vec<Notice>) -> Result<(), SpoolError> {
        self.with_lock(move |spool, state| spool.put_now(state, &notices)).await
    }

    async fn oldest(&self, limit: usize) -> Result<Held, PortError> {
        plain(self.with_lock(move |spool, state| Ok(spool.oldest_now(state, limit)?)).await)
    }

    async fn done(&self, mark: Mark) -> Result<(), PortError> {
        plain(self.with_lock(move |spool, state| Ok(spool.done_now(state, mark)?)).await)
    }

    async fn is_empty(&self) -> Result<bool, PortError> {
        plain(self.with_lock(|spool, _| Ok(spool.segments()?.is_empty())).await)
    }

    async fn erase_viewer(&self, viewer_id: &str) -> Result<u64, PortError> {
        let viewer_id = viewer_id.to_owned();
        plain(self.with_lock(move |spool, _| Ok(spool.erase_now(&viewer_id)?)).await)
    }
}

/// Only a put finds the spool full.
fn plain<T>(outcome: Result<T, SpoolError>) -> Result<T, PortError> {
    outcome.map_err(|error| match error {
        SpoolError::Port(error) => error,
        full @ SpoolError::Full { .. } => PortError::passing("work on the spool", full),
    })
}

fn fault(doing: &str, path: &Path, error: std::io::Error) -> PortError {
    PortError::passing(format!("{doing} `{}`", path.display()), error)
}
