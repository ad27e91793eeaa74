//! The media store in a local folder. A file is written under a temporary name, flushed to disk, then renamed:
//! it is there whole or not at all. Names are made of the content, so the same bytes are kept once.

use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::domain::media::{MediaKey, MediaObject};
use crate::ports::PortError;
use crate::ports::media_store::{FREE_BYTES_KEPT, Incoming, MediaStore, StoreError};

/// Folder of files on their way in, and of work in progress.
const WORK_FOLDER: &str = ".work";
/// Folder of chat files: each goes once its import is done, or after a week.
const CHATS_FOLDER: &str = "chats";
/// First part of the names in there: a file on its way in, work in progress, a copy that can be gone on with.
const INCOMING: &str = "incoming";
const WORK: &str = "work";
const RESUME: &str = "resume";
/// How long an interrupted copy is kept.
const RESUME_KEPT: std::time::Duration = std::time::Duration::from_hours(168);
/// Bytes read at a time when a finished file is hashed.
const HASH_CHUNK: usize = 1024 * 1024;

/// A folder that holds media.
#[derive(Debug, Clone)]
pub struct LocalStore {
    root: PathBuf,
    /// Bytes that others will need.
    reserved: Arc<AtomicU64>,
}

impl LocalStore {
    /// Opens (and makes) the folder.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        // What comes in holds names and words of people: it is for its owner alone.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root.join(WORK_FOLDER))
            .map_err(|e| fault("open the media folder", root, e))?;
        Ok(Self { root: root.to_owned(), reserved: Arc::default() })
    }

    /// Removes what processes that are gone left unfinished, and what an earlier process with our own number did (in a
    /// container it is always 1). For the start, before anything is under way.
    pub fn clear_leftovers(&self) -> Result<(), StoreError> {
        self.clear(&|path| {
            owner_of(path).is_some_and(|pid| {
                pid == std::process::id() || !Path::new("/proc").join(pid.to_string()).exists()
            })
        })?;
        self.clear_old()
    }

    /// Removes interrupted copies and chat files that nobody touched for a week. For any time.
    pub fn clear_old(&self) -> Result<(), StoreError> {
        let chats = self.root.join(CHATS_FOLDER);
        self.clear(&|path| (path.starts_with(&chats) || is_resumable(path)) && is_old(path))
    }

    fn clear(&self, goes: &dyn Fn(&Path) -> bool) -> Result<(), StoreError> {
        let folders = [self.root.join(WORK_FOLDER), self.root.join(CHATS_FOLDER)];
        let read = |folder: &Path| match std::fs::read_dir(folder) {
            Ok(entries) => Ok(Some(entries)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault("read", folder, error)),
        };
        let entries = read(&folders[0])?.into_iter().chain(read(&folders[1])?).flatten();
        for entry in entries.flatten() {
            let path = entry.path();
            if !goes(&path) {
                continue;
            }
            let removed = if path.is_dir() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            // One that is not ours to remove is no reason to stop.
            if let Err(error) = removed {
                tracing::warn!(%error, path = %path.display(), "could not remove a leftover");
            }
        }
        Ok(())
    }

    fn path_of(&self, key: &MediaKey) -> PathBuf {
        self.root.join(key.as_str())
    }

    fn free(&self) -> Result<(u64, u64), StoreError> {
        let stat = rustix::fs::statvfs(&self.root)
            .map_err(|e| fault("measure the disk", &self.root, e.into()))?;
        Ok((stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize))
    }

    /// Room for what comes in: it leaves what recordings under way will need.
    fn make_room(&self, bytes: u64) -> Result<(), StoreError> {
        self.has_room(bytes.saturating_add(self.reserved.load(Ordering::Relaxed)))
    }

    fn has_room(&self, bytes: u64) -> Result<(), StoreError> {
        let (free, _) = self.free()?;
        let needed = bytes.saturating_add(FREE_BYTES_KEPT);
        if free < needed { Err(StoreError::DiskFull { needed, free }) } else { Ok(()) }
    }

    /// Gives a flushed temporary file its place; the folder's entry is flushed too.
    fn settle(
        &self,
        file: &Path,
        folder: &str,
        extension: &str,
        sha256: String,
        bytes: u64,
    ) -> Result<MediaObject, StoreError> {
        let key = MediaKey::try_new(format!("{folder}/{sha256}.{extension}"))
            .map_err(|e| StoreError::Port(PortError::lasting("name a media file", e)))?;
        let path = self.path_of(&key);
        let parent = path.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(parent).map_err(|e| fault("make a media folder", parent, e))?;
        std::fs::rename(file, &path).map_err(|e| fault("place a media file", &path, e))?;
        std::fs::File::open(parent)
            .and_then(|entry| entry.sync_all())
            .map_err(|e| fault("flush a folder", parent, e))?;
        Ok(MediaObject { key, bytes, sha256 })
    }
}

