//! The real program in a data folder of its own, and small streams to give it.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::support;

/// How long anything may take here before the test says what it waited for. Renderers run at the lowest priority: on a
/// busy machine they are slow.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);
/// The week everything is filed under.
pub(crate) const WEEK: &str = "Villa Novembre 2026";

/// A data folder that takes its private server along when it goes.
pub(crate) struct Home {
    folder: tempfile::TempDir,
    pub(crate) data: PathBuf,
    url: Option<String>,
}

impl Home {
    /// One on the tests' own quick server, as with a configured `DATABASE_URL`.
    pub(crate) async fn on_shared_server() -> Self {
        let mut home = Self::private();
        home.url = Some(support::fresh_database_url().await);
        home
    }

    /// One that runs its own private PostgreSQL, as for everybody.
    pub(crate) fn private() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("home-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a folder");
        let data = folder.path().join("data");
        Self { folder, data, url: None }
    }

    /// A path beside the data folder, for inputs.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file beside the data folder.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.beside(name);
        fs::write(&path, bytes).expect("write an input");
        path
    }

    /// `spark …` on this folder.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spark"));
        command.args(words).arg("--data").arg(&self.data).current_dir(self.folder.path());
        for (name, _) in std::env::vars_os() {
            if name == "DATABASE_URL" || name.to_string_lossy().starts_with("SPARK_") {
                command.env_remove(name);
            }
        }
        if let Some(url) = &self.url {
            command.env("DATABASE_URL", url);
        }
        // Who wants a recorder says so, and on which port.
        command.env("SPARK_RECORD_RUN", "elsewhere").env("SPARK_RECORD_RTMP", "127.0.0.1:0");
        command.env("SPARK_RECORD_SRT", "127.0.0.1:0");
        // What the tests beside this one take is no live work of its house.
        command.env("SPARK_RESOURCES_ENFORCE", "off");
        command
    }

    /// Starts `spark …`.
    #[track_caller]
    pub(crate) fn start(&self, words: &[&str]) -> Running {
        Running::start(self.command(words), self.folder.path())
    }

    /// Starts `spark …` with settings of its own.
    #[track_caller]
    pub(crate) fn start_with(&self, words: &[&str], settings: &[(&str, &str)]) -> Running {
        let mut command = self.command(words);
        command.envs(settings.iter().copied());
        Running::start(command, self.folder.path())
    }

    /// Runs `spark …` to its end.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        self.start(words).ended()
    }

    /// Starts an import of these files.
    #[track_caller]
    pub(crate) fn start_import(&self, video: &Path, chat: &Path) -> Running {
        self.start(&[
            "import",
            "--week",
            WEEK,
            "--video",
            video.to_str().expect("a plain path"),
            "--chat",
            chat.to_str().expect("a plain path"),
        ])
    }

    /// Imports these files.
    #[track_caller]
    pub(crate) fn import(&self, video: &Path, chat: &Path) -> Ended {
        self.start_import(video, chat).ended()
    }

    /// Where the private cluster lies; for root that is not the data folder.
    pub(crate) fn cluster(&self) -> PathBuf {
        let own = self.data.join("postgres");
        fs::read_to_string(own.join("home")).map_or(own, |text| PathBuf::from(text.trim()))
    }

    /// Process of the private server, if it runs.
    pub(crate) fn postmaster(&self) -> Option<i32> {
        let text = fs::read_to_string(self.cluster().join("pgdata/postmaster.pid")).ok()?;
        let pid = text.lines().next()?.trim().parse().ok()?;
        is_alive(pid).then_some(pid)
    }

    /// A look into the database from outside. `None` while the private server is not there yet.
    pub(crate) async fn look(&self) -> Option<PgPool> {
        let options: PgConnectOptions = if let Some(url) = &self.url {
            url.parse().expect("our own URL")
        } else {
            let password = fs::read_to_string(self.data.join("postgres/password")).ok()?;
            PgConnectOptions::new_without_pgpass()
                .socket(self.cluster().join("socket"))
                .username("spark")
                .password(password.trim())
                .database("spark")
        };
        let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await.ok()?;
        let migrated: Option<String> =
            sqlx::query_scalar("select to_regclass('media_objects')::text")
                .fetch_one(&pool)
                .await
                .ok()?;
        migrated.map(|_| pool)
    }

    /// The same, waited for.
    pub(crate) async fn pool(&self) -> PgPool {
        let begun = Instant::now();
        loop {
            if let Some(pool) = self.look().await {
                return pool;
            }
            assert!(begun.elapsed() < PATIENCE, "the database does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Every file in the media folder, work in progress included, relative to it.
    pub(crate) fn media(&self) -> Vec<PathBuf> {
        let root = self.data.join("media");
        let mut found = Vec::new();
        let mut left = vec![root.clone()];
        while let Some(folder) = left.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    left.push(entry.path());
                } else {
                    found.push(entry.path().strip_prefix(&root).expect("below").to_owned());
                }
            }
        }
        found.sort();
        found
    }

    /// The copy that is under way: its path and how much of it is there.
    pub(crate) fn copy_under_way(&self) -> Option<(PathBuf, u64)> {
        let work = self.data.join("media/.work");
        fs::read_dir(work).ok()?.flatten().find_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let bytes = entry.metadata().ok()?.len();
            (name.starts_with("resume-") && bytes > 0).then(|| (entry.path(), bytes))
        })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(pid) = self.postmaster() {
            signal(pid, "QUIT");
            let begun = Instant::now();
            while is_alive(pid) && begun.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let cluster = self.cluster();
        if !cluster.starts_with(self.folder.path()) {
            let _ = fs::remove_dir_all(cluster);
        }
    }
}

