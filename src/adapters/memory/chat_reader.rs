//! A chat reader that answers what it was told to.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ports::chat_reader::{ChatLog, ChatReader, ChatRefusal};

/// Answers every file with the same script, and remembers what it was asked. Clones share both.
#[derive(Debug, Clone)]
pub struct MemoryChatReader {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    answer: Result<ChatLog, ChatRefusal>,
    read: Vec<PathBuf>,
}

impl MemoryChatReader {
    /// Finds this log in every file.
    pub fn finding(log: ChatLog) -> Self {
        Self { inner: Arc::new(Mutex::new(Inner { answer: Ok(log), read: Vec::new() })) }
    }

    /// Answers this from now on.
    pub fn answer(&self, answer: Result<ChatLog, ChatRefusal>) {
        self.inner().answer = answer;
    }

    /// The files it was asked to read, in order.
    pub fn files_read(&self) -> Vec<PathBuf> {
        self.inner().read.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChatReader for MemoryChatReader {
    fn read(&self, file: &Path) -> Result<ChatLog, ChatRefusal> {
        let mut inner = self.inner();
        inner.read.push(file.to_owned());
        inner.answer.clone()
    }
}
