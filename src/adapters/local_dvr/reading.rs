//! Reading what a recorder writes, from any process.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::adapters::local_dvr::mp4::Name;
use crate::adapters::local_dvr::places::{FILE_LASTS_MAX, days, files, name_in, read_index};
use crate::adapters::local_dvr::{on_thread, places, scan};
use crate::domain::ids::CameraId;
use crate::ports::PortError;
use crate::ports::dvr::{Footage, PARTS_LISTED_MAX, PartPlace, Stretch};

/// The reading side of a folder.
#[derive(Debug, Clone)]
pub struct LocalFootage {
    folder: PathBuf,
}

impl LocalFootage {
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }
}

#[async_trait]
impl Footage for LocalFootage {
    async fn parts(
        &self,
        camera: CameraId,
        from_utc_ns: i64,
        to_utc_ns: i64,
    ) -> Result<Vec<PartPlace>, PortError> {
        on_thread(&self.folder, "list the parts in", move |folder| {
            list(folder, camera, from_utc_ns, to_utc_ns)
        })
        .await
    }

    async fn stretches(&self) -> Result<Vec<Stretch>, PortError> {
        on_thread(&self.folder, "list the recordings in", places::stretches).await
    }

    async fn index_of(&self, stretch: &Stretch) -> Result<(Vec<PartPlace>, bool), PortError> {
        let stretch = *stretch;
        on_thread(&self.folder, "read an index in", move |folder| {
            let (path, name) = places::of_stretch(folder, &stretch);
            let index = read_index(&path, name)?;
            Ok((index.parts, index.is_closed))
        })
        .await
    }

    async fn first(&self, camera: CameraId) -> Result<Option<PartPlace>, PortError> {
        on_thread(&self.folder, "find the first part in", move |folder| {
            for day in days(folder, camera)? {
                for path in files(&day)? {
                    let Some((_, name)) = name_in(&path, camera) else { continue };
                    if let Some(first) = read_index(&path, name)?.parts.first() {
                        return Ok(Some(*first));
                    }
                }
            }
            Ok(None)
        })
        .await
    }

    async fn init(&self, of: &PartPlace) -> Result<Bytes, PortError> {
        let of = *of;
        on_thread(&self.folder, "read a recording's head in", move |folder| {
            let file = File::open(find(folder, &of)?)?;
            let head = scan::head_bytes(&file)?;
            head.map(Bytes::from).ok_or_else(|| io::ErrorKind::InvalidData.into())
        })
        .await
    }

    async fn read(&self, part: &PartPlace) -> Result<Bytes, PortError> {
        let part = *part;
        on_thread(&self.folder, "read a part in", move |folder| {
            let file = File::open(find(folder, &part)?)?;
            let mut bytes = vec![0; part.bytes as usize];
            file.read_exact_at(&mut bytes, part.offset)?;
            Ok(bytes.into())
        })
        .await
    }
}

fn list(folder: &Path, camera: CameraId, from: i64, to: i64) -> io::Result<Vec<PartPlace>> {
    let first = DateTime::<Utc>::from_timestamp_nanos(from) - FILE_LASTS_MAX;
    let last = DateTime::<Utc>::from_timestamp_nanos(to);
    let mut parts = Vec::new();
    for day in days(folder, camera)? {
        let named = day.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if named < first.format("%Y-%m-%d").to_string()
            || named > last.format("%Y-%m-%d").to_string()
        {
            continue;
        }
        for path in files(&day)? {
            let Some((time, name)) = name_in(&path, camera) else { continue };
            let begins = format!("{named} {time}");
            let is_near = begins >= first.format("%Y-%m-%d %H%M%S").to_string()
                && begins <= last.format("%Y-%m-%d %H%M%S").to_string();
            if !is_near {
                continue;
            }
            let index = read_index(&path, name)?;
            parts.extend(index.parts.into_iter().filter(|part| (from..to).contains(&part.utc_ns)));
        }
    }
    parts.sort_by_key(|part| (part.utc_ns, part.recording, part.number));
    parts.truncate(PARTS_LISTED_MAX);
    Ok(parts)
}

/// The file that holds a part: named by when its own first part arrived, which is at most a file's length before.
fn find(folder: &Path, part: &PartPlace) -> io::Result<PathBuf> {
    let wanted = Name { camera: part.camera, recording: part.recording, file: part.file };
    let at = DateTime::<Utc>::from_timestamp_nanos(part.utc_ns);
    for at in [at, at - FILE_LASTS_MAX] {
        let day = folder.join(part.camera.to_string()).join(at.format("%Y-%m-%d").to_string());
        for path in files(&day)? {
            if name_in(&path, part.camera).is_some_and(|(_, name)| name == wanted) {
                return Ok(path);
            }
        }
    }
    Err(io::ErrorKind::NotFound.into())
}
