//! A scratch data folder, and users of it in processes of their own.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use spark::adapters::postgres::cluster::Cluster;
use spark::adapters::postgres::cluster::status::ClusterState;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

const NOBODY: u32 = 65534;

pub(crate) fn path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A data folder that takes its server and its home along when it goes.
pub(crate) struct Scratch {
    dir: tempfile::TempDir,
    pub(crate) data: PathBuf,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self::named("data")
    }

    pub(crate) fn named(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join(name);
        Self { dir, data }
    }

    /// One that `nobody` may use.
    pub(crate) fn of_nobody(name: &str) -> Self {
        let scratch = Self::named(name);
        let top = scratch.dir.path();
        std::os::unix::fs::chown(top, Some(NOBODY), Some(NOBODY)).unwrap();
        scratch
    }

    pub(crate) fn home(&self) -> PathBuf {
        let own = self.data.join("postgres");
        fs::read_to_string(own.join("home")).map_or(own, |text| PathBuf::from(text.trim()))
    }

    pub(crate) fn pgdata(&self) -> PathBuf {
        self.home().join("pgdata")
    }

    pub(crate) fn state(&self) -> ClusterState {
        Cluster::status(&self.data, &path()).unwrap().state
    }

    pub(crate) async fn open(&self) -> Cluster {
        Cluster::open(&self.data, &path()).await.unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Ok(text) = fs::read_to_string(self.pgdata().join("postmaster.pid"))
            && let Some(pid) = text.lines().next().and_then(|line| line.parse::<i32>().ok())
            && fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|c| c.starts_with("postgres"))
        {
            let _ = Command::new("kill").args(["-QUIT", &pid.to_string()]).status();
            eventually("the server is gone", || !is_alive(pid));
        }
        if self.home().starts_with("/var/lib/spark") {
            let _ = fs::remove_dir_all(self.home());
        }
    }
}

pub(crate) async fn query(cluster: &Cluster, sql: &str) -> String {
    let mut connection = cluster.connect_options().connect().await.unwrap();
    let text = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql.to_owned()))
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    text
}

pub(crate) async fn execute(cluster: &Cluster, sql: &str) {
    let mut connection = cluster.connect_options().connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Tells a process of this very test program that it is a [`User`], and of which folder.
const FOLDER: &str = "SPARK_TEST_CLUSTER_USER";

/// No test of its own: what a [`User`] does. Opens the cluster of a folder, then obeys lines on its input: `close` and
/// the end of input close, anything else is a query that returns one text. It answers on stderr, which is ours alone.
#[tokio::test]
async fn a_user_obeys() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let cluster = match Cluster::open(Path::new(&folder), &path()).await {
        Ok(cluster) => cluster,
        Err(error) => {
            eprintln!("error {error}");
            return;
        }
    };
    eprintln!("ready {} {:?}", cluster.pid(), cluster.arrival());
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        if line == "close" {
            break;
        }
        let mut connection = cluster.connect_options().connect().await.unwrap();
        let answer: Result<String, _> =
            sqlx::query_scalar(AssertSqlSafe(line)).fetch_one(&mut connection).await;
        connection.close().await.unwrap();
        eprintln!("answer {answer:?}");
    }
    eprintln!("closed {:?}", cluster.close().await.unwrap());
}

/// A spark in a process of its own.
pub(crate) struct User {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStderr>,
}

impl User {
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_through(&[], data)
    }

    pub(crate) fn start_as_nobody(data: &Path) -> Self {
        let through = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        Self::start_through(&through, data)
    }

    pub(crate) fn start_through(through: &[&str], data: &Path) -> Self {
        let this = std::env::current_exe().unwrap();
        let mut words: Vec<&str> = through.to_vec();
        words.push(this.to_str().unwrap());
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .args(["--exact", "scratch::a_user_obeys", "--nocapture"])
            .env(FOLDER, data)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stderr.take().unwrap());
        Self { child, input, output }
    }

    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Waits until it is ready; process of the server, and whether it was started or adopted.
    #[track_caller]
    pub(crate) fn ready(&mut self) -> (i32, String) {
        let line = self.hear();
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], "ready", "{line}");
        (words[1].parse().unwrap(), words[2].to_owned())
    }

    pub(crate) fn tell(&mut self, line: &str) -> String {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
        self.hear()
    }

    /// What one says that cannot open; it has ended when this returns.
    pub(crate) fn only_words(mut self) -> String {
        self.hear()
    }

    /// Kills it and proves that it was the kill.
    pub(crate) fn kill(mut self) {
        use std::os::unix::process::ExitStatusExt;
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().signal(), Some(9));
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // The end of its input closes it.
        drop(self.input.take());
        while !self.hear().is_empty() {}
        let _ = self.child.wait();
    }
}

pub(crate) fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Kills with SIGKILL and waits until it is gone.
pub(crate) fn kill(pid: i32) {
    assert!(is_alive(pid));
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    eventually("the killed process is gone", || !is_alive(pid));
}

#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 60 s: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Every file with its change time and size: two equal ones mean that nothing was touched.
pub(crate) fn tree(folder: &Path) -> Vec<(PathBuf, i64, i64, u64)> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_path_buf()];
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.push((path, metadata.ctime(), metadata.ctime_nsec(), metadata.len()));
    }
    found.sort();
    found
}
