//! The recorder as a process, with the real `ffmpeg` as its cameras, over kills of the server and of itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use sha2::{Digest, Sha256};
use spark::adapters::local_dvr::{LocalDvr, LocalFootage};
use spark::adapters::postgres::PostgresLedger;
use spark::domain::live::camera::{CameraEvent, CameraName, KeyHash};
use spark::ports::dvr::{Footage, PartPlace};
use spark::ports::ledger::{Commit, Ledger};
use spark::ports::recorder::RecorderState;

use crate::camera;
use crate::process::{Home, Running, is_alive, signal, until};

pub(crate) const KEYS: [&str; 2] = ["key-of-the-salon", "key-of-the-kitchen"];
/// Longest a recorder may be away after its death.
const BACK_MAX: Duration = Duration::from_secs(5);

pub(crate) struct Studio {
    pub(crate) home: Home,
    desk: Client,
}

impl Studio {
    pub(crate) async fn open() -> Self {
        let home = Home::on_shared_server().await;
        let socket = home.data.join("recorder/desk.sock");
        let desk = Client::builder().unix_socket(socket).pool_max_idle_per_host(0).build().unwrap();
        Self { home, desk }
    }

    pub(crate) fn serve(&self) -> Running {
        self.serve_with(&[])
    }

    /// The same with settings of its own.
    pub(crate) fn serve_with(&self, more: &[(&str, &str)]) -> Running {
        // A recorder that comes back must be found where the cameras look for it.
        let rtmp = fs::read_to_string(self.home.beside("rtmp")).unwrap_or_else(|_| {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            self.home.write("rtmp", free.to_string());
            free.to_string()
        });
        let usual = [("SPARK_RECORD_RUN", "here"), ("SPARK_RECORD_RTMP", &*rtmp)];
        let settings = [&usual[..], more].concat();
        self.home.start_with(&["serve", "--listen", "127.0.0.1:0"], &settings)
    }

    pub(crate) async fn state(&self) -> Option<RecorderState> {
        self.desk.get("http://recorder/state").send().await.ok()?.json().await.ok()
    }

    pub(crate) async fn ready(&self) -> RecorderState {
        until("the recorder answers", || self.state()).await
    }

    /// Adds the cameras, as the page would, and waits until the recorder was told.
    pub(crate) async fn add_cameras(&self) {
        let ledger = PostgresLedger::new(self.home.pool().await);
        let added = |(n, key): (usize, &&str)| {
            let name = CameraName::try_new(key).unwrap();
            let key = KeyHash::new(Sha256::digest(key).into());
            CameraEvent::Added { camera: camera(n as u128), name, key, by: None }.into()
        };
        let events = KEYS.iter().enumerate().map(added).collect();
        ledger.commit(Commit { events, ..Commit::default() }).await.unwrap();
        until("the recorder knows the cameras", || async {
            let state = self.state().await?;
            (state.cameras.len() == KEYS.len()).then_some(())
        })
        .await;
    }

