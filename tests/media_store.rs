//! What every media store promises, kept by the twin in memory and by the local folder alike.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use spark::adapters::local_store::LocalStore;
use spark::adapters::memory::MemoryMediaStore;
use spark::domain::media::MediaKey;
use spark::ports::media_store::{FREE_BYTES_KEPT, MediaStore, StoreError};
use spark::use_cases::live::copy_into_store;
use tokio_util::sync::CancellationToken;

/// A store, and the folder it must not leave.
struct Subject {
    store: Arc<dyn MediaStore>,
    folder: tempfile::TempDir,
}

impl Subject {
    fn in_memory() -> Self {
        let store = Arc::new(MemoryMediaStore::open().unwrap());
        Self { store, folder: tempfile::tempdir().unwrap() }
    }

    fn in_a_folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(LocalStore::open(&folder.path().join("media")).unwrap());
        Self { store, folder }
    }

    async fn put(&self, bytes: &[u8]) -> spark::domain::media::MediaObject {
        let mut incoming = self.store.incoming(bytes.len() as u64).await.unwrap();
        for chunk in bytes.chunks(7) {
            incoming.write(chunk).await.unwrap();
        }
        incoming.finish("clips", "mp4").await.unwrap()
    }
}

macro_rules! kept_by_memory_and_folder {
    ($($behaviour:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour(super::Subject::in_memory()).await;
            })+
        }
        mod folder {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour(super::Subject::in_a_folder()).await;
            })+
        }
    };
}

kept_by_memory_and_folder!(
    a_file_comes_back_byte_for_byte_under_its_hash,
    an_empty_file_is_a_file,
    the_same_bytes_are_one_object,
    an_unfinished_file_is_no_object,
    an_interrupted_copy_goes_on_where_it_was,
    two_copies_of_one_file_at_once_do_not_disturb_each_other,
    a_stopped_copy_is_finished_by_the_next,
    a_finished_file_is_taken_over,
    a_removed_object_is_gone_and_removing_it_again_is_fine,
    no_name_leads_out_of_the_store,
    what_does_not_fit_is_refused,
    workspaces_are_private,
);

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn a_file_comes_back_byte_for_byte_under_its_hash(subject: Subject) {
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n * 7 % 251) as u8).collect();
    let object = subject.put(&bytes).await;
    assert_eq!((object.bytes, object.sha256.clone()), (200_000, sha256(&bytes)));
    assert_eq!(object.key.as_str(), format!("clips/{}.mp4", sha256(&bytes)));
    let path = subject.store.local_path(&object.key).await.unwrap().expect("a path");
    assert!(std::fs::read(path).unwrap() == bytes, "other bytes came back");
}

async fn an_empty_file_is_a_file(subject: Subject) {
    let object = subject.put(b"").await;
    // SHA-256 of nothing, FIPS 180-4.
    assert_eq!(object.sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

async fn the_same_bytes_are_one_object(subject: Subject) {
    let first = subject.put(b"the same").await;
    let second = subject.put(b"the same").await;
    assert_eq!(first, second);
    assert_ne!(subject.put(b"another").await.key, first.key);
    let path = subject.store.local_path(&first.key).await.unwrap().unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"the same");
}

async fn an_unfinished_file_is_no_object(subject: Subject) {
    let mut incoming = subject.store.incoming(6).await.unwrap();
    incoming.write(b"half a").await.unwrap();
    drop(incoming);
    let key = MediaKey::try_new(format!("clips/{}.mp4", sha256(b"half a"))).unwrap();
    assert_eq!(subject.store.local_path(&key).await.unwrap(), None);
    assert_eq!(files_below(subject.folder.path()), Vec::<PathBuf>::new(), "leftovers");
}

async fn an_interrupted_copy_goes_on_where_it_was(subject: Subject) {
    let (mut incoming, already) = subject.store.resume("abc123", 10).await.unwrap();
    assert_eq!(already, 0);
    incoming.write(b"01234").await.unwrap();
    flush_and_drop(incoming).await;
    let already = until_let_go(&subject, "abc123").await;
    assert_eq!(already, 5);
    let (mut incoming, _) = subject.store.resume("abc123", 10).await.unwrap();
    incoming.write(b"56789").await.unwrap();
    let object = incoming.finish("clips", "mp4").await.unwrap();
    assert_eq!((object.bytes, object.sha256), (10, sha256(b"0123456789")));
    let (_, already) = subject.store.resume("abc123", 10).await.unwrap();
    assert_eq!(already, 0, "a finished copy is not gone on with");
}

async fn flush_and_drop(incoming: Box<dyn spark::ports::media_store::Incoming>) {
    drop(incoming);
    tokio::task::yield_now().await;
}

/// The last write of a door that was dropped ends on another thread: asks until the copy is there.
async fn until_let_go(subject: &Subject, token: &str) -> u64 {
    for _ in 0..1_000 {
        let (door, already) = subject.store.resume(token, 10).await.unwrap();
        drop(door);
        if already > 0 {
            return already;
        }
        tokio::task::yield_now().await;
    }
    panic!("the interrupted copy never came back");
}

async fn two_copies_of_one_file_at_once_do_not_disturb_each_other(subject: Subject) {
    let (mut first, _) = subject.store.resume("abc123", 4).await.unwrap();
    first.write(b"ab").await.unwrap();
    let (mut second, already) = subject.store.resume("abc123", 4).await.unwrap();
    assert_eq!(already, 0, "a door of its own");
    second.write(b"abcd").await.unwrap();
    first.write(b"cd").await.unwrap();
    let second = second.finish("clips", "mp4").await.unwrap();
    let first = first.finish("clips", "mp4").await.unwrap();
    assert_eq!(first, second);
    assert_eq!(first.sha256, sha256(b"abcd"));
}

async fn a_stopped_copy_is_finished_by_the_next(subject: Subject) {
    let source = subject.folder.path().join("stream.mp4");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 253) as u8).collect();
    std::fs::write(&source, &bytes).unwrap();
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let mut chunks = 0;
    let stopped =
        copy_into_store(&*subject.store, &source, "recordings", "mp4", &cancel, |bytes| {
            chunks += usize::from(bytes > 0);
            if chunks == 2 {
                stop.cancel();
            }
        })
        .await;
    assert!(matches!(stopped, Err(StoreError::Cancelled)), "{stopped:?}");
    let go_on = CancellationToken::new();
    let object = copy_into_store(&*subject.store, &source, "recordings", "mp4", &go_on, |_| {})
        .await
        .unwrap();
    assert_eq!((object.bytes, object.sha256), (3_000_000, sha256(&bytes)));
}

