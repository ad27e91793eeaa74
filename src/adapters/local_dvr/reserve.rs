//! Room kept back on the disk: a file that is nothing but space, given up when there is none left.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::ports::dvr::Space;

/// Name of the file.
const NAME: &str = ".reserve";
/// Most of a disk that is kept back: one part in so many.
const SHARE: u64 = 20;
/// It is kept back again once so many times its size are free.
const AGAIN: u64 = 4;

/// Room kept back in a folder.
pub(super) struct Reserve {
    folder: PathBuf,
    bytes: u64,
    is_full: AtomicBool,
}

impl Reserve {
    /// Keeps room back, as far as there is room at all.
    pub(super) fn keep(folder: &Path, bytes: u64) -> Self {
        let mut reserve =
            Self { folder: folder.to_owned(), bytes, is_full: AtomicBool::new(false) };
        reserve.bytes = bytes.min(reserve.space().total_bytes / SHARE);
        reserve.take();
        reserve
    }

    fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// Whether it stands now.
    fn take(&self) -> bool {
        let take = || -> io::Result<()> {
            let file =
                File::options().write(true).create(true).truncate(false).open(self.path())?;
            Ok(fallocate(&file, FallocateFlags::empty(), 0, self.bytes)?)
        };
        match take() {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, bytes = self.bytes, "no room is kept back for a full disk");
                let _ = fs::remove_file(self.path());
                false
            }
        }
    }

    /// A write found no room: gives up what was kept back. Says whether there was anything.
    pub(super) fn give_up(&self) -> bool {
        if !self.is_full.swap(true, Ordering::Relaxed) {
            tracing::error!("the disk is full: recording goes on in what was kept back");
        }
        fs::remove_file(self.path()).is_ok()
    }

    /// Looks whether room was made, and keeps some back again. Called now and then.
    pub(super) fn look(&self) {
        if self.is_full.load(Ordering::Relaxed)
            && self.space().free_bytes > self.bytes * AGAIN
            && self.take()
        {
            self.is_full.store(false, Ordering::Relaxed);
            tracing::info!("there is room on the disk again");
        }
    }

    /// Room on the disk, what is kept back aside.
    pub(super) fn space(&self) -> Space {
        let is_full = self.is_full.load(Ordering::Relaxed);
        match statvfs(&self.folder) {
            Ok(disk) => Space {
                free_bytes: disk.f_bavail * disk.f_frsize,
                total_bytes: disk.f_blocks * disk.f_frsize,
                is_full,
            },
            Err(_) => Space { is_full, ..Space::default() },
        }
    }
}
