//! Where files lie, and what is done with those that were not closed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Duration, NaiveDateTime, Utc};

use crate::adapters::local_dvr::index::{self, Index, RECORD_BYTES};
use crate::adapters::local_dvr::mp4::Name;
use crate::adapters::local_dvr::scan::{self, Found};
use crate::adapters::local_dvr::{Mended, Reindexed};
use crate::domain::ids::CameraId;
use crate::ports::dvr::Stretch;

/// A part stands in a file that began at most so long before it: a minute, unless key frames are far apart.
pub(super) const FILE_LASTS_MAX: Duration = Duration::minutes(10);

/// Where a file of a recording lies. `utc_ns` is when its first part arrived.
pub(super) fn path_of(folder: &Path, name: Name, utc_ns: i64) -> PathBuf {
    let at = DateTime::<Utc>::from_timestamp_nanos(utc_ns);
    folder.join(name.camera.to_string()).join(at.format("%Y-%m-%d").to_string()).join(format!(
        "{}-{}-{:05}.mp4",
        at.format("%H%M%S"),
        name.recording,
        name.file
    ))
}

/// The index of a file.
pub(super) fn index_of(file: &Path) -> PathBuf {
    file.with_extension("idx")
}

/// The days of a camera, oldest first.
pub(super) fn days(folder: &Path, camera: CameraId) -> io::Result<Vec<PathBuf>> {
    entries(&folder.join(camera.to_string()))
}

/// The files of a day, in their order.
pub(super) fn files(day: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = entries(day)?;
    files.retain(|path| path.extension().is_some_and(|it| it == "mp4"));
    Ok(files)
}

/// What lies in a folder, sorted; nothing when there is no such folder.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths: Vec<PathBuf> =
        listed.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

fn all_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for camera in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
        for day in entries(&camera)?.into_iter().filter(|path| path.is_dir()) {
            all.extend(files(&day)?);
        }
    }
    Ok(all)
}

/// Mends every file that was not closed in order.
pub(super) fn mend(folder: &Path) -> io::Result<Mended> {
    let mut mended = Mended::default();
    for path in all_files(folder)? {
        if !is_closed(&path)? {
            mend_file(&path, &mut mended)?;
        }
    }
    Ok(mended)
}

