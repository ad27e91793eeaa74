//! A real PostgreSQL for tests: one private server a test process (a test run under cargo-nextest), fast and
//! unsafe on purpose. A watchdog stops it and removes its folder when the process is gone, however it went.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

pub(crate) mod databases;
pub(crate) mod samples;

use std::io::{Read, Seek, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// How long a server may take to answer.
const START_MAX: Duration = Duration::from_secs(30);
/// Connections of one pool at most: many tests share the server.
const POOL_CONNECTIONS_MAX: u32 = 8;
/// Free bytes from which on the server's folder is placed in memory.
const MEMORY_FREE_MIN: u64 = 2 << 30;
/// The database that fresh ones are copied from.
const MIGRATED: &str = "migrated";
/// Waits for the watched process to vanish, then takes the server and its folder along.
const WATCHDOG: &str = r#"
"$0" -D "$1/data" -k "$1" -c listen_addresses= -c max_connections=300 -c shared_buffers=16MB \
    -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_wal_size=256MB -c autovacuum=off \
    -c unix_socket_permissions=0700 >"$1/log" 2>&1 &
server=$!
while [ -d "/proc/$2" ] && kill -0 "$server" 2>/dev/null; do sleep 0.3; done
kill -QUIT "$server" 2>/dev/null
wait "$server"
rm -rf "$1" "$1.lock"
"#;

static SERVER: OnceLock<PathBuf> = OnceLock::new();
static DATABASES: AtomicU64 = AtomicU64::new(0);

/// A new database with the schema of this very source tree.
pub(crate) async fn fresh_database() -> PgPool {
    pool(&fresh_database_name().await).await
}

/// Another pool on the database of `pool`: what another process would have.
pub(crate) async fn another_pool(pool: &PgPool) -> PgPool {
    let name = pool.connect_options().get_database().expect("a named database").to_owned();
    self::pool(&name).await
}

/// The URL of a new migrated database, for a child process's `DATABASE_URL`.
pub(crate) async fn fresh_database_url() -> String {
    let name = fresh_database_name().await;
    format!("postgres://spark@localhost/{name}?host={}", server().display())
}

/// A new database without any schema.
pub(crate) async fn empty_database() -> PgPool {
    let name = next_name();
    execute(&format!("create database {name} template template0")).await;
    pool(&name).await
}

/// Resolves when a connection to this database waits for a lock of a kind (`relation`, `advisory`).
pub(crate) async fn until_waiting(pool: &PgPool, kind: &str) {
    let question = "select exists (
        select from pg_locks join pg_database on pg_database.oid = pg_locks.database
         where not granted and locktype = $1 and datname = current_database())";
    while !sqlx::query_scalar::<_, bool>(question).bind(kind).fetch_one(pool).await.expect("ask") {
        tokio::task::yield_now().await;
    }
}

async fn fresh_database_name() -> String {
    let name = next_name();
    execute(&format!("create database {name} template {MIGRATED} strategy file_copy")).await;
    name
}

fn next_name() -> String {
    format!("test_{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed))
}

async fn execute(statement: &str) {
    let admin = admin(server()).await.expect("the test server answers");
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&admin).await.expect("make a database");
    admin.close().await;
}

async fn pool(name: &str) -> PgPool {
    PgPoolOptions::new()
        .max_connections(POOL_CONNECTIONS_MAX)
        .connect_with(options(server(), name))
        .await
        .expect("connect to a test database")
}

async fn admin(folder: &Path) -> sqlx::Result<PgPool> {
    PgPoolOptions::new().max_connections(1).connect_with(options(folder, "postgres")).await
}

fn options(folder: &Path, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass().socket(folder).username("spark").database(database)
}

fn server() -> &'static Path {
    SERVER.get_or_init(|| {
        // A thread of its own: callers are inside a runtime already.
        std::thread::spawn(start_or_join).join().expect("a PostgreSQL for tests")
    })
}

/// Under cargo-nextest every test is a process: those of one run share a server that ends with the runner.
fn start_or_join() -> PathBuf {
    let run = std::env::var_os("NEXTEST_RUN_ID").map(|id| id.to_string_lossy().into_owned());
    let (name, watched) = match run {
        Some(run) => (run, std::os::unix::process::parent_id()),
        None => (std::process::id().to_string(), std::process::id()),
    };
    let folder = quick_folder().join(format!("spark-test-{name}"));
    let mut lock = std::fs::File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(folder.with_extension("lock"))
        .expect("open the lock of the test server");
    lock.lock().expect("wait for the test server");
    let mut state = String::new();
    lock.read_to_string(&mut state).expect("read the state of the test server");
    if state.is_empty() {
        start(&folder, watched);
        lock.rewind().expect("rewind");
        lock.write_all(b"ready").expect("say that the test server is ready");
    }
    folder
}