/// A `spark` that runs. Dropped, it is killed.
pub(crate) struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    #[track_caller]
    fn start(mut command: Command, folder: &Path) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let (out, err) =
            (folder.join(format!("out-{number}")), folder.join(format!("err-{number}")));
        command.stdin(Stdio::null());
        command.stdout(File::create(&out).expect("a file for its words"));
        command.stderr(File::create(&err).expect("a file for its log"));
        Self { child: command.spawn().expect("start spark"), out, err }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }

    /// What it said so far, words and log.
    pub(crate) fn said(&self) -> String {
        let read =
            |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        format!("{}{}", read(&self.out), read(&self.err))
    }

    /// The processes it started that run as renderers.
    pub(crate) fn renderers(&self) -> Vec<i32> {
        renderers_of(self.pid())
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Ended {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("look at spark") {
                return Ended { status, said: self.said(), took: begun.elapsed() };
            }
            assert!(begun.elapsed() < PATIENCE, "spark does not end; it said: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it, and proves that it was the kill that ended it.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("kill spark");
        let status = self.child.wait().expect("wait for spark");
        assert_eq!(status.signal(), Some(9), "it had ended before: {}", self.said());
    }

    /// Sends a signal by name.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        assert!(signal(self.pid(), name), "the process is there to hear {name}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A `spark` that ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
    pub(crate) took: Duration,
}

impl Ended {
    /// It went well; what it said.
    #[track_caller]
    pub(crate) fn well(self) -> String {
        assert!(self.status.success(), "{}: {}", self.status, self.said);
        self.said
    }

    /// It refused, with these words in one sentence of its own, and did not just fall over.
    #[track_caller]
    pub(crate) fn refused(self, words: &[&str]) -> String {
        assert_eq!(self.status.code(), Some(1), "{}", self.said);
        let sentence = self.said.lines().rev().find(|line| line.starts_with("spark: "));
        let sentence = sentence.unwrap_or_else(|| panic!("no sentence in: {}", self.said));
        for word in words {
            assert!(sentence.contains(word), "`{word}` is missing in: {sentence}");
        }
        assert!(!self.said.contains("panicked"), "{}", self.said);
        self.said
    }
}

/// Waits for something to become true, with the question on every turn.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// One number out of the database.
pub(crate) async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.expect("count")
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Sends a signal by name; `false` when nobody is there.
pub(crate) fn signal(pid: i32, name: &str) -> bool {
    let mut kill = Command::new("kill");
    kill.args(["-s", name, &pid.to_string()]).stderr(Stdio::null());
    kill.status().is_ok_and(|status| status.success())
}

/// Children of `parent` whose command is `spark render`.
pub(crate) fn renderers_of(parent: i32) -> Vec<i32> {
    children_of(parent, b"\0render\0")
}

/// Children of `parent` whose command holds these bytes; words end with a zero.
pub(crate) fn children_of(parent: i32, command: &[u8]) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok())
        .filter(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
            let (state, ppid) = (fields.next(), fields.next());
            state != Some("Z")
                && ppid == Some(&parent.to_string())
                && fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|words| words.windows(command.len()).any(|it| it == command))
        })
        .collect()
}

/// Makes a file once a test run and for all that follow: under `target/tmp`, behind a lock.
pub(crate) fn kept(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fixtures").join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder for fixtures");
    let lock = File::create(path.with_added_extension("lock")).expect("a lock");
    lock.lock().expect("take turns");
    if !path.exists() {
        let temporary = path.with_file_name(format!("making-{name}"));
        make(&temporary);
        fs::rename(&temporary, &path).expect("place the fixture");
    }
    path
}

/// Runs FFmpeg's own program.
pub(crate) fn ffmpeg(words: &[&str], output: &Path) {
    let said = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(words)
        .arg(output)
        .output()
        .expect("ffmpeg is not installed: `make test` installs it");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

const PICTURE: [&str; 4] = ["-f", "lavfi", "-i", "testsrc=size=320x180:rate=15:duration=30"];
const SOUND: [&str; 4] = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=30"];
const ENCODE: [&str; 6] = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "30"];