/// Looks at the last record alone: a week has thousands of files.
fn is_closed(path: &Path) -> io::Result<bool> {
    let index = match File::open(index_of(path)) {
        Ok(index) => index,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let length = index.metadata()?.len();
    let Some(at) = length.checked_sub(RECORD_BYTES as u64) else { return Ok(false) };
    let mut last = [0; RECORD_BYTES];
    index.read_exact_at(&mut last, at)?;
    let nobody = Name {
        camera: CameraId::from_uuid(uuid::Uuid::nil()),
        recording: crate::domain::ids::RecordingId::from_uuid(uuid::Uuid::nil()),
        file: 0,
    };
    Ok(index::read(nobody, &last).is_closed)
}

fn mend_file(path: &Path, mended: &mut Mended) -> io::Result<()> {
    mended.files += 1;
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let found = match scan::head(&file)? {
        Some(head) => scan::parts(&file, &head)?,
        None => Found { parts: Vec::new(), ends: 0 },
    };
    mended.cut_bytes += length - found.ends;
    if found.parts.is_empty() {
        mended.removed += 1;
        // The index first: without its file it would be an index of nothing.
        remove(&index_of(path))?;
        remove(path)?;
    } else {
        file.set_len(found.ends)?;
        file.sync_all()?;
        write_index(path, &found)?;
    }
    path.parent().map_or(Ok(()), sync_folder)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Puts a whole, closed index beside a file.
fn write_index(path: &Path, found: &Found) -> io::Result<()> {
    let mut text: Vec<u8> = found.parts.iter().flat_map(index::record).collect();
    text.extend(index::closing(found.parts.len(), found.ends));
    let temporary = path.with_extension("idx.new");
    fs::write(&temporary, text)?;
    File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, index_of(path))
}

/// Makes every index anew, and says how many were different.
pub(super) fn reindex(folder: &Path) -> io::Result<Reindexed> {
    let mut out = Reindexed::default();
    for path in all_files(folder)? {
        let file = File::open(&path)?;
        let Some(head) = scan::head(&file)? else { continue };
        let found = scan::parts(&file, &head)?;
        let told = read_index(&path, head.name)?;
        out.files += 1;
        out.parts += found.parts.len();
        out.differing += usize::from(told.parts != found.parts);
        write_index(&path, &found)?;
    }
    Ok(out)
}

/// What the index of a file says; nothing when there is none.
pub(super) fn read_index(path: &Path, name: Name) -> io::Result<Index> {
    match fs::read(index_of(path)) {
        Ok(text) => Ok(index::read(name, &text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Index::default()),
        Err(error) => Err(error),
    }
}

/// What a file's path says of it: the second of the day it begins at, the recording, the number of the file.
pub(super) fn name_in(path: &Path, camera: CameraId) -> Option<(String, Name)> {
    let stem = path.file_stem()?.to_str()?;
    let (time, rest) = stem.split_once('-')?;
    let (recording, file) = rest.rsplit_once('-')?;
    let name = Name { camera, recording: recording.parse().ok()?, file: file.parse().ok()? };
    Some((time.to_owned(), name))
}

/// Everything that lies in the folder, by its names alone; the oldest first. A file ends where the next of its recording begins.
pub(super) fn stretches(folder: &Path) -> io::Result<Vec<Stretch>> {
    let lasts = FILE_LASTS_MAX.num_nanoseconds().unwrap_or_default();
    let mut all = Vec::<Stretch>::new();
    for home in entries(folder)? {
        let camera = home.file_name().and_then(|name| name.to_str()).and_then(|it| it.parse().ok());
        let Some(camera) = camera else { continue };
        for day in entries(&home)?.into_iter().filter(|path| path.is_dir()) {
            let named = day.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            for path in files(&day)? {
                let Some((time, name)) = name_in(&path, camera) else { continue };
                let begins = format!("{named} {time}");
                let begins = NaiveDateTime::parse_from_str(&begins, "%Y-%m-%d %H%M%S").ok();
                let Some(from) = begins.and_then(|it| it.and_utc().timestamp_nanos_opt()) else {
                    continue;
                };
                all.push(Stretch {
                    camera,
                    recording: name.recording,
                    file: name.file,
                    from_utc_ns: from,
                    to_utc_ns: from + lasts,
                });
            }
        }
    }
    all.sort_by_key(|it| (it.camera, it.recording, it.file));
    for at in 1..all.len() {
        let next = all[at];
        let before = &mut all[at - 1];
        if before.recording == next.recording {
            // Names tell whole seconds.
            before.to_utc_ns = (next.from_utc_ns + 1_000_000_000).min(before.to_utc_ns);
        }
    }
    all.sort_by_key(|it| (it.from_utc_ns, it.camera, it.file));
    Ok(all)
}

/// Where a file lies.
pub(super) fn of_stretch(folder: &Path, stretch: &Stretch) -> (PathBuf, Name) {
    let name = Name { camera: stretch.camera, recording: stretch.recording, file: stretch.file };
    (path_of(folder, name, stretch.from_utc_ns), name)
}

/// Removes a file and its index; a day that is empty then goes too.
pub(super) fn remove_stretch(folder: &Path, stretch: &Stretch) -> io::Result<u64> {
    let (path, _) = of_stretch(folder, stretch);
    let bytes = match fs::metadata(&path) {
        Ok(file) => file.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    // The index first: without its file it would be an index of nothing.
    remove(&index_of(&path))?;
    remove(&path)?;
    if let Some(day) = path.parent() {
        // It is not empty for as long as anything of that day stays.
        let _ = fs::remove_dir(day);
    }
    Ok(bytes)
}

/// A name in a folder is on the disk once the folder is.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
