//! What every DVR promises, kept by the folder and by its twin; and what only a folder has to: torn writes, a full disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use spark::adapters::local_dvr::{LocalDvr, LocalFootage};
use spark::adapters::memory::MemoryDvr;
use spark::domain::live::part::{Part, Parts, Unit};
use spark::domain::live::track::{Kind, Track};
use spark::ports::dvr::{Dvr, DvrError, Footage, PartPlace, Start};

use crate::process::is_root;
use crate::{camera, data, dts, picture, recording, sound};

pub(crate) const SECOND_NS: i64 = 1_000_000_000;
/// A quarter of a minute to midnight, UTC.
pub(crate) const BEGINS_NS: i64 = 1_795_219_185 * SECOND_NS;
/// Little, so that tests do not fill disks.
const RESERVE: u64 = 1 << 20;

pub(crate) struct System {
    pub(crate) dvr: Arc<dyn Dvr>,
    pub(crate) footage: Arc<dyn Footage>,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) fn systems() -> Vec<System> {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalDvr::open(folder.path(), RESERVE).unwrap();
    let footage = LocalFootage::at(folder.path());
    let memory = MemoryDvr::default();
    vec![
        System { dvr: Arc::new(local), footage: Arc::new(footage), folder },
        System {
            dvr: Arc::new(memory.clone()),
            footage: Arc::new(memory),
            folder: tempfile::tempdir().unwrap(),
        },
    ]
}

pub(crate) fn start(n: u128) -> Start {
    let tracks: Vec<Track> = vec![picture(1_280), sound()];
    Start { camera: camera(1), recording: recording(n), tracks, utc_ns: BEGINS_NS }
}

/// Parts of a feed this many seconds long, key frames every two.
pub(crate) fn parts(seconds: i64) -> Vec<Part<Bytes>> {
    let mut units: Vec<Unit<Bytes>> = Vec::new();
    let mut add = |kind, n, samples| {
        let (dts, data) = (dts(kind, n), data(kind, n));
        let utc_ns = BEGINS_NS + dts * 100_000 / 9;
        let (bytes, is_key) = (data.len(), kind == Kind::Sound || n % 60 == 0);
        units.push(Unit { kind, dts, pts: dts + 3_000, is_key, samples, bytes, data, utc_ns });
    };
    (0..seconds * 30).for_each(|n| add(Kind::Picture, n, 0));
    (0..seconds * 48_000 / 1_024).for_each(|n| add(Kind::Sound, n, 1_024));
    units.sort_by_key(|unit| (unit.dts, unit.kind));
    let mut cut = Parts::new(48_000);
    let mut out: Vec<Part<Bytes>> =
        units.into_iter().filter_map(|unit| cut.push(unit).unwrap()).collect();
    out.extend(cut.finish());
    out
}

pub(crate) async fn record(dvr: &dyn Dvr, n: u128, parts: &[Part<Bytes>]) -> Vec<PartPlace> {
    let mut recording = dvr.begin(start(n)).await.unwrap();
    let mut places = Vec::new();
    for part in parts {
        places.push(recording.append(part.clone()).await.unwrap());
    }
    recording.finish().await.unwrap();
    places
}

async fn all(footage: &dyn Footage) -> Vec<PartPlace> {
    footage.parts(camera(1), 0, i64::MAX).await.unwrap()
}

