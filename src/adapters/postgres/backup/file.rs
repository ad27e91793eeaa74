//! The backup file itself: a tar of three entries, written whole or not at all, read to its end
//! before anybody believes it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::adapters::postgres::backup::{BackupError, Manifest};
use crate::adapters::postgres::cluster::error::ClusterError;

/// Layout of the file this program writes; a higher number is refused.
pub(crate) const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
const DUMP: &str = "database.dump";
const SUMS: &str = "SHA256SUMS";
/// Largest manifest that is read: a million and a half media at some 170 bytes each.
const MANIFEST_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Largest list of sums that is read.
const SUMS_BYTES_MAX: u64 = 4096;
/// Buffer while summing up.
const CHUNK_BYTES: usize = 256 * 1024;

/// A file that is removed unless it was renamed away.
#[derive(Debug)]
pub(crate) struct Scrap(pub(crate) PathBuf);

impl Scrap {
    /// Makes it empty, readable by its owner alone; what an earlier kill left is removed.
    pub(crate) fn make(path: PathBuf) -> Result<Self, ClusterError> {
        let make = || -> io::Result<()> {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map(drop)
        };
        make().map_err(|source| ClusterError::io("writing the backup", &path, source))?;
        Ok(Self(path))
    }
}

impl Drop for Scrap {
    fn drop(&mut self) {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "cannot remove an unfinished backup");
            }
            _ => {}
        }
    }
}

/// A backup that was read to its end and is whole.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) manifest: Manifest,
    /// The open file: what was checked is what is restored, whatever is renamed meanwhile.
    file: File,
    dump_at: u64,
    dump_bytes: u64,
}

impl Checked {
    /// The dump, and its length in bytes.
    pub(crate) fn into_dump(mut self) -> io::Result<(File, u64)> {
        self.file.seek(SeekFrom::Start(self.dump_at))?;
        Ok((self.file, self.dump_bytes))
    }
}

/// Puts manifest and dump into `target`: temporary, fsync, a look at the result, rename.
pub(crate) fn write(manifest: &Manifest, dump: &Path, target: &Path) -> Result<(), BackupError> {
    let part = Scrap::make(target.with_added_extension("part"))?;
    write_tar(manifest, dump, &part.0)
        .map_err(|source| ClusterError::io("writing the backup", target, source))?;
    check(&part.0)?;
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::rename(&part.0, target)
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(|source| ClusterError::io("writing the backup", target, source).into())
}

fn write_tar(manifest: &Manifest, dump: &Path, part: &Path) -> io::Result<()> {
    let mtime = manifest.made_at.timestamp().max(0).unsigned_abs();
    let json = serde_json::to_vec_pretty(manifest)?;
    let mut dump = File::open(dump)?;
    let (dump_bytes, dump_sum) = sum(&mut dump)?;
    dump.rewind()?;
    let sums = format!("{}  {MANIFEST}\n{dump_sum}  {DUMP}\n", sum(&mut json.as_slice())?.1);

    let mut tar = tar::Builder::new(OpenOptions::new().write(true).open(part)?);
    let mut append = |name: &str, bytes: u64, content: &mut dyn Read| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(mtime);
        tar.append_data(&mut header, name, content)
    };
    append(MANIFEST, json.len() as u64, &mut json.as_slice())?;
    append(DUMP, dump_bytes, &mut dump)?;
    append(SUMS, sums.len() as u64, &mut sums.as_bytes())?;
    tar.into_inner()?.sync_all()
}

/// Reads the file to its end and compares every byte with its sums.
pub(crate) fn check(path: &Path) -> Result<Checked, BackupError> {
    let unreadable = |source| ClusterError::io("reading the backup", path, source);
    let foreign = |why: &str| BackupError::Foreign { file: path.into(), why: why.into() };
    let damaged = |why: &str| BackupError::Damaged { file: path.into(), why: why.into() };
    let file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(foreign("it is no file"));
    }
    let mut tar = tar::Archive::new(&file);
    let mut entries = tar.entries().map_err(unreadable)?;

    let Some(Ok(mut entry)) = entries.next() else { return Err(foreign("it is no tar")) };
    if !is_called(&entry, MANIFEST) || entry.size() > MANIFEST_BYTES_MAX {
        return Err(foreign("its first entry is no manifest"));
    }
    let json = read_whole(&mut entry).ok_or_else(|| damaged("the manifest is cut short"))?;
    let manifest_sum = sum(&mut json.as_slice()).map_err(unreadable)?.1;

    let Some(Ok(mut entry)) = entries.next().filter(|entry| is_next(entry, DUMP)) else {
        return Err(damaged("the database is missing"));
    };
    let (dump_at, dump_bytes) = (entry.raw_file_position(), entry.size());
    let dump_sum = match sum(&mut entry) {
        Ok((bytes, sum)) if bytes == dump_bytes => sum,
        _ => return Err(damaged("the database is cut short")),
    };

    let Some(Ok(mut entry)) = entries.next().filter(|entry| is_next(entry, SUMS)) else {
        return Err(damaged("its end is missing"));
    };
    if entry.size() > SUMS_BYTES_MAX {
        return Err(damaged("its sums are too long"));
    }
    let sums = read_whole(&mut entry).ok_or_else(|| damaged("its end is cut short"))?;
    let expected = format!("{manifest_sum}  {MANIFEST}\n{dump_sum}  {DUMP}\n");
    if sums != expected.as_bytes() {
        return Err(damaged("its bytes are not those that were written"));
    }
    let manifest = parse(&json, path)?;
    Ok(Checked { manifest, file, dump_at, dump_bytes })
}

/// Reads the layout's number first: the rest may look otherwise in a newer one.
fn parse(json: &[u8], path: &Path) -> Result<Manifest, BackupError> {
    #[derive(serde::Deserialize)]
    struct Layout {
        format: u32,
    }
    let foreign = |error: serde_json::Error| BackupError::Foreign {
        file: path.into(),
        why: format!("its manifest is not ours: {error}"),
    };
    let layout: Layout = serde_json::from_slice(json).map_err(foreign)?;
    if layout.format > FORMAT {
        let what = format!("spark (backup format {})", layout.format);
        return Err(BackupError::Newer { what });
    }
    serde_json::from_slice(json).map_err(foreign)
}

fn is_called<R: Read>(entry: &tar::Entry<'_, R>, name: &str) -> bool {
    entry.path_bytes().as_ref() == name.as_bytes()
}

fn is_next<R: Read>(entry: &io::Result<tar::Entry<'_, R>>, name: &str) -> bool {
    entry.as_ref().is_ok_and(|entry| is_called(entry, name))
}

fn read_whole<R: Read>(entry: &mut tar::Entry<'_, R>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 == entry.size()).then_some(bytes)
}

/// Length and SHA-256 of what is left to read.
fn sum(from: &mut dyn Read) -> io::Result<(u64, String)> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut bytes = 0;
    loop {
        let n = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&chunk[..n]);
        bytes += n as u64;
    }
    Ok((bytes, crate::adapters::postgres::cluster::hex(&hasher.finalize())))
}
