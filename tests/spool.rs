//! What every spool promises, kept by the twin in memory and by the folder alike; then what only a disk can suffer.

mod notices;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use notices::{chat, follow};
use spark::adapters::local_spool::LocalSpool;
use spark::adapters::memory::MemorySpool;
use spark::domain::audience::notice::Notice;
use spark::ports::spool::Spool;

macro_rules! kept_by_memory_and_folder {
    ($($behaviour:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour(&spark::adapters::memory::MemorySpool::default()).await;
            })+
        }
        mod folder {
            $(#[tokio::test]
            async fn $behaviour() {
                let folder = tempfile::tempdir().unwrap();
                let spool = spark::adapters::local_spool::LocalSpool::open(folder.path()).unwrap();
                super::$behaviour(&spool).await;
            })+
        }
    };
}
kept_by_memory_and_folder!(
    notices_come_back_whole_and_in_order,
    what_is_done_does_not_come_back,
    what_is_put_while_it_is_read_comes_after,
    an_erased_viewer_is_in_no_notice_that_waits,
);

/// Everything that waits, read in steps of `step`, each let go.
async fn drained(spool: &dyn Spool, step: usize) -> Vec<Notice> {
    let mut all = Vec::new();
    loop {
        let held = spool.oldest(step).await.unwrap();
        let Some(mark) = held.mark else { return all };
        all.extend(held.notices);
        spool.done(mark).await.unwrap();
    }
}

async fn notices_come_back_whole_and_in_order(spool: &dyn Spool) {
    assert!(spool.is_empty().await.unwrap());
    let said: Vec<Notice> = (0..25).map(|n| chat(n, "anna", "Wouah 🎉 \"là\"")).collect();
    spool.put(said[..10].to_vec()).await.unwrap();
    spool.put(said[10..].to_vec()).await.unwrap();
    assert!(!spool.is_empty().await.unwrap());
    assert_eq!(drained(spool, 7).await, said);
    assert!(spool.is_empty().await.unwrap());
}

async fn what_is_done_does_not_come_back(spool: &dyn Spool) {
    let said: Vec<Notice> = (0..6).map(|n| chat(n, "anna", "gg")).collect();
    spool.put(said.clone()).await.unwrap();
    let first = spool.oldest(4).await.unwrap();
    assert_eq!(first.notices, said[..4]);
    assert_eq!(spool.oldest(4).await.unwrap(), first, "read, but not done");
    spool.done(first.mark.unwrap()).await.unwrap();
    assert_eq!(spool.oldest(4).await.unwrap().notices, said[4..]);
}

async fn what_is_put_while_it_is_read_comes_after(spool: &dyn Spool) {
    spool.put(vec![chat(1, "anna", "un")]).await.unwrap();
    let held = spool.oldest(10).await.unwrap();
    spool.put(vec![chat(2, "bob", "deux")]).await.unwrap();
    spool.done(held.mark.unwrap()).await.unwrap();
    assert_eq!(drained(spool, 10).await, [chat(2, "bob", "deux")]);
    spool.put(vec![chat(3, "carl", "trois")]).await.unwrap();
    assert_eq!(drained(spool, 10).await, [chat(3, "carl", "trois")]);
}

async fn an_erased_viewer_is_in_no_notice_that_waits(spool: &dyn Spool) {
    let said = vec![chat(1, "anna", "un"), chat(2, "bob", "deux"), follow(3, "anna")];
    spool.put(said.clone()).await.unwrap();
    let held = spool.oldest(1).await.unwrap();
    assert_eq!(spool.erase_viewer(&notices::viewer_id("anna")).await.unwrap(), 2);
    // What was read before the erasure is let go after it: nothing else may go with it.
    spool.done(held.mark.unwrap()).await.unwrap();
    assert_eq!(drained(spool, 10).await, [said[1].clone()]);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "spool"))
        .collect();
    files.sort();
    files
}

