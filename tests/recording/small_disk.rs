//! A disk of 64 MB that fills up while a camera records on it: people are told, what can wait gives way, the recording does not.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use tokio::net::TcpListener;

use crate::camera;
use crate::process::until;
use crate::recorder::{KEYS, Studio, decodes, footage, media, packets};

/// Longest from a disk at its line until somebody is told.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// Of a picture and a sound of a second, both counted.
const SECONDS: u32 = 25;

/// A disk of its own, in memory, for a folder.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(folder: &'a Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let words = ["-t", "tmpfs", "-o", "size=64m,mode=755", "none"];
        let mounted = Command::new("mount").args(words).arg(folder).status().unwrap();
        assert!(mounted.success(), "the test needs to mount");
        Self(folder)
    }

    /// Bytes in use and in all.
    fn space(&self) -> (u64, u64) {
        let space = rustix::fs::statvfs(self.0).unwrap();
        let (total, free) = (space.f_blocks * space.f_frsize, space.f_bfree * space.f_frsize);
        (total - free, total)
    }

    /// Fills it up to this share.
    fn fill(&self, share: f64) {
        let (used, total) = self.space();
        let bytes = ((total as f64 * share) as u64).saturating_sub(used);
        let mut options = std::fs::OpenOptions::new();
        let mut filler = options.create(true).append(true).open(self.0.join("filler")).unwrap();
        match filler.write_all(&vec![7; bytes as usize]) {
            // The camera was quicker: the disk is full all the same.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::StorageFull),
            Ok(()) => {}
        }
        let (used, total) = self.space();
        assert!(used as f64 / total as f64 >= share - 0.01, "{used} of {total} bytes");
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Whoever still holds a file there lets go when the test ends.
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

/// Where alerts are posted to; their titles.
async fn webhook() -> (String, Arc<Mutex<Vec<String>>>) {
    type Titles = Arc<Mutex<Vec<String>>>;
    let titles = Titles::default();
    let hear = async |State(titles): State<Titles>, body: Bytes| {
        let post: serde_json::Value = serde_json::from_slice(&body).unwrap();
        titles.lock().unwrap().push(post["embeds"][0]["title"].as_str().unwrap().to_owned());
        StatusCode::NO_CONTENT
    };
    let router = Router::new().fallback(hear).with_state(titles.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}/hook"), titles)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_disk_that_fills_is_told_of_and_the_recording_is_whole() {
    let studio = Studio::open().await;
    let disk = SmallDisk::mount(&studio.home.data);
    let (hook, titles) = webhook().await;
    let server =
        studio.serve_with(&[("SPARK_ALERTS_WEBHOOK", &*hook), ("SPARK_RESOURCES_ENFORCE", "on")]);
    studio.ready().await;
    studio.add_cameras().await;
    let said = || server.said();
    until("the server", || async { said().contains("SPARK: http").then_some(()) }).await;
    let url = said().split_whitespace().find(|it| it.starts_with("http://")).unwrap().to_owned();
    let measures = async || {
        let answer = reqwest::get(format!("{url}/metrics")).await.ok()?;
        answer.text().await.ok()
    };
    let gives_way = async |action: &str| {
        let line = format!("spark_giving_way{{action=\"{action}\"}} 1");
        measures().await.is_some_and(|text| text.contains(&line))
    };
    let mut on_air = studio.publish(KEYS[0], SECONDS, true);
    until("parts come", || async { (studio.parts(0).await.len() >= 3).then_some(()) }).await;
    let (used, total) = disk.space();
    assert!((used as f64) < 0.7 * total as f64, "{used} of {total} bytes before anything happened");
    assert!(!gives_way("shed_sheddable").await, "{titles:?}");

    disk.fill(0.82);
    let full = Instant::now();
    let is_told = || titles.lock().unwrap().iter().any(|title| title.starts_with("Le disque a"));
    until("the alert", || async { is_told().then_some(()) }).await;
    assert!(full.elapsed() <= TOLD_WITHIN, "{:?}", full.elapsed());
    assert!(gives_way("hold_renders").await && gives_way("shed_sheddable").await);

    // To the last byte: the recording goes on in what was kept back for it, then stops, and harms nothing.
    disk.fill(1.0);
    assert!(on_air.wait().unwrap().success(), "its camera was not sent away");
    until("the camera has left", || async {
        let state = studio.state().await?;
        state.cameras.iter().all(|it| it.feed.is_none()).then_some(())
    })
    .await;
    let files = media(&studio.dvr().join(camera(0).to_string()));
    let counted: Vec<(usize, usize)> = files.iter().map(|file| packets(file)).collect();
    let sum = counted.iter().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    let expected = {
        let cut = studio.home.beside("cut.flv");
        let (source, seconds) = (footage(), SECONDS.to_string());
        let words = ["-i", source.to_str().unwrap(), "-t", &seconds, "-c", "copy"];
        crate::process::ffmpeg(&words, &cut);
        packets(&cut)
    };
    assert_eq!(sum, expected, "every packet is on the disk");
    files.iter().for_each(|file| decodes(file));

    std::fs::remove_file(studio.home.data.join("filler")).unwrap();
    until("it gives way no more", || async { (!gives_way("shed_sheddable").await).then_some(()) })
        .await;
    server.signal("TERM");
    server.ended().well();
}