#[tokio::test]
async fn what_is_written_is_listed_by_its_time_and_read_again() {
    for System { dvr, footage, folder } in systems() {
        let parts = parts(130);
        let written = record(&*dvr, 1, &parts).await;
        assert_eq!(written.len(), 130);
        assert_eq!(all(&*footage).await, written);
        let (from, to) = (BEGINS_NS + 13 * SECOND_NS, BEGINS_NS + 17 * SECOND_NS);
        let some = footage.parts(camera(1), from, to).await.unwrap();
        assert_eq!(some, written[13..17], "over the end of a file and of the day");
        assert_eq!(footage.parts(camera(2), 0, i64::MAX).await.unwrap(), []);
        assert_eq!(footage.first(camera(1)).await.unwrap(), Some(written[0]));
        assert_eq!(footage.first(camera(2)).await.unwrap(), None);
        let mut files: Vec<u32> = written.iter().map(|place| place.file).collect();
        files.dedup();
        assert_eq!(files, [1, 2, 3], "a file a minute of the clock");
        for (place, part) in written.iter().zip(&parts) {
            let bytes = footage.read(place).await.unwrap();
            let first = &part.picture.samples[0].data;
            assert!(
                bytes.windows(first.len()).any(|window| window == first),
                "part {}",
                place.number
            );
            assert_eq!((place.is_key, place.dts), (part.is_key, part.dts));
        }
        assert!(!footage.init(&written[100]).await.unwrap().is_empty());
        drop(folder);
    }
}

#[tokio::test]
async fn readers_see_parts_as_they_are_written() {
    for System { dvr, footage, folder } in systems() {
        let parts = parts(5);
        let mut going = dvr.begin(start(1)).await.unwrap();
        assert_eq!(all(&*footage).await, [], "a recording without a part is none");
        for part in parts {
            let place = going.append(part).await.unwrap();
            assert_eq!(all(&*footage).await.last(), Some(&place));
        }
        drop(folder);
    }
}

/// The media files of a folder, in their order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|it| it == "mp4") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A recording of six seconds whose writer was killed: nothing was closed.
async fn killed(folder: &Path) -> (PathBuf, Vec<PartPlace>) {
    let dvr = LocalDvr::open(folder, RESERVE).unwrap();
    let mut going = dvr.begin(start(1)).await.unwrap();
    let mut places = Vec::new();
    for part in &parts(6) {
        places.push(going.append(part.clone()).await.unwrap());
    }
    // A kill runs no destructor.
    std::mem::forget(going);
    (files(folder).remove(0), places)
}

#[tokio::test]
async fn a_torn_file_keeps_every_whole_part_and_loses_only_its_tail() {
    let master = tempfile::tempdir().unwrap();
    let (path, places) = killed(master.path()).await;
    let bytes = fs::read(&path).unwrap();
    let index = fs::read(path.with_extension("idx")).unwrap();
    let ends = |n: usize| (places[n].offset + u64::from(places[n].bytes)) as usize;
    assert_eq!(ends(5), bytes.len());
    let relative = path.strip_prefix(master.path()).unwrap();
    let (mut cut, mut mended) = (0, 0);
    // At every kind of place: within a header, within a part, at its end; the tail missing, or there and zero.
    let mut at: Vec<usize> = (0..bytes.len()).step_by(1_973).collect();
    at.extend((0..6).flat_map(|n| [ends(n) - 1, ends(n), (ends(n) + 1).min(bytes.len())]));
    for torn in at {
        for is_zero in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(relative);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut left = bytes[..torn].to_vec();
            if is_zero {
                left.resize(bytes.len(), 0);
            }
            fs::write(&path, &left).unwrap();
            // What the index says may be more, less or nothing.
            match torn % 3 {
                0 => fs::write(path.with_extension("idx"), &index).unwrap(),
                1 => fs::write(path.with_extension("idx"), &index[..torn % index.len()]).unwrap(),
                _ => {}
            }
            let dvr = LocalDvr::open(folder.path(), RESERVE).unwrap();
            let whole = (0..6).filter(|n| ends(*n) <= torn).count();
            let found = all(&LocalFootage::at(folder.path())).await;
            assert_eq!(found, places[..whole], "torn at {torn}, zeros: {is_zero}");
            if whole > 0 {
                let kept = fs::metadata(&path).unwrap().len();
                assert_eq!(kept, ends(whole - 1) as u64);
                mended += 1;
            } else {
                assert!(!path.exists(), "a file without a part is none");
                cut += 1;
            }
            // It goes on: the next recording stands beside it.
            let more = record(&dvr, 2, &parts(2)).await;
            assert_eq!(all(&LocalFootage::at(folder.path())).await.len(), whole + more.len());
        }
    }
    assert!(cut > 2 && mended > 20, "{cut} {mended}");
}

