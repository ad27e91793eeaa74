//! `spark import` as people run it: what comes in, what is refused and why, and that nothing stays half stored.

mod process;
mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use process::{Home, count, quiet_talk, table, twitch_downloader, until, video};
use sqlx::PgPool;

/// What an import leaves behind, in numbers.
async fn stored(home: &Home, pool: &PgPool) -> (Vec<i64>, Vec<PathBuf>) {
    let mut rows = Vec::new();
    for sql in [
        "select count(*) from event_log where feature <> 'villa'",
        "select count(*) from cards where model not like 'weeks%'",
        "select count(*) from audience_messages",
        "select count(*) from audience_facts",
        "select count(*) from audience_minutes",
        "select count(*) from media_objects",
    ] {
        rows.push(count(pool, sql).await);
    }
    (rows, home.media())
}

/// Neither rows nor files.
async fn check_nothing_stored(home: &Home, pool: &PgPool) {
    assert_eq!(stored(home, pool).await, (vec![0; 6], vec![]));
}

/// The reason that « Travaux » shows for the newest job, which failed.
async fn newest_failure(pool: &PgPool) -> String {
    sqlx::query_scalar(
        "select error from jobs where state = 'failed' order by created_at desc limit 1",
    )
    .fetch_one(pool)
    .await
    .expect("a failed job with its reason")
}

/// A chat in `home` that fits the video.
fn good_chat(home: &Home) -> PathBuf {
    home.write("chat.json", twitch_downloader(&quiet_talk()))
}