/// The process whose unfinished work this is, by its name.
fn owner_of(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_string_lossy();
    let mut parts = name.splitn(3, '-');
    matches!(parts.next(), Some(INCOMING | WORK)).then(|| parts.next()?.parse().ok())?
}

/// Whether this is a copy that can be gone on with.
fn is_resumable(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(RESUME))
}

/// Nobody touched it for longer than [`RESUME_KEPT`].
fn is_old(path: &Path) -> bool {
    std::fs::metadata(path)
        .and_then(|meta| meta.modified())
        .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > RESUME_KEPT))
}

fn fault(doing: &str, path: &Path, error: std::io::Error) -> StoreError {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return StoreError::DiskFull { needed: FREE_BYTES_KEPT, free: 0 };
    }
    StoreError::Port(PortError::passing(format!("{doing} `{}`", path.display()), error))
}

struct LocalIncoming {
    store: LocalStore,
    temporary: PathBuf,
    file: Option<tokio::fs::File>,
    hash: Sha256,
    bytes: u64,
    checked: u64,
    /// An interrupted copy stays, to be gone on with.
    kept: bool,
}

/// Bytes written between two looks at the free space, when the size was not known.
const ROOM_CHECK_BYTES: u64 = 64 * 1024 * 1024;

#[async_trait]
impl Incoming for LocalIncoming {
    async fn write(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        if self.bytes >= self.checked + ROOM_CHECK_BYTES {
            self.store.make_room(0)?;
            self.checked = self.bytes;
        }
        let Some(file) = &mut self.file else {
            return Err(StoreError::Port(PortError::plain("write to a file that is finished")));
        };
        file.write_all(chunk).await.map_err(|e| fault("write", &self.temporary, e))?;
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    async fn discard(mut self: Box<Self>) {
        self.kept = false;
    }

    async fn finish(
        mut self: Box<Self>,
        folder: &str,
        extension: &str,
    ) -> Result<MediaObject, StoreError> {
        // The file, and with it the lock of a resumable copy, is held until the name has changed.
        let mut held = self.file.take();
        if let Some(file) = &mut held {
            file.flush().await.map_err(|e| fault("write", &self.temporary, e))?;
            file.sync_all().await.map_err(|e| fault("flush", &self.temporary, e))?;
        }
        let sha256 = hex(&std::mem::take(&mut self.hash).finalize());
        self.store.settle(&self.temporary, folder, extension, sha256, self.bytes)
    }
}

impl Drop for LocalIncoming {
    fn drop(&mut self) {
        if !self.kept {
            // After `finish` the temporary name is gone already.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

#[async_trait]
impl MediaStore for LocalStore {
    fn reserve(&self, bytes: u64) {
        self.reserved.store(bytes, Ordering::Relaxed);
    }

    async fn incoming(&self, bytes: u64) -> Result<Box<dyn Incoming>, StoreError> {
        self.make_room(bytes)?;
        let temporary = self.root.join(WORK_FOLDER).join(unfinished(INCOMING));
        let file = tokio::fs::File::create_new(&temporary)
            .await
            .map_err(|e| fault("open", &temporary, e))?;
        Ok(Box::new(LocalIncoming {
            store: self.clone(),
            temporary,
            file: Some(file),
            hash: Sha256::new(),
            bytes: 0,
            checked: 0,
            kept: false,
        }))
    }

    async fn resume(
        &self,
        token: &str,
        bytes: u64,
    ) -> Result<(Box<dyn Incoming>, u64), StoreError> {
        let temporary = self.root.join(WORK_FOLDER).join(format!("{RESUME}-{token}"));
        let opened = temporary.clone();
        let standing = tokio::task::spawn_blocking(move || open_standing(&opened))
            .await
            .map_err(|e| StoreError::Port(PortError::passing("go on with a copy", e)))??;
        // Somebody else copies the same file at this moment: a door of our own.
        let Some((file, hash, already)) = standing else {
            return Ok((self.incoming(bytes).await?, 0));
        };
        let mut incoming = LocalIncoming {
            store: self.clone(),
            temporary,
            file: Some(tokio::fs::File::from_std(file)),
            hash,
            bytes: already,
            checked: already,
            kept: already > 0,
        };
        self.make_room(bytes.saturating_sub(already))?;
        incoming.kept = true;
        Ok((Box::new(incoming), already))
    }

    async fn adopt(
        &self,
        file: &Path,
        folder: &str,
        extension: &str,
    ) -> Result<MediaObject, StoreError> {
        let (store, file) = (self.clone(), file.to_owned());
        let (folder, extension) = (folder.to_owned(), extension.to_owned());
        tokio::task::spawn_blocking(move || {
            let (sha256, bytes) = hash_file(&file)?;
            store.settle(&file, &folder, &extension, sha256, bytes)
        })
        .await
        .map_err(|e| StoreError::Port(PortError::passing("adopt a file", e)))?
    }

    async fn local_path(&self, key: &MediaKey) -> Result<Option<PathBuf>, StoreError> {
        let path = self.path_of(key);
        let there = tokio::fs::try_exists(&path).await.map_err(|e| fault("look for", &path, e))?;
        Ok(there.then_some(path))
    }

    async fn remove(&self, key: &MediaKey) -> Result<(), StoreError> {
        let path = self.path_of(key);
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(fault("remove", &path, error))
            }
            _ => Ok(()),
        }
    }

    async fn workspace(&self) -> Result<PathBuf, StoreError> {
        // A cut or a reel must not take the database's last bytes.
        self.has_room(0)?;
        let folder = self.root.join(WORK_FOLDER).join(unfinished(WORK));
        tokio::fs::create_dir_all(&folder)
            .await
            .map_err(|e| fault("make a workspace", &folder, e))?;
        Ok(folder)
    }

    async fn space(&self) -> Result<(u64, u64), StoreError> {
        self.free()
    }
}

/// A name in the workspace that tells whose it is.
fn unfinished(what: &str) -> String {
    format!("{what}-{}-{}", std::process::id(), Uuid::new_v4())
}

/// Opens an interrupted copy for more, with the hash of what is there; `None` while another holds it.
fn open_standing(path: &Path) -> Result<Option<(std::fs::File, Sha256, u64)>, StoreError> {
    loop {
        let mut file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|e| fault("open", path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(fault("lock", path, error)),
        }
        // Between our opening and our lock another may have finished the copy and given it its place: that file is
        // no longer ours to write to.
        let opened = file.metadata().map_err(|e| fault("look at", path, e))?;
        if std::fs::metadata(path).is_ok_and(|there| there.ino() == opened.ino()) {
            let (hash, bytes) = hash_to_end(&mut file, path)?;
            return Ok(Some((file, hash, bytes)));
        }
    }
}

/// SHA-256 and size of a file that is flushed to disk first.
fn hash_file(file: &Path) -> Result<(String, u64), StoreError> {
    let mut source = std::fs::File::open(file).map_err(|e| fault("open", file, e))?;
    source.sync_all().map_err(|e| fault("flush", file, e))?;
    let (hash, bytes) = hash_to_end(&mut source, file)?;
    Ok((hex(&hash.finalize()), bytes))
}

fn hash_to_end(source: &mut std::fs::File, path: &Path) -> Result<(Sha256, u64), StoreError> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; HASH_CHUNK];
    let mut bytes = 0;
    loop {
        let read = std::io::Read::read(source, &mut chunk).map_err(|e| fault("read", path, e))?;
        if read == 0 {
            return Ok((hash, bytes));
        }
        hash.update(&chunk[..read]);
        bytes += read as u64;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write;
        let _ = write!(text, "{byte:02x}");
        text
    })
}