async fn a_finished_file_is_taken_over(subject: Subject) {
    let folder = subject.store.workspace().await.unwrap();
    let file = folder.join("clip.mp4");
    std::fs::write(&file, b"a clip").unwrap();
    let object = subject.store.adopt(&file, "clips", "mp4").await.unwrap();
    assert!(!file.exists(), "it moved");
    assert_eq!(object, subject.put(b"a clip").await, "as if it had come in");
    let missing = subject.store.adopt(&file, "clips", "mp4").await;
    assert!(matches!(missing, Err(StoreError::Port(_))), "{missing:?}");
}

async fn a_removed_object_is_gone_and_removing_it_again_is_fine(subject: Subject) {
    let object = subject.put(b"gone").await;
    subject.store.remove(&object.key).await.unwrap();
    subject.store.remove(&object.key).await.unwrap();
    assert_eq!(subject.store.local_path(&object.key).await.unwrap(), None);
    assert_eq!(subject.put(b"gone").await, object, "it may come again");
}

async fn no_name_leads_out_of_the_store(subject: Subject) {
    for (folder, extension) in [
        ("..", "mp4"),
        ("../outside", "mp4"),
        ("/tmp", "mp4"),
        ("clips", "/../../x"),
        (".work", "mp4"),
        ("Clips", "mp4"),
    ] {
        let mut incoming = subject.store.incoming(3).await.unwrap();
        incoming.write(b"bad").await.unwrap();
        let refused = incoming.finish(folder, extension).await;
        assert!(matches!(refused, Err(StoreError::Port(_))), "{folder}/….{extension}: {refused:?}");
    }
    assert_eq!(files_below(subject.folder.path()), Vec::<PathBuf>::new());
    for bad in ["../etc/passwd", "/etc/passwd", "clips/../../x", ".work/x"] {
        assert!(MediaKey::try_new(bad).is_err(), "{bad}");
    }
}

async fn what_does_not_fit_is_refused(subject: Subject) {
    let (free, size) = subject.store.space().await.unwrap();
    assert!(0 < free && free <= size);
    // The reserve is not for media.
    let too_much = free - FREE_BYTES_KEPT / 2;
    for refused in [
        subject.store.incoming(too_much).await.map(|_| ()),
        subject.store.incoming(u64::MAX).await.map(|_| ()),
        subject.store.resume("abc123", too_much).await.map(|_| ()),
    ] {
        assert!(matches!(refused, Err(StoreError::DiskFull { .. })), "{refused:?}");
    }
}

