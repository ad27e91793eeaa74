//! Receiving the files of a past stream: into the store first, then an order to import them. The same door for the
//! command line and for an upload.

use std::collections::HashSet;
use std::io::SeekFrom;
use std::path::Path;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::sync::CancellationToken;

use crate::domain::ids::{JobId, LiveId};
use crate::domain::job::{ImportOrder, Job};
use crate::domain::media::MediaObject;
use crate::ports::PortError;
use crate::ports::ledger::{Commit, CommitError};
use crate::ports::media_store::{MediaStore, StoreError};
use crate::ports::shelves::{cards_of, find_card};
use crate::read_models::{LiveCard, WeekCard};
use crate::use_cases::live::Lives;
use crate::use_cases::live::import::hex;

/// Bytes read at a time when a file is copied into the store.
const COPY_CHUNK: usize = 1024 * 1024;

/// What became of an order to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// The job will import it (or is at it already).
    Ordered(JobId),
    /// This very pair of files is in the week already; nothing was added.
    AlreadyHere(LiveId),
}

impl Lives {
    /// Orders the import of two files that are in the store.
    pub async fn order_import(&self, order: ImportOrder) -> Result<Received, PortError> {
        let live = LiveId::of_files(order.week, &order.video.sha256, &order.chat.sha256);
        if find_card::<LiveCard>(&*self.shelves, live.as_uuid()).await?.is_some() {
            return Ok(Received::AlreadyHere(live));
        }
        let commit = Commit { jobs: vec![Job::ImportStream(order)], ..Commit::default() };
        match self.ledger.commit(commit).await {
            Ok(committed) => match committed.jobs.first() {
                Some((job, _)) => Ok(Received::Ordered(*job)),
                None => Err(PortError::plain("the order to import was not written")),
            },
            Err(CommitError::Port(error)) => Err(error),
            Err(other) => Err(PortError::plain(other.to_string())),
        }
    }
}

impl Lives {
    /// Removes files that came in for nothing, unless a live or one of the `waiting` orders needs them.
    pub async fn let_go(
        &self,
        objects: &[&MediaObject],
        waiting: &[ImportOrder],
    ) -> Result<(), PortError> {
        let mut kept = HashSet::new();
        for other in waiting {
            kept.extend([other.video.key.clone(), other.chat.key.clone()]);
        }
        for week in cards_of::<WeekCard>(&*self.shelves, uuid::Uuid::nil()).await? {
            for live in self.of_week(week.id).await? {
                kept.insert(live.recording.file.key);
            }
        }
        for object in objects {
            if !kept.contains(&object.key)
                && let Err(error) = self.store.remove(&object.key).await
            {
                tracing::warn!(%error, media.key = %object.key, "could not remove a file nobody needs");
            }
        }
        Ok(())
    }
}

/// Copies a local file into the store, telling how many bytes came each time. Interrupted, it goes on where it was the
/// next time the same unchanged file is copied; the first it tells are then the bytes that are in already.
pub async fn copy_into_store(
    store: &dyn MediaStore,
    file: &Path,
    folder: &str,
    extension: &str,
    cancel: &CancellationToken,
    mut on_bytes: impl FnMut(u64) + Send,
) -> Result<MediaObject, StoreError> {
    let fault = |source| StoreError::Source { path: file.to_owned(), source };
    let mut source = tokio::fs::File::open(file).await.map_err(fault)?;
    let standing = source.metadata().await.map_err(fault)?;
    let expected = standing.len();
    let (mut incoming, already) = store.resume(&identity(file, &standing), expected).await?;
    source.seek(SeekFrom::Start(already)).await.map_err(fault)?;
    on_bytes(already);
    let mut chunk = vec![0; COPY_CHUNK];
    let mut read = already;
    loop {
        let bytes = tokio::select! {
            // A stop comes first, however fast the disk is.
            biased;
            () = cancel.cancelled() => return Err(StoreError::Cancelled),
            bytes = source.read(&mut chunk) => bytes.map_err(fault)?,
        };
        if bytes == 0 {
            break;
        }
        incoming.write(&chunk[..bytes]).await?;
        read += bytes as u64;
        on_bytes(bytes as u64);
    }
    let token = identity(file, &standing);
    let unchanged = tokio::fs::metadata(file).await.is_ok_and(|now| identity(file, &now) == token);
    if read != expected || !unchanged {
        // Part of one file and part of another: nobody can go on with that.
        incoming.discard().await;
        return Err(StoreError::SourceChanged { expected, read });
    }
    incoming.finish(folder, extension).await
}

/// What makes a local file the same file: its path, size and last change.
fn identity(file: &Path, standing: &std::fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let text = format!(
        "{}|{}|{}.{:09}",
        path.display(),
        standing.len(),
        standing.mtime(),
        standing.mtime_nsec()
    );
    hex(&Sha256::digest(text.as_bytes())[..16])
}
