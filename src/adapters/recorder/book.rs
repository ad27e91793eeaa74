//! The cameras a recorder was told of, in a file: it lets them in again after a restart, whoever else is away.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::domain::live::camera::Camera;
use crate::ports::PortError;
use crate::ports::recorder::CameraBook;

/// A book in a file of this folder.
#[derive(Debug, Clone)]
pub struct LocalCameraBook {
    path: PathBuf,
}

impl LocalCameraBook {
    pub fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join("cameras.json") }
    }

    fn write(&self, cameras: &[Camera]) -> std::io::Result<()> {
        let temporary = self.path.with_extension("json.new");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(cameras)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        // The name too is on the disk now.
        self.path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    }
}

impl CameraBook for LocalCameraBook {
    fn read(&self) -> Result<Vec<Camera>, PortError> {
        let doing = || format!("read the cameras in `{}`", self.path.display());
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(PortError::lasting(doing(), error)),
        };
        serde_json::from_slice(&text).map_err(|error| PortError::lasting(doing(), error))
    }

    fn write(&self, cameras: &[Camera]) -> Result<(), PortError> {
        self.write(cameras).map_err(|error| {
            PortError::passing(format!("write the cameras to `{}`", self.path.display()), error)
        })
    }
}
