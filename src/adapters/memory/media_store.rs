//! A media store whose disk is as full as a test wants. Bytes on their way in stay in memory; finished files lie in a
//! private folder, since readers need a path, and go with the last clone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::media::{MediaKey, MediaObject};
use crate::ports::PortError;
use crate::ports::media_store::{FREE_BYTES_KEPT, Incoming, MediaStore, StoreError};

/// Size of the pretended disk, in bytes: 1 TiB.
const DISK_BYTES: u64 = 1 << 40;

/// The twin of a folder of media. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryMediaStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    objects: Mutex<BTreeMap<MediaKey, PathBuf>>,
    free: AtomicU64,
    reserved: AtomicU64,
    /// Interrupted copies by token; `None` while one is being gone on with.
    copies: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Whatever stays lies in the system's temporary folder.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl MemoryMediaStore {
    /// An empty store on a pretended disk with nothing else on it.
    pub fn open() -> Result<Self, StoreError> {
        let folder = std::env::temp_dir().join(format!("spark-media-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).map_err(|e| fault("make the folder of a store", e))?;
        let inner = Inner {
            folder,
            objects: Mutex::default(),
            free: AtomicU64::new(DISK_BYTES),
            reserved: AtomicU64::new(0),
            copies: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Pretends that this many bytes are free.
    pub fn set_free(&self, bytes: u64) {
        self.inner.free.store(bytes, Ordering::Relaxed);
    }

    /// The keys of all objects, in order.
    pub fn keys(&self) -> Vec<MediaKey> {
        self.objects().keys().cloned().collect()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<MediaKey, PathBuf>> {
        self.inner.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn copies(&self) -> MutexGuard<'_, BTreeMap<String, Option<Vec<u8>>>> {
        self.inner.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_room(&self, bytes: u64) -> Result<(), StoreError> {
        let free = self.inner.free.load(Ordering::Relaxed);
        let reserved = self.inner.reserved.load(Ordering::Relaxed);
        let needed = bytes.saturating_add(FREE_BYTES_KEPT).saturating_add(reserved);
        if free < needed { Err(StoreError::DiskFull { needed, free }) } else { Ok(()) }
    }

    fn settle(
        &self,
        bytes: &[u8],
        folder: &str,
        extension: &str,
    ) -> Result<MediaObject, StoreError> {
        let sha256 = hex(&Sha256::digest(bytes));
        let key = MediaKey::try_new(format!("{folder}/{sha256}.{extension}"))
            .map_err(|e| StoreError::Port(PortError::lasting("name a media file", e)))?;
        let path = self.inner.folder.join(format!("{}.{extension}", Uuid::new_v4()));
        let mut objects = self.objects();
        if !objects.contains_key(&key) {
            std::fs::write(&path, bytes).map_err(|e| fault("store a media file", e))?;
            objects.insert(key.clone(), path);
        }
        Ok(MediaObject { key, bytes: bytes.len() as u64, sha256 })
    }
}

struct MemoryIncoming {
    store: MemoryMediaStore,
    bytes: Vec<u8>,
    /// Under which name it is kept when interrupted.
    token: Option<String>,
}

impl Drop for MemoryIncoming {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            self.store.copies().insert(token, Some(std::mem::take(&mut self.bytes)));
        }
    }
}

#[async_trait]
impl Incoming for MemoryIncoming {
    async fn write(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        self.store.make_room(chunk.len() as u64)?;
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    async fn discard(mut self: Box<Self>) {
        if let Some(token) = self.token.take() {
            self.store.copies().remove(&token);
        }
    }

    async fn finish(
        mut self: Box<Self>,
        folder: &str,
        extension: &str,
    ) -> Result<MediaObject, StoreError> {
        let object = self.store.settle(&self.bytes, folder, extension)?;
        if let Some(token) = self.token.take() {
            self.store.copies().remove(&token);
        }
        Ok(object)
    }
}

#[async_trait]
impl MediaStore for MemoryMediaStore {
    fn reserve(&self, bytes: u64) {
        self.inner.reserved.store(bytes, Ordering::Relaxed);
    }

    async fn incoming(&self, bytes: u64) -> Result<Box<dyn Incoming>, StoreError> {
        self.make_room(bytes)?;
        Ok(Box::new(MemoryIncoming { store: self.clone(), bytes: Vec::new(), token: None }))
    }

    async fn resume(
        &self,
        token: &str,
        bytes: u64,
    ) -> Result<(Box<dyn Incoming>, u64), StoreError> {
        let standing = self.copies().insert(token.to_owned(), None);
        // Somebody else copies the same file at this moment: a door of our own.
        if standing == Some(None) {
            return Ok((self.incoming(bytes).await?, 0));
        }
        let standing = standing.flatten().unwrap_or_default();
        let already = standing.len() as u64;
        let token = Some(token.to_owned());
        let incoming = MemoryIncoming { store: self.clone(), bytes: standing, token };
        self.make_room(bytes.saturating_sub(already))?;
        Ok((Box::new(incoming), already))
    }

    async fn adopt(
        &self,
        file: &Path,
        folder: &str,
        extension: &str,
    ) -> Result<MediaObject, StoreError> {
        let bytes = std::fs::read(file).map_err(|e| fault("read a finished file", e))?;
        let object = self.settle(&bytes, folder, extension)?;
        std::fs::remove_file(file).map_err(|e| fault("take a finished file over", e))?;
        Ok(object)
    }

    async fn local_path(&self, key: &MediaKey) -> Result<Option<PathBuf>, StoreError> {
        Ok(self.objects().get(key).cloned())
    }

    async fn remove(&self, key: &MediaKey) -> Result<(), StoreError> {
        if let Some(path) = self.objects().remove(key) {
            std::fs::remove_file(path).map_err(|e| fault("remove a media file", e))?;
        }
        Ok(())
    }

    async fn workspace(&self) -> Result<PathBuf, StoreError> {
        let folder = self.inner.folder.join(format!("work-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).map_err(|e| fault("make a workspace", e))?;
        Ok(folder)
    }

    async fn space(&self) -> Result<(u64, u64), StoreError> {
        Ok((self.inner.free.load(Ordering::Relaxed), DISK_BYTES))
    }
}

fn fault(doing: &str, error: std::io::Error) -> StoreError {
    StoreError::Port(PortError::passing(doing, error))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write;
        let _ = write!(text, "{byte:02x}");
        text
    })
}