/// Every place at which the power may go.
#[tokio::test]
async fn a_torn_tail_loses_its_own_record_only() {
    let folder = tempfile::tempdir().unwrap();
    let said = [chat(1, "anna", "un"), chat(2, "bob", "deux")];
    LocalSpool::open(folder.path()).unwrap().put(said.to_vec()).await.unwrap();
    let file = files(folder.path()).remove(0);
    let whole = std::fs::read(&file).unwrap();
    let one = 8 + u32::from_le_bytes(whole[..4].try_into().unwrap()) as usize;
    for cut in 0..whole.len() {
        let torn = tempfile::tempdir().unwrap();
        std::fs::write(torn.path().join(file.file_name().unwrap()), &whole[..cut]).unwrap();
        let spool = LocalSpool::open(torn.path()).unwrap();
        spool.put(vec![chat(3, "carl", "trois")]).await.unwrap();
        let expected = if cut >= one { &said[..1] } else { &said[..0] };
        let expected = [expected, &[chat(3, "carl", "trois")]].concat();
        assert_eq!(drained(&spool, 10).await, expected, "cut at {cut} of {}", whole.len());
    }
}

#[tokio::test]
async fn a_damaged_record_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let spool = LocalSpool::open(folder.path()).unwrap();
    let said = [chat(1, "anna", "un"), chat(2, "bob", "deux"), chat(3, "carl", "trois")];
    spool.put(said.to_vec()).await.unwrap();
    let file = files(folder.path()).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    let one = 8 + u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    bytes[one + 20] ^= 0x40;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(drained(&spool, 10).await, [said[0].clone(), said[2].clone()]);
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_restart_finds_what_waits_and_writes_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let before = LocalSpool::open(folder.path()).unwrap();
    before.put(vec![chat(1, "anna", "un")]).await.unwrap();
    drop(before);
    let mut torn = OpenOptions::new().append(true).open(&files(folder.path())[0]).unwrap();
    torn.write_all(&[9, 0, 0]).unwrap();
    let after = LocalSpool::open(folder.path()).unwrap();
    after.put(vec![chat(2, "bob", "deux")]).await.unwrap();
    assert_eq!(files(folder.path()).len(), 2, "nothing is written behind a torn tail");
    assert_eq!(drained(&after, 10).await, [chat(1, "anna", "un"), chat(2, "bob", "deux")]);
}

/// A command beside the server erases while the server goes on writing and reading.
#[tokio::test]
async fn another_process_may_erase_at_any_time() {
    let folder = tempfile::tempdir().unwrap();
    let server = LocalSpool::open(folder.path()).unwrap();
    server.put(vec![chat(1, "anna", "un"), chat(2, "bob", "deux")]).await.unwrap();
    let held = server.oldest(1).await.unwrap();
    let command = LocalSpool::open(folder.path()).unwrap();
    assert_eq!(command.erase_viewer(&notices::viewer_id("anna")).await.unwrap(), 1);
    server.put(vec![chat(3, "carl", "trois")]).await.unwrap();
    server.done(held.mark.unwrap()).await.unwrap();
    let kept = [chat(2, "bob", "deux"), chat(3, "carl", "trois")];
    assert_eq!(drained(&server, 10).await, kept);
    let mut on_disk = Vec::new();
    for file in files(folder.path()) {
        on_disk.extend(std::fs::read(file).unwrap());
    }
    assert!(!String::from_utf8_lossy(&on_disk).contains("anna"));
}

#[tokio::test]
async fn a_full_spool_says_so_and_keeps_what_it_has() {
    let spool = MemorySpool::default();
    spool.put(vec![chat(1, "anna", "un")]).await.unwrap();
    spool.set_full(true);
    assert!(spool.put(vec![chat(2, "bob", "deux")]).await.is_err());
    assert_eq!(drained(&spool, 10).await, [chat(1, "anna", "un")]);
}