#[tokio::test]
async fn a_chat_that_cannot_be_read_is_refused_with_the_place() {
    let home = Home::on_shared_server().await;
    let pool = home.pool().await;
    let whole = twitch_downloader(&quiet_talk());
    let latin1 = [&b"1.0\tana\tbonjour\n2.0\tana\td"[..], b"\xe9", b"j\xe0 vu\n"].concat();
    let folder = home.beside("folder.json");
    fs::create_dir(&folder).expect("a folder");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(whole.as_bytes()).expect("pack");
    let gzip = gzip.finish().expect("pack");
    let place = format!("octet {}", whole.len() / 2);
    let cases: &[(&str, PathBuf, &[&str])] = &[
        ("absent", home.beside("absent.json"), &["Le chat", "absent.json", "vérifiez le chemin"]),
        ("a folder", folder, &["Le chat", "folder.json", "vérifiez le chemin"]),
        ("empty", home.write("empty.json", ""), &["aucun message"]),
        ("no messages", home.write("none.json", r#"{"comments":[]}"#), &["aucun message"]),
        (
            "cut JSON",
            home.write("cut.json", &whole[..whole.len() / 2]),
            &["JSON", "ligne 1", &place, "exportez"],
        ),
        ("Latin 1", home.write("latin1.tsv", latin1), &["UTF-8", "ligne 2", "octet 25"]),
        ("50 MB in a line", home.write("line.tsv", vec![b'a'; 50_000_000]), &["ligne 1", "octets"]),
        (
            "50 MB in a JSON text",
            home.write(
                "text.json",
                format!(
                    r#"{{"comments":[{{"message":{{"body":"{}"}}}}]}}"#,
                    "a".repeat(50_000_000)
                ),
            ),
            &["ligne 1", "octets", "message"],
        ),
        ("cut gzip", home.write("cut.json.gz", &gzip[..gzip.len() / 2]), &["gzip", "trop tôt"]),
        ("a picture", home.write("chat.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), &["pas"]),
    ];
    for (what, chat, words) in cases {
        eprintln!("a chat that is {what}");
        home.import(&video(), chat).refused(words);
        check_nothing_stored(&home, &pool).await;
    }
    assert_eq!(count(&pool, "select count(*) from jobs").await, 0, "no order was written");
}

#[tokio::test]
async fn a_chat_of_another_stream_is_refused() {
    let home = Home::on_shared_server().await;
    let pool = home.pool().await;
    let mut late = quiet_talk();
    for (at, ..) in &mut late {
        *at += 7_200.0;
    }
    let chat = home.write("late.json", twitch_downloader(&late));

    home.import(&video(), &chat).refused(&["un autre direct", "0 messages sur 30"]);

    assert!(newest_failure(&pool).await.contains("un autre direct"));
    check_nothing_stored(&home, &pool).await;
}

#[tokio::test]
async fn a_video_that_cannot_be_cut_later_is_refused_and_says_so_under_travaux() {
    let home = Home::on_shared_server().await;
    let pool = home.pool().await;
    let chat = good_chat(&home);
    let half = |name: &str, source: &Path| {
        let whole = fs::read(source).expect("read the video");
        home.write(name, &whole[..whole.len() / 2])
    };
    let cases = [
        ("noise", home.write("noise.mp4", vec![0x5a; 300_000]), "pas une vidéo"),
        ("cut, index in front", half("cut.mp4", &process::video_faststart()), "incomplet"),
        ("cut, index lost", half("lost.mp4", &video()), "incomplet"),
        ("without picture", process::video_without("-vn"), "pas de piste vidéo"),
        ("without sound", process::video_without("-an"), "pas de piste son"),
    ];
    for (failed, (what, file, reason)) in cases.into_iter().enumerate() {
        eprintln!("a video that is {what}");
        home.import(&file, &chat).refused(&[reason]);
        assert!(newest_failure(&pool).await.contains(reason));
        let jobs = count(&pool, "select count(*) from jobs where state = 'failed'").await;
        assert_eq!(jobs, failed as i64 + 1, "each is seen under « Travaux »");
        check_nothing_stored(&home, &pool).await;
    }
    let absent = home.beside("absent.mp4");
    home.import(&absent, &chat).refused(&["La vidéo", "absent.mp4", "vérifiez le chemin"]);
    check_nothing_stored(&home, &pool).await;
}

#[tokio::test]
async fn what_is_refused_takes_nothing_of_others_along() {
    let home = Home::on_shared_server().await;
    let pool = home.pool().await;
    let chat = good_chat(&home);
    home.import(&video(), &chat).well();
    let before = stored(&home, &pool).await;

    home.import(&home.write("noise.mp4", vec![0x5a; 300_000]), &chat).refused(&["pas une vidéo"]);

    assert_eq!(stored(&home, &pool).await, before);
}

#[tokio::test]
async fn the_same_pair_twice_adds_nothing_and_says_so() {
    let home = Home::on_shared_server().await;
    let pool = home.pool().await;
    let chat = good_chat(&home);
    home.import(&video(), &chat).well();
    let before = stored(&home, &pool).await;
    assert_eq!(count(&pool, "select count(*) from audience_messages").await, 30);

    let renamed = home.write("renamed.mp4", fs::read(video()).expect("read the video"));
    let said = home.import(&renamed, &chat).well();

    assert!(said.contains("rien n'a été ajouté"), "{said}");
    assert_eq!(stored(&home, &pool).await, before);
}

#[tokio::test]
async fn every_chat_format_comes_in_whole() {
    let home = Home::on_shared_server().await;
    let pool = home.pool().await;
    let talk = quiet_talk();
    let pages: String = process::comments(&talk)
        .as_array()
        .expect("a list")
        .chunks(10)
        .map(|page| serde_json::json!({ "comments": page }).to_string() + "\n")
        .collect();
    let list = process::comments(&talk).to_string();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(pages.as_bytes()).expect("pack");
    // Names lie on purpose: the content tells.
    let files = [
        home.write("downloader.txt", twitch_downloader(&talk)),
        home.write("list.json", list),
        home.write("pages.json", pages),
        home.write("packed.json", gzip.finish().expect("pack")),
        home.write("tabs.csv", table(&talk, '\t')),
        home.write("commas.tsv", table(&talk, ',')),
    ];
    for file in files {
        eprintln!("{}", file.display());
        home.import(&video(), &file).well();
    }
    let lives: Vec<i64> =
        sqlx::query_scalar("select count(*) from audience_messages group by live")
            .fetch_all(&pool)
            .await
            .expect("count");
    assert_eq!(lives, [30; 6]);
}

/// Bytes a padded video has beside the real one: enough to catch the copy in its middle.
const PADDING: u32 = 192 << 20;

/// Starts an import and holds it in the middle of the copy of its video.
async fn held_in_the_copy(home: &Home, video: &Path) -> (process::Running, PathBuf, u64) {
    let import = home.start_import(video, &home.beside("chat.json"));
    until("the copy is under way", || async { home.copy_under_way() }).await;
    import.signal("STOP");
    let (file, bytes) = home.copy_under_way().expect("the copy is not finished");
    assert!(bytes < fs::metadata(video).expect("look").len(), "it is in its middle");
    (import, file, bytes)
}

#[tokio::test]
async fn an_interrupted_copy_goes_on_where_it_was() {
    let home = Home::on_shared_server().await;
    let pool = home.pool().await;
    good_chat(&home);
    let long = home.beside("long.mp4");
    process::video_padded(&long, PADDING);
    let size = fs::metadata(&long).expect("look").len();

    // Ctrl-C first, then a kill.
    let (import, file, _) = held_in_the_copy(&home, &long).await;
    let inode = fs::metadata(&file).expect("look").ino();
    import.signal("INT");
    import.signal("CONT");
    import.ended().refused(&["Interrompu", "reprend là où elle en était"]);
    let first = fs::metadata(&file).expect("what came in is kept").len();
    assert!(first > 0 && first < size, "{first} of {size}");
    let import = home.start_import(&long, &home.beside("chat.json"));
    until("the copy goes on", || async {
        fs::metadata(&file).is_ok_and(|file| file.len() > first).then_some(())
    })
    .await;
    import.kill();
    let second = fs::metadata(&file).expect("what came in is kept").len();
    assert!(second > first && second < size, "killed in the middle: {second} of {size}");
    assert_eq!(stored(&home, &pool).await.0, [0; 6]);

    let said = home.import(&long, &home.beside("chat.json")).well();

    assert!(said.contains(&format!("reprend après {second} octets")), "{said}");
    let recording = home.media().into_iter().find(|path| path.starts_with("recordings"));
    let recording = home.data.join("media").join(recording.expect("a recording"));
    assert_eq!(fs::metadata(&recording).expect("look").ino(), inode, "one file all along");
    assert!(fs::read(&recording).expect("read") == fs::read(&long).expect("read"), "byte for byte");
    assert_eq!(home.copy_under_way(), None);
}

/// What may happen to a file while it is copied.
type Change = fn(&Path);

#[tokio::test]
async fn a_file_that_changes_or_vanishes_meanwhile_is_refused() {
    let home = Home::on_shared_server().await;
    let pool = home.pool().await;
    let chat = good_chat(&home);
    let long = home.beside("long.mp4");
    let changes: [(&str, Change); 4] = [
        ("shrinks", |file| {
            let file = fs::File::options().write(true).open(file).expect("open");
            file.set_len(1_000_000).expect("shrink");
        }),
        ("grows", |file| {
            let mut file = fs::File::options().append(true).open(file).expect("open");
            file.write_all(b"more").expect("grow");
        }),
        ("is written over", |file| {
            let mut file = fs::File::options().write(true).open(file).expect("open");
            file.write_all(b"over").expect("write over");
        }),
        ("vanishes", |file| fs::remove_file(file).expect("remove")),
    ];
    for (what, change) in changes {
        eprintln!("a video that {what}");
        process::video_padded(&long, PADDING);
        let (import, ..) = held_in_the_copy(&home, &long).await;
        change(&long);
        import.signal("CONT");
        import.ended().refused(&["changé ou disparu", "octets"]);
        check_nothing_stored(&home, &pool).await;
    }
    // The chat was read before; it is gone when its turn to be copied comes.
    process::video_padded(&long, PADDING);
    let (import, ..) = held_in_the_copy(&home, &long).await;
    fs::remove_file(&chat).expect("remove");
    import.signal("CONT");
    import.ended().refused(&["chat.json", "ne peut pas être lu"]);
    check_nothing_stored(&home, &pool).await;
}

/// A small file system for as long as this lives. Only root can mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, megabytes: u32) -> Self {
        fs::create_dir_all(at).expect("a folder to mount at");
        let options = format!("size={megabytes}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(at).status();
        assert!(mounted.is_ok_and(|status| status.success()), "mount a small disk");
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_nearly_full_disk_is_told_and_nothing_is_begun() {
    if !process::is_root() {
        eprintln!("skipped: only root can mount a small disk");
        return;
    }
    let home = Home::on_shared_server().await;
    let pool = home.pool().await;
    let chat = good_chat(&home);
    let long = home.beside("long.mp4");
    process::video_padded(&long, PADDING);
    // The store keeps 512 MiB free for the database and the system.
    let disk = SmallDisk::mount(&home.data.join("media"), 600);

    home.import(&long, &chat).refused(&["Le disque est presque plein", "Libérez de la place"]);

    check_nothing_stored(&home, &pool).await;
    // What fits beside the reserve is taken.
    home.import(&video(), &chat).well();
    drop(disk);
}
