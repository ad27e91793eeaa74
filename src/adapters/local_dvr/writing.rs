//! Writing a recording: file after file, part after part, each on the disk before the next.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{Advice, fadvise};

use crate::adapters::local_dvr::index;
use crate::adapters::local_dvr::mp4::{self, Name};
use crate::adapters::local_dvr::places::{index_of, path_of, sync_folder};
use crate::adapters::local_dvr::reserve::Reserve;
use crate::adapters::local_dvr::{fault, scan};
use crate::domain::live::part::Part;
use crate::domain::live::track::Form;
use crate::ports::PortError;
use crate::ports::dvr::{DvrError, PartPlace, Recording, Start};

/// A recording's writer, on threads that may block.
pub(super) struct LocalRecording(Arc<Mutex<Writer>>);

impl LocalRecording {
    pub(super) fn new(writer: Writer) -> Self {
        Self(Arc::new(Mutex::new(writer)))
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, DvrError> + Send + 'static,
    ) -> Result<T, DvrError> {
        let writer = self.0.clone();
        let work = move || work(&mut writer.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| DvrError::Port(PortError::lasting("write a recording", error)))?
    }
}

#[async_trait]
impl Recording for LocalRecording {
    async fn append(&mut self, part: Part<Bytes>) -> Result<PartPlace, DvrError> {
        self.on_thread(move |writer| writer.append(&part)).await
    }

    async fn finish(self: Box<Self>) -> Result<(), DvrError> {
        self.on_thread(|writer| {
            writer.close();
            Ok(())
        })
        .await
    }
}

/// Writes one recording.
pub(super) struct Writer {
    folder: PathBuf,
    start: Start,
    rate: u32,
    reserve: Arc<Reserve>,
    open: Option<Open>,
}

/// The file being written.
struct Open {
    path: PathBuf,
    number: u32,
    media: File,
    index: File,
    ends: u64,
    parts: usize,
}

impl Writer {
    pub(super) fn new(folder: PathBuf, start: Start, reserve: Arc<Reserve>) -> Self {
        let rate = start.tracks.iter().find_map(|track| match track.form {
            Form::Sound { rate, .. } => Some(rate),
            Form::Picture { .. } => None,
        });
        Self { folder, rate: rate.unwrap_or(1).max(1), start, reserve, open: None }
    }

    fn append(&mut self, part: &Part<Bytes>) -> Result<PartPlace, DvrError> {
        match self.try_append(part) {
            Err(DvrError::Full) if self.reserve.give_up() => self.try_append(part),
            done => done,
        }
    }

    fn try_append(&mut self, part: &Part<Bytes>) -> Result<PartPlace, DvrError> {
        if self.open.as_ref().is_some_and(|open| open.number != part.file) {
            self.close();
        }
        if self.open.is_none() {
            self.reserve.look();
            self.open = Some(self.begin_file(part)?);
        }
        let Some(open) = &mut self.open else { unreachable!("a file was just opened") };
        let bytes = mp4::part(part);
        let written =
            open.media.write_all_at(&bytes, open.ends).and_then(|()| open.media.sync_data());
        if let Err(error) = written {
            // Half a part is none: the next one takes its place.
            let _ = open.media.set_len(open.ends);
            return Err(failed(&open.path, error));
        }
        let (dts, ticks) = if part.picture.samples.is_empty() {
            let ticks = |samples| scan::ticks(samples, self.rate);
            (ticks(part.sound.start), ticks(part.sound.duration()))
        } else {
            (part.picture.start, part.picture.duration())
        };
        let place = PartPlace {
            camera: self.start.camera,
            recording: self.start.recording,
            file: part.file,
            number: part.number,
            offset: open.ends,
            bytes: bytes.len() as u32,
            dts,
            ticks,
            utc_ns: part.utc_ns,
            is_key: part.is_key,
        };
        open.ends += bytes.len() as u64;
        let at = (open.parts * index::RECORD_BYTES) as u64;
        open.parts += 1;
        // The index may lag: what it does not say is found in the file.
        if let Err(error) = open.index.write_all_at(&index::record(&place), at) {
            tracing::warn!(%error, path = %open.path.display(), "the index lags behind");
        }
        Ok(place)
    }

    fn begin_file(&self, part: &Part<Bytes>) -> Result<Open, DvrError> {
        let Start { camera, recording, .. } = self.start;
        let name = Name { camera, recording, file: part.file };
        let path = path_of(&self.folder, name, part.utc_ns);
        let begin = || -> io::Result<Open> {
            let day = path.parent().unwrap_or(&self.folder);
            fs::create_dir_all(day)?;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(true).mode(0o640);
            let (media, index) = (options.open(&path)?, options.open(index_of(&path))?);
            let head = mp4::head(name, &self.start.tracks);
            media.write_all_at(&head, 0)?;
            for folder in [day, day.parent().unwrap_or(day), &self.folder] {
                sync_folder(folder)?;
            }
            let (number, ends, parts) = (part.file, head.len() as u64, 0);
            Ok(Open { path: path.clone(), number, media, index, ends, parts })
        };
        begin().map_err(|error| {
            // A head alone is no recording.
            let _ = fs::remove_file(&path);
            let _ = fs::remove_file(index_of(&path));
            failed(&path, error)
        })
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let close = || -> io::Result<()> {
            if open.parts == 0 {
                fs::remove_file(&open.path)?;
                return fs::remove_file(index_of(&open.path));
            }
            let at = (open.parts * index::RECORD_BYTES) as u64;
            open.index.write_all_at(&index::closing(open.parts, open.ends), at)?;
            open.index.sync_data()?;
            // Nobody needs it in memory: what is read again soon was read while it grew.
            Ok(fadvise(&open.media, 0, None, Advice::DontNeed)?)
        };
        // A file that cannot be closed is mended when the folder is next opened.
        if let Err(error) = close() {
            tracing::warn!(%error, path = %open.path.display(), "a file stays open");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Nothing is lost without it; the next start has less to mend.
        self.close();
    }
}

fn failed(path: &Path, error: io::Error) -> DvrError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DvrError::Full,
        _ => DvrError::Port(fault("write", path, error)),
    }
}