/// Thirty seconds of a test picture with a tone.
pub(crate) fn video() -> PathBuf {
    kept("thirty.mp4", |path| {
        let words = [&PICTURE[..], &SOUND, &ENCODE, &["-pix_fmt", "yuv420p", "-c:a", "aac"]];
        ffmpeg(&words.concat(), path);
    })
}

/// The same with its index in front.
pub(crate) fn video_faststart() -> PathBuf {
    kept("thirty-faststart.mp4", |path| {
        let source = video();
        let source = source.to_str().expect("a plain path");
        ffmpeg(&["-i", source, "-c", "copy", "-movflags", "+faststart"], path);
    })
}

/// The same without its sound, or without its picture.
pub(crate) fn video_without(track: &str) -> PathBuf {
    kept(&format!("thirty-no{track}.mp4"), |path| {
        let source = video();
        ffmpeg(&["-i", source.to_str().expect("a plain path"), "-c", "copy", track], path);
    })
}

/// The same, made long: an MP4 box nobody reads (`free`, ISO/IEC 14496-12) of `bytes`.
pub(crate) fn video_padded(path: &Path, bytes: u32) {
    fs::copy(video(), path).expect("copy the video");
    let mut file = File::options().append(true).open(path).expect("open the copy");
    file.write_all(&bytes.to_be_bytes()).and_then(|()| file.write_all(b"free")).expect("write");
    let whole = file.metadata().expect("look").len() + u64::from(bytes) - 8;
    file.set_len(whole).expect("make it long");
}

/// One chat message: seconds, user, text, and whether a moderator wrote it.
pub(crate) type Said = (f64, String, &'static str, bool);

/// Thirty seconds of quiet talk: no moment in it.
pub(crate) fn quiet_talk() -> Vec<Said> {
    quiet_talk_of(30)
}

fn quiet_talk_of(seconds: u32) -> Vec<Said> {
    (0..seconds)
        .map(|i| (f64::from(i) + 0.5, format!("viewer{}", i % 7), "bonjour à tous", false))
        .collect()
}

/// The same with a moderator's `!clip` in the middle of a burst: one moment, so one clip and one reel.
pub(crate) fn talk_with_a_moment() -> Vec<Said> {
    talk_with_moments_at(30, &[15.0])
}

/// The same at these instants of a stream of `seconds`.
pub(crate) fn talk_with_moments_at(seconds: u32, instants: &[f64]) -> Vec<Said> {
    let mut talk = quiet_talk_of(seconds);
    for &at in instants {
        talk.push((at, "mod".into(), "!clip", true));
        let fan = |i: u32| (at + f64::from(i) * 0.1, format!("fan{i}"), "LUL HYPE", false);
        talk.extend((0..25).map(fan));
    }
    talk.sort_by(|a, b| a.0.total_cmp(&b.0));
    talk
}

/// As TwitchDownloader exports it.
pub(crate) fn twitch_downloader(talk: &[Said]) -> String {
    serde_json::json!({
        "streamer": {"name": "villa", "id": 1},
        "video": {"title": "Le direct", "id": "1", "created_at": "2026-11-07T19:00:00Z", "start": 0, "end": 30, "length": 30},
        "comments": comments(talk),
    })
    .to_string()
}

/// The comments of Twitch's API v5.
pub(crate) fn comments(talk: &[Said]) -> serde_json::Value {
    talk.iter()
        .enumerate()
        .map(|(i, (at, user, text, moderator))| {
            let badges = if *moderator {
                serde_json::json!([{"_id": "moderator", "version": "1"}])
            } else {
                serde_json::json!([])
            };
            serde_json::json!({
                "_id": format!("m{i}"),
                "content_offset_seconds": at,
                "commenter": {"display_name": user, "_id": format!("id-{user}"), "name": user},
                "message": {"body": text, "user_badges": badges},
            })
        })
        .collect()
}

/// A table of seconds, user and text.
pub(crate) fn table(talk: &[Said], delimiter: char) -> String {
    talk.iter()
        .map(|(at, user, text, _)| format!("{at}{delimiter}{user}{delimiter}{text}\n"))
        .collect()
}

/// A stream long enough for two moments apart.
pub(crate) fn long_video() -> PathBuf {
    kept("hundred-ten.mp4", |path| {
        let picture = ["-f", "lavfi", "-i", "testsrc=size=320x180:rate=15:duration=110"];
        let sound = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=110"];
        let encode = ["-pix_fmt", "yuv420p", "-c:a", "aac"];
        ffmpeg(&[&picture[..], &sound, &ENCODE, &encode].concat(), path);
    })
}
