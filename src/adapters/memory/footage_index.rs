//! An index of footage in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::domain::ids::RecordingId;
use crate::ports::PortError;
use crate::ports::footage_index::{FootageIndex, Held, IndexedFile, Known};

type Files = BTreeMap<(RecordingId, u32), IndexedFile>;

/// The twin of the table; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryFootageIndex(Arc<Mutex<Files>>);

impl MemoryFootageIndex {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl FootageIndex for MemoryFootageIndex {
    async fn put(&self, files: &[IndexedFile]) -> Result<(), PortError> {
        let entries = files.iter().map(|it| ((it.recording, it.file), it.clone()));
        self.files().extend(entries);
        Ok(())
    }

    async fn forget(&self, files: &[(RecordingId, u32)]) -> Result<(), PortError> {
        self.files().retain(|file, _| !files.contains(file));
        Ok(())
    }

    async fn known(&self) -> Result<Vec<Known>, PortError> {
        let known = |it: &IndexedFile| Known {
            recording: it.recording,
            file: it.file,
            is_closed: it.is_closed,
        };
        Ok(self.files().values().map(known).collect())
    }

    async fn file(
        &self,
        recording: RecordingId,
        file: u32,
    ) -> Result<Option<IndexedFile>, PortError> {
        Ok(self.files().get(&(recording, file)).cloned())
    }

    async fn held(&self) -> Result<Vec<Held>, PortError> {
        let mut held = BTreeMap::new();
        for file in self.files().values() {
            let (from, to, bytes) = file.extent();
            let of = held.entry(file.camera).or_insert(Held {
                camera: file.camera,
                files: 0,
                bytes: 0,
                lasts_ns: 0,
                from_utc_ns: i64::MAX,
                to_utc_ns: 0,
            });
            of.files += 1;
            of.bytes += bytes;
            of.lasts_ns += to - from;
            of.from_utc_ns = of.from_utc_ns.min(from);
            of.to_utc_ns = of.to_utc_ns.max(to);
        }
        Ok(held.into_values().collect())
    }
}
