//! The cameras a recorder was told of, what stays of them and what it relays, each in a file: it lets them in and goes on after a restart,
//! whoever else is away. Keys of platforms lie here and nowhere else.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::live::camera::Camera;
use crate::domain::live::keeping::Keeping;
use crate::ports::PortError;
use crate::ports::recorder::CameraBook;
use crate::ports::relay::{RelayBook, RelayOrder};

/// Books in files of this folder, for this account alone.
#[derive(Debug, Clone)]
pub struct LocalBook {
    cameras: PathBuf,
    relays: PathBuf,
    keeping: PathBuf,
}

impl LocalBook {
    pub fn in_folder(folder: &Path) -> Self {
        let file = |name: &str| folder.join(name);
        Self {
            cameras: file("cameras.json"),
            relays: file("relays.json"),
            keeping: file("keeping.json"),
        }
    }
}

impl CameraBook for LocalBook {
    fn read(&self) -> Result<Vec<Camera>, PortError> {
        read(&self.cameras)
    }

    fn write(&self, cameras: &[Camera]) -> Result<(), PortError> {
        write(&self.cameras, cameras)
    }

    fn read_keeping(&self) -> Result<Vec<Keeping>, PortError> {
        read(&self.keeping)
    }

    fn write_keeping(&self, keeping: &[Keeping]) -> Result<(), PortError> {
        write(&self.keeping, keeping)
    }
}

impl RelayBook for LocalBook {
    fn read(&self) -> Result<Vec<RelayOrder>, PortError> {
        read(&self.relays)
    }

    fn write(&self, relays: &[RelayOrder]) -> Result<(), PortError> {
        write(&self.relays, relays)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, PortError> {
    let doing = || format!("read `{}`", path.display());
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(PortError::lasting(doing(), error)),
    };
    serde_json::from_slice(&text).map_err(|error| PortError::lasting(doing(), error))
}

fn write<T: Serialize>(path: &Path, all: &[T]) -> Result<(), PortError> {
    let written = || -> std::io::Result<()> {
        let temporary = path.with_extension("json.new");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(all)?)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        // The name too is on the disk now.
        path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    };
    written().map_err(|error| PortError::passing(format!("write `{}`", path.display()), error))
}
