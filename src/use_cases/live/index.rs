//! Indexing: the database learns what lies in the DVR, from the index beside each file; and everything is compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ports::PortError;
use crate::ports::dvr::{Footage, Stretch};
use crate::ports::footage_index::{FootageIndex, IndexedFile};

/// Files written down at once.
const FILES_AT_ONCE: usize = 100;

/// Keeps the index in the database in step with the folder.
#[derive(Clone)]
pub struct Indexer {
    pub footage: Arc<dyn Footage>,
    pub index: Arc<dyn FootageIndex>,
}

/// What an index learnt, or how it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Learnt {
    /// Files that lie there.
    pub files: usize,
    pub parts: usize,
    /// Files that were new, or said something else.
    pub differing: usize,
    /// Files that were known and are gone.
    pub gone: usize,
}

impl Indexer {
    /// Writes down what came since, and forgets what is gone.
    pub async fn keep_up(&self) -> Result<Learnt, PortError> {
        let known = self.index.known().await?;
        let mut known: BTreeMap<_, bool> =
            known.into_iter().map(|it| ((it.recording, it.file), it.is_closed)).collect();
        let mut learnt = Learnt::default();
        let mut batch = Vec::new();
        for stretch in self.footage.stretches().await? {
            learnt.files += 1;
            if known.remove(&(stretch.recording, stretch.file)) == Some(true) {
                continue;
            }
            let Some(file) = self.read(&stretch).await? else { continue };
            learnt.parts += file.parts.len();
            learnt.differing += 1;
            batch.push(file);
            if batch.len() >= FILES_AT_ONCE {
                self.index.put(&std::mem::take(&mut batch)).await?;
            }
        }
        self.index.put(&batch).await?;
        let gone: Vec<_> = known.into_keys().collect();
        if !gone.is_empty() {
            self.index.forget(&gone).await?;
            learnt.gone = gone.len();
        }
        Ok(learnt)
    }

    /// Makes the index in the database anew from the folder, and says what was different.
    pub async fn rebuild(&self) -> Result<Learnt, PortError> {
        let mut learnt = Learnt::default();
        let mut there = Vec::new();
        for stretch in self.footage.stretches().await? {
            let Some(file) = self.read(&stretch).await? else { continue };
            there.push((file.recording, file.file));
            learnt.files += 1;
            learnt.parts += file.parts.len();
            if self.index.file(file.recording, file.file).await?.as_ref() != Some(&file) {
                learnt.differing += 1;
                self.index.put(&[file]).await?;
            }
        }
        there.sort_unstable();
        let known = self.index.known().await?.into_iter().map(|it| (it.recording, it.file));
        let gone: Vec<_> = known.filter(|file| there.binary_search(file).is_err()).collect();
        learnt.gone = gone.len();
        self.index.forget(&gone).await?;
        Ok(learnt)
    }

    /// What the index beside a file says; nothing of one that has no part yet, or that went meanwhile.
    async fn read(&self, stretch: &Stretch) -> Result<Option<IndexedFile>, PortError> {
        let (parts, is_closed) = self.footage.index_of(stretch).await?;
        let Stretch { camera, recording, file, .. } = *stretch;
        let file = IndexedFile { camera, recording, file, is_closed, parts };
        Ok(Some(file).filter(|file| !file.parts.is_empty()))
    }
}