/// Memory where there is enough of it: laying out a cluster and copying databases are a thousand small files.
fn quick_folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let roomy = rustix::fs::statvfs(memory)
        .is_ok_and(|stat| stat.f_bavail.saturating_mul(stat.f_frsize) > MEMORY_FREE_MIN);
    if roomy { memory.to_owned() } else { std::env::temp_dir() }
}

#[expect(clippy::zombie_processes, reason = "the watchdog outlives this process on purpose")]
fn start(folder: &Path, watched: u32) {
    let programs = programs();
    let owner = owner();
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir(folder).expect("make the test server's folder");
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).expect("close it");
    if let Some((user, group)) = owner {
        chown(folder.with_extension("lock"), Some(user), Some(group)).expect("and its lock");
        chown(folder, Some(user), Some(group)).expect("give the folder to the server's user");
    }
    lay_out_cluster(&programs, folder, owner);
    let mut watchdog = Command::new("sh");
    watchdog.arg("-c").arg(WATCHDOG).arg(programs.join("postgres")).arg(folder);
    watchdog.arg(watched.to_string());
    run_as(&mut watchdog, owner).process_group(0).current_dir("/");
    watchdog.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    watchdog.spawn().expect("start the test server's watchdog");
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(prepare(folder));
}

async fn prepare(folder: &Path) {
    let begun = Instant::now();
    let admin = loop {
        match admin(folder).await {
            Ok(admin) => break admin,
            Err(error) if begun.elapsed() > START_MAX => {
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                panic!("the test server does not answer: {error}\n{log}");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("create database {MIGRATED}")))
        .execute(&admin)
        .await
        .expect("make the migrated database");
    admin.close().await;
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(options(folder, MIGRATED))
        .await
        .expect("connect to the migrated database");
    spark::adapters::postgres::migrate(&pool).await.expect("migrate");
    pool.close().await;
}

/// `initdb` once, then copies of what it made: it takes longer than most tests.
fn lay_out_cluster(programs: &Path, folder: &Path, owner: Option<(u32, u32)>) {
    let version = Command::new(programs.join("postgres"))
        .arg("--version")
        .output()
        .map(|said| String::from_utf8_lossy(&said.stdout).into_owned())
        .expect("ask PostgreSQL for its version");
    let word: String = version.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(word.trim_end_matches('-'));
    let data = folder.join("data");
    if kept.exists() && copy(&kept, &data) {
        own(&data, owner);
        return;
    }
    let _ = std::fs::remove_dir_all(&data);
    let mut initdb = Command::new(programs.join("initdb"));
    initdb.arg("-D").arg(&data).args([
        "--username=spark",
        "--auth=trust",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
        "--wal-segsize=1",
    ]);
    let said = run_as(&mut initdb, owner).current_dir("/").output().expect("run initdb");
    assert!(said.status.success(), "initdb: {}", String::from_utf8_lossy(&said.stderr));
    let fresh = kept.with_extension(std::process::id().to_string());
    if !copy(&data, &fresh) || std::fs::rename(&fresh, &kept).is_err() {
        // Another process was faster, or the copy may not be kept: the next start runs initdb again.
        let _ = std::fs::remove_dir_all(&fresh);
    }
}

fn copy(from: &Path, to: &Path) -> bool {
    Command::new("cp")
        .args(["-r", "--reflink=auto"])
        .args([from, to])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn own(data: &Path, owner: Option<(u32, u32)>) {
    if let Some((user, group)) = owner {
        let given =
            Command::new("chown").arg("-R").arg(format!("{user}:{group}")).arg(data).status();
        assert!(given.is_ok_and(|status| status.success()), "give the cluster to its user");
    }
    std::fs::set_permissions(data, std::fs::Permissions::from_mode(0o700)).expect("close it");
}

fn run_as(command: &mut Command, owner: Option<(u32, u32)>) -> &mut Command {
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}

/// PostgreSQL refuses to run as root: then it runs as `postgres`, whom its package made.
fn owner() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("a user `postgres`");
    let mut fields = line.split(':').skip(2).map(|field| field.parse().expect("a number"));
    Some((fields.next().expect("a user id"), fields.next().expect("a group id")))
}

/// Where Debian keeps the newest server's programs; else wherever `pg_config` says.
fn programs() -> PathBuf {
    let newest = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok())
        .max();
    if let Some(version) = newest {
        return PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"));
    }
    let said = Command::new("pg_config").arg("--bindir").output();
    let said = said.expect("PostgreSQL is not installed: `make test` installs it");
    PathBuf::from(String::from_utf8_lossy(&said.stdout).trim())
}