    /// `ffmpeg` publishing so many seconds of pictures and sound; as fast as they happen, or five times as fast.
    pub(crate) fn publish(&self, key: &str, seconds: u32, in_real_time: bool) -> Child {
        let rtmp = fs::read_to_string(self.home.beside("rtmp")).unwrap();
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-nostdin"]);
        ffmpeg.args(["-readrate", if in_real_time { "1" } else { "5" }]);
        ffmpeg
            .args(["-i", footage().to_str().unwrap(), "-t", &seconds.to_string(), "-c", "copy"])
            .args(["-f", "flv", &format!("rtmp://{rtmp}/live/{key}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        ffmpeg.spawn().unwrap()
    }

    pub(crate) fn dvr(&self) -> PathBuf {
        self.home.data.join("dvr")
    }

    pub(crate) async fn parts(&self, n: u128) -> Vec<PartPlace> {
        LocalFootage::at(&self.dvr()).parts(camera(n), 0, i64::MAX).await.unwrap()
    }
}

/// A minute of 640×360 at 30 frames a second with B-frames, and a tone.
pub(crate) fn footage() -> PathBuf {
    crate::process::kept("camera.flv", |path| {
        let words = "-f lavfi -i testsrc2=size=640x360:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000 \
                     -t 60 -c:v libx264 -preset ultrafast -bf 2 -g 60 -b:v 800k -c:a aac -b:a 96k -f flv";
        crate::process::ffmpeg(&words.split_whitespace().collect::<Vec<_>>(), path);
    })
}

/// Packets of pictures and of sound in a file, as FFmpeg counts them; whatever it complains about is a failure.
pub(crate) fn packets(path: &Path) -> (usize, usize) {
    let count = |stream: &str| {
        let words = ["-v", "error", "-count_packets", "-select_streams", stream, "-show_entries"];
        let output = Command::new("ffprobe")
            .args(words)
            .args(["stream=nb_read_packets", "-of", "csv=p=0"])
            .arg(path)
            .output()
            .unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        // Of a transport stream it is told twice: in its programme, and alone.
        let told = String::from_utf8_lossy(&output.stdout);
        told.split_whitespace().next().and_then(|count| count.parse().ok()).unwrap_or(0)
    };
    (count("v:0"), count("a:0"))
}

/// Decodes a file to its end; whatever FFmpeg complains about is a failure.
pub(crate) fn decodes(path: &Path) {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(path)
        .args(["-f", "null", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", path.display());
}

pub(crate) fn media(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
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

#[tokio::test]
async fn what_ffmpeg_publishes_is_recorded_packet_by_packet_and_plays() {
    const SECONDS: u32 = 25;
    let studio = Studio::open().await;
    let server = studio.serve();
    studio.ready().await;
    studio.add_cameras().await;
    let refused = studio.publish("a key of nobody", 2, false).wait().unwrap();
    assert!(!refused.success(), "ffmpeg is told that its key opens nothing");
    // Not all at once: ffmpeg closes with our acknowledgements unread, and its system then drops what it had not sent yet.
    let mut both: Vec<Child> = KEYS.iter().map(|key| studio.publish(key, SECONDS, false)).collect();
    for child in &mut both {
        assert!(child.wait().unwrap().success());
    }
    until("both have left", || async {
        let state = studio.state().await?;
        state.cameras.iter().all(|it| it.feed.is_none() && it.left.is_some()).then_some(())
    })
    .await;
    let told = studio.ready().await;
    assert!(told.refused.contains(&("key".to_owned(), 1)), "{:?}", told.refused);
    let expected = {
        let cut = studio.home.beside("cut.flv");
        let source = footage();
        let seconds = SECONDS.to_string();
        let words = ["-i", source.to_str().unwrap(), "-t", &seconds, "-c", "copy"];
        crate::process::ffmpeg(&words, &cut);
        packets(&cut)
    };
    for n in 0..2 {
        let parts = studio.parts(n).await;
        assert!((25..=27).contains(&parts.len()), "{} parts", parts.len());
        let files = media(&studio.dvr().join(camera(n).to_string()));
        let counted: Vec<(usize, usize)> = files.iter().map(|file| packets(file)).collect();
        let sum = counted.iter().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        assert_eq!(sum, expected);
        for file in &files {
            decodes(file);
        }
        // Any key part and those behind it play after the head, over the ends of files.
        let footage = LocalFootage::at(&studio.dvr());
        let from = parts.iter().position(|part| part.number > 20 && part.is_key).unwrap();
        let mut bytes = footage.init(&parts[from]).await.unwrap().to_vec();
        for part in &parts[from..] {
            bytes.extend(footage.read(part).await.unwrap());
        }
        decodes(&studio.home.write("joined.mp4", bytes));
    }
    server.signal("TERM");
    server.ended().well();
    assert_eq!(studio.state().await, None, "the recorder went with the server, last");
    assert_eq!(LocalDvr::reindex(&studio.dvr()).unwrap().differing, 0);
}

#[tokio::test]
async fn a_server_that_is_killed_loses_no_frame_and_the_next_takes_the_recorder_up() {
    let studio = Studio::open().await;
    let server = studio.serve();
    let recorder = studio.ready().await.pid;
    studio.add_cameras().await;
    let mut camera_on_air = studio.publish(KEYS[0], 12, true);
    until("parts come", || async { (studio.parts(0).await.len() >= 2).then_some(()) }).await;
    server.kill();
    assert!(is_alive(recorder as i32), "the recorder outlives its server");
    let before = studio.parts(0).await.len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(studio.parts(0).await.len() >= before + 2, "it records without a server");
    let server = studio.serve();
    until("the next server is ready", || async { server.said().contains("SPARK: ").then_some(()) })
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(studio.ready().await.pid, recorder, "taken up, not replaced");
    let _ = camera_on_air.wait();
    server.signal("TERM");
    server.ended().well();
    assert_eq!(studio.state().await, None);
    let parts = studio.parts(0).await;
    let mut numbers: Vec<u32> = parts.iter().map(|part| part.number).collect();
    numbers.dedup();
    assert_eq!(numbers, (1..=parts.len() as u32).collect::<Vec<_>>(), "one unbroken recording");
    assert_eq!(LocalDvr::reindex(&studio.dvr()).unwrap().differing, 0);
}

#[tokio::test]
async fn a_recorder_that_is_killed_is_back_within_seconds_and_loses_its_open_part_alone() {
    let studio = Studio::open().await;
    let server = studio.serve();
    studio.ready().await;
    studio.add_cameras().await;
    let rounds = if std::env::var_os("SPARK_DRILLS").is_some() { 100 } else { 4 };
    let mut whole = 0;
    for round in 0..rounds {
        let recorder = studio.ready().await.pid as i32;
        let mut encoder = studio.publish(KEYS[0], 30, true);
        let before = studio.parts(0).await.len();
        until("parts come", || async { (studio.parts(0).await.len() >= before + 2).then_some(()) })
            .await;
        // At another point of the part each time.
        tokio::time::sleep(Duration::from_millis(round * 337 % 1_000)).await;
        let parts = studio.parts(0).await;
        assert!(signal(recorder, "KILL"), "it was there to be killed");
        let killed = Instant::now();
        until("the recorder is back", || async {
            studio.state().await.filter(|state| state.pid as i32 != recorder)
        })
        .await;
        assert!(killed.elapsed() < BACK_MAX, "round {round}: {:?}", killed.elapsed());
        let _ = encoder.kill();
        let _ = encoder.wait();
        let after = studio.parts(0).await;
        assert!(after.starts_with(&parts), "round {round}: a part that was on the disk is gone");
        whole = after.len();
    }
    server.signal("TERM");
    server.ended().well();
    assert!(whole >= 2 * rounds as usize);
    for file in media(&studio.dvr()) {
        decodes(&file);
    }
    assert_eq!(LocalDvr::reindex(&studio.dvr()).unwrap().differing, 0);
}
