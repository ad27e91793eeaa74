//! The media store in a local folder. A file is written under a temporary name, flushed to disk, then renamed:
//! it is there whole or not at all. Names are made of the content, so the same bytes are kept once.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::domain::media::{MediaKey, MediaObject};
use crate::ports::PortError;
use crate::ports::media_store::{FREE_BYTES_KEPT, Incoming, MediaStore, StoreError};

/// Folder of files on their way in, and of work in progress.
const WORK_FOLDER: &str = ".work";
/// Bytes read at a time when a finished file is hashed.
const HASH_CHUNK: usize = 1024 * 1024;

/// A folder that holds media.
#[derive(Debug, Clone)]
pub struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    /// Opens (and makes) the folder.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(root.join(WORK_FOLDER))
            .map_err(|e| fault("open the media folder", root, e))?;
        Ok(Self { root: root.to_owned() })
    }

    /// Removes what an earlier process left unfinished. Only for the one server of this folder, at its start.
    pub fn clear_leftovers(&self) -> Result<(), StoreError> {
        let work = self.root.join(WORK_FOLDER);
        std::fs::remove_dir_all(&work).map_err(|e| fault("empty the workspace", &work, e))?;
        std::fs::create_dir_all(&work).map_err(|e| fault("make the workspace", &work, e))
    }

    fn path_of(&self, key: &MediaKey) -> PathBuf {
        self.root.join(key.as_str())
    }

    fn free(&self) -> Result<(u64, u64), StoreError> {
        let stat = rustix::fs::statvfs(&self.root)
            .map_err(|e| fault("measure the disk", &self.root, e.into()))?;
        Ok((stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize))
    }

    fn make_room(&self, bytes: u64) -> Result<(), StoreError> {
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

    async fn finish(
        mut self: Box<Self>,
        folder: &str,
        extension: &str,
    ) -> Result<MediaObject, StoreError> {
        if let Some(mut file) = self.file.take() {
            file.flush().await.map_err(|e| fault("write", &self.temporary, e))?;
            file.sync_all().await.map_err(|e| fault("flush", &self.temporary, e))?;
        }
        let sha256 = hex(&std::mem::take(&mut self.hash).finalize());
        self.store.settle(&self.temporary, folder, extension, sha256, self.bytes)
    }
}

impl Drop for LocalIncoming {
    fn drop(&mut self) {
        // After `finish` the temporary name is gone already.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

#[async_trait]
impl MediaStore for LocalStore {
    async fn incoming(&self, bytes: u64) -> Result<Box<dyn Incoming>, StoreError> {
        self.make_room(bytes)?;
        let temporary = self.root.join(WORK_FOLDER).join(format!("incoming-{}", Uuid::new_v4()));
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
        }))
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
        let folder = self.root.join(WORK_FOLDER).join(format!("work-{}", Uuid::new_v4()));
        tokio::fs::create_dir_all(&folder)
            .await
            .map_err(|e| fault("make a workspace", &folder, e))?;
        Ok(folder)
    }

    async fn space(&self) -> Result<(u64, u64), StoreError> {
        self.free()
    }
}

/// SHA-256 and size of a file that is flushed to disk first.
fn hash_file(file: &Path) -> Result<(String, u64), StoreError> {
    let mut source = std::fs::File::open(file).map_err(|e| fault("open", file, e))?;
    source.sync_all().map_err(|e| fault("flush", file, e))?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; HASH_CHUNK];
    let mut bytes = 0;
    loop {
        let read =
            std::io::Read::read(&mut source, &mut chunk).map_err(|e| fault("read", file, e))?;
        if read == 0 {
            return Ok((hex(&hash.finalize()), bytes));
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