async fn workspaces_are_private(subject: Subject) {
    let (one, other) =
        (subject.store.workspace().await.unwrap(), subject.store.workspace().await.unwrap());
    assert_ne!(one, other);
    assert!(one.is_dir() && other.is_dir());
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        if entry.path().is_dir() {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

#[tokio::test]
async fn the_twins_disk_is_as_full_as_it_is_told() {
    let store = MemoryMediaStore::open().unwrap();
    store.set_free(FREE_BYTES_KEPT + 10);
    assert!(store.incoming(10).await.is_ok());
    assert!(matches!(store.incoming(11).await, Err(StoreError::DiskFull { .. })));
    store.reserve(1);
    assert!(matches!(store.incoming(10).await, Err(StoreError::DiskFull { .. })));
    assert!(store.incoming(9).await.is_ok());
    store.reserve(0);
    let mut unknown = store.incoming(0).await.unwrap();
    store.set_free(FREE_BYTES_KEPT);
    assert!(matches!(unknown.write(b"x").await, Err(StoreError::DiskFull { .. })));
    assert!(store.keys().is_empty());
}

/// The name under which this program writes and waits to be killed.
const VICTIM: &str = "SPARK_TEST_STORE_VICTIM";

/// Runs in a child process: writes for good, so that a kill always falls in the middle of a file.
#[tokio::test]
async fn victim_that_writes_until_it_is_killed() {
    let Some(root) = std::env::var_os(VICTIM) else { return };
    let store = LocalStore::open(Path::new(&root)).unwrap();
    let mut incoming = store.incoming(0).await.unwrap();
    loop {
        incoming.write(&vec![7; 65_536]).await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// Runs the victim on the store of this folder, until half a file is there.
async fn a_victim_in_the_middle_of_a_write(root: &Path) -> tokio::process::Child {
    let mut victim = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim_that_writes_until_it_is_killed"])
        .env(VICTIM, root)
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let is_at_it = || {
        let half = |file: &PathBuf| file.metadata().is_ok_and(|meta| meta.len() > 200_000);
        unfinished(root).first().is_some_and(half)
    };
    while !is_at_it() {
        assert!(victim.try_wait().unwrap().is_none(), "the victim ended by itself");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    victim
}

/// The files on their way in.
fn unfinished(root: &Path) -> Vec<PathBuf> {
    let work = root.join(".work");
    if work.exists() { files_below(&work) } else { Vec::new() }
}

#[tokio::test]
async fn a_process_killed_while_it_writes_leaves_no_object() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("media");
    let mut victim = a_victim_in_the_middle_of_a_write(&root).await;
    victim.start_kill().unwrap();
    victim.wait().await.unwrap();

    assert_eq!(unfinished(&root).len(), 1, "the kill fell in the middle of a write");
    assert_eq!(files_below(&root), unfinished(&root), "half a file has a name");
    let store = LocalStore::open(&root).unwrap();
    store.clear_leftovers().unwrap();
    assert_eq!(unfinished(&root), Vec::<PathBuf>::new(), "the next start cleans up");
}

#[tokio::test]
async fn clearing_leaves_what_a_living_process_writes_and_what_can_be_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("media");
    let mut victim = a_victim_in_the_middle_of_a_write(&root).await;
    let written = unfinished(&root);
    let store = LocalStore::open(&root).unwrap();
    drop(store.resume("abc123", 1).await.unwrap());
    store.clear_leftovers().unwrap();
    assert!(victim.try_wait().unwrap().is_none(), "the victim lived through the clearing");
    assert_eq!(written.len(), 1);
    assert!(unfinished(&root).contains(&written[0]), "taken from under its writer");
    assert!(root.join(".work/resume-abc123").exists());
}

/// In a container a restarted process has the number of the one before it.
#[tokio::test]
async fn clearing_removes_what_a_process_of_our_own_number_left() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let workspace = store.workspace().await.unwrap();
    assert!(workspace.is_dir());
    store.clear_leftovers().unwrap();
    assert!(!workspace.exists());
}

#[tokio::test]
async fn what_comes_in_leaves_what_a_recording_will_need() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let (free, _) = store.space().await.unwrap();
    store.reserve(free);
    let refused = store.incoming(1_000).await.map(|_| ());
    assert!(matches!(refused, Err(StoreError::DiskFull { .. })), "{refused:?}");
    assert!(store.workspace().await.is_ok(), "a cut that somebody waits for goes on");
    store.reserve(0);
    assert!(store.incoming(1_000).await.is_ok());
}

/// A small disk of its own, full before the reserve begins: needs the right to mount.
#[tokio::test]
async fn a_store_on_a_nearly_full_disk_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"])
        .arg(folder.path())
        .output()
        .is_ok_and(|said| said.status.success());
    if !mounted {
        eprintln!("skipped: this user may not mount a small disk");
        return;
    }
    let store = LocalStore::open(folder.path()).unwrap();
    let (_, size) = store.space().await.unwrap();
    let outcomes = [
        store.incoming(0).await.map(|_| ()),
        store.incoming(1_000).await.map(|_| ()),
        store.resume("abc123", 1_000).await.map(|_| ()),
    ];
    drop(store);
    let unmounted = std::process::Command::new("umount").arg("-l").arg(folder.path()).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    assert_eq!(size, 64 * 1024 * 1024, "the small disk is the one that was asked");
    for outcome in outcomes {
        assert!(matches!(outcome, Err(StoreError::DiskFull { .. })), "{outcome:?}");
    }
}