#[tokio::test]
async fn a_part_that_is_broken_in_its_midst_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let (path, places) = killed(folder.path()).await;
    let mut bytes = fs::read(&path).unwrap();
    // A block of the third part never reached the disk, those after it did; a part's head was lost in the fifth.
    let hole = places[2].offset as usize + 900;
    bytes[hole..hole + 512].fill(0);
    bytes[places[4].offset as usize..][..16].fill(0);
    fs::write(&path, &bytes).unwrap();
    LocalDvr::open(folder.path(), RESERVE).unwrap();
    let found: Vec<u32> =
        all(&LocalFootage::at(folder.path())).await.iter().map(|place| place.number).collect();
    assert_eq!(found, [1, 2, 4, 6]);
}

#[tokio::test]
async fn every_index_can_be_made_anew_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let dvr = LocalDvr::open(folder.path(), RESERVE).unwrap();
    let written = record(&dvr, 1, &parts(130)).await;
    let equal = LocalDvr::reindex(folder.path()).unwrap();
    assert_eq!((equal.files, equal.parts, equal.differing), (3, 130, 0));
    let victim = files(folder.path()).remove(1).with_extension("idx");
    fs::write(&victim, b"nonsense").unwrap();
    assert!(all(&LocalFootage::at(folder.path())).await.len() < 130);
    assert_eq!(LocalDvr::reindex(folder.path()).unwrap().differing, 1);
    assert_eq!(all(&LocalFootage::at(folder.path())).await, written);
}

#[tokio::test]
async fn a_full_disk_uses_up_what_was_kept_back_and_harms_nothing() {
    if !is_root() {
        return; // Only root can make a small disk.
    }
    let folder = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=24m", "none"])
        .arg(folder.path())
        .status();
    assert!(mounted.unwrap().success(), "the test needs to mount");
    let outcome = fill(folder.path()).await;
    let unmounted = Command::new("umount").arg(folder.path()).status().unwrap();
    assert!(unmounted.success());
    let (in_reserve, written, found, after) = outcome;
    assert!(in_reserve > 0, "parts were written into what was kept back");
    assert_eq!(found, written, "nothing whole was harmed");
    assert!(after, "with room again, recording goes on");
}

/// Fills a disk: parts written after it was full, all that were written, what is found, and whether it goes on.
async fn fill(folder: &Path) -> (usize, Vec<PartPlace>, Vec<PartPlace>, bool) {
    let dvr = LocalDvr::open(folder, RESERVE).unwrap();
    assert!(folder.join(".reserve").exists());
    let filler = folder.join("filler");
    let free = dvr.space().free_bytes;
    fs::write(&filler, vec![1; free as usize - 400_000]).unwrap();
    let mut going = dvr.begin(start(1)).await.unwrap();
    let (mut written, mut in_reserve, mut is_over) = (Vec::new(), 0, false);
    for part in parts(300) {
        let was_full = dvr.space().is_full;
        match going.append(part).await {
            Ok(place) => written.push(place),
            Err(DvrError::Full) => {
                is_over = true;
                break;
            }
            Err(error) => panic!("{error}"),
        }
        in_reserve += usize::from(was_full);
    }
    assert!(is_over && dvr.space().is_full, "the disk was full in the end");
    let found = all(&LocalFootage::at(folder)).await;
    drop(going);
    fs::remove_file(&filler).unwrap();
    let more = record(&dvr, 2, &parts(3)).await;
    let after = more.len() == 3 && !dvr.space().is_full && folder.join(".reserve").exists();
    (in_reserve, written, found, after)
}
