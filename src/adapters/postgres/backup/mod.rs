//! `spark backup` and `spark restore`: the database and the list of media in one file.
//!
//! The file is a plain tar that a person can open by hand: `manifest.json`, `database.dump`
//! (for `pg_restore`) and, last, `SHA256SUMS` over both; so a file that was cut short shows.

mod file;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::adapters::postgres::backup::file::Scrap;
use crate::adapters::postgres::cluster::binaries::Binaries;
use crate::adapters::postgres::cluster::error::{ClusterError, tells_of_full_disk};
use crate::adapters::postgres::cluster::schema::applied_migrations;

/// Longest dump or restore.
pub const TRANSFER_WAIT_MAX: Duration = Duration::from_hours(2);
/// Longest wait of a restore for a table somebody else holds, and for a connection.
const LOCK_WAIT_S: u32 = 10;
/// A connection that was closed a moment ago is still counted: this long it may take its leave, looked at this often.
const LEAVING_MAX: Duration = Duration::from_secs(2);
const LEAVING_LOOK: Duration = Duration::from_millis(50);
/// Bytes of a program's complaint that an error quotes.
const COMPLAINT_BYTES_MAX: usize = 1500;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout of the file.
    pub format: u32,
    /// When the backup was made.
    pub made_at: DateTime<Utc>,
    /// Version of the spark that made it.
    pub spark: String,
    /// Major version of the PostgreSQL programs that made the dump.
    pub postgres_major: u32,
    /// Migrations the database had had, ascending.
    pub migrations: Vec<i64>,
    /// Every medium the database names; the media themselves are not in the file.
    pub media: Vec<MediaItem>,
}

/// One medium of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaItem {
    /// Key in the media store.
    pub key: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the bytes in lowercase hexadecimal.
    pub sha256: String,
}

/// What a restore may replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// A database without rows (its migrations do not count).
    Empty,
    /// Whatever is there; it is lost.
    Anything,
}

/// Why a backup or a restore did not happen. After a failed restore the database is as before.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file is something else.
    #[error("`{file}` is not a spark backup ({why}); nothing was changed")]
    Foreign { file: PathBuf, why: String },
    /// The file was cut short or altered.
    #[error("the backup `{file}` is damaged ({why}); nothing was changed")]
    Damaged { file: PathBuf, why: String },
    /// The backup was made by a newer program.
    #[error("the backup was made by a newer {what}: restore it with that one; nothing was changed")]
    Newer { what: String },
    /// There are rows already.
    #[error(
        "the database already has rows (in `{table}`): restore into a new data folder, or add --replace to replace them; nothing was changed"
    )]
    NotEmpty { table: String },
    /// Somebody else is connected.
    #[error(
        "{connections} other connection(s) use this database: stop spark first; nothing was changed"
    )]
    InUse { connections: i64 },
    /// One of PostgreSQL's programs gave up.
    #[error("{program} failed: {complaint}")]
    Program { program: &'static str, complaint: String },
    /// It took longer than [`TRANSFER_WAIT_MAX`].
    #[error("{doing} took longer than {} s", TRANSFER_WAIT_MAX.as_secs())]
    TimedOut { doing: &'static str },
    /// Files, disk or permissions.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The database answered with an error.
    #[error("the database failed while {doing}")]
    Query {
        doing: &'static str,
        #[source]
        source: sqlx::Error,
    },
}

/// Writes the database behind `options` and the list of `media` to `file`, whole or not at all;
/// an older file of that name is replaced at the end. Readable by its owner alone: it holds
/// everything. The database is one consistent moment; take the list just before.
pub async fn backup(
    options: &PgConnectOptions,
    binaries: &Binaries,
    media: Vec<MediaItem>,
    made_at: DateTime<Utc>,
    file: &Path,
) -> Result<Manifest, BackupError> {
    let migrations = {
        let mut connection = connect(options).await?;
        let applied = applied_migrations(&mut connection).await?;
        leave(connection).await?;
        applied
    };
    let manifest = Manifest {
        format: file::FORMAT,
        made_at,
        spark: env!("CARGO_PKG_VERSION").to_owned(),
        postgres_major: binaries.major(),
        migrations,
        media,
    };
    let dump = Scrap::make(file.with_added_extension("dump.part"))?;
    let mut command = client(binaries, "pg_dump", options);
    command.args(["--format=custom", "--no-owner", "--no-acl", "--file"]).arg(&dump.0);
    let mut child = spawn(&mut command, binaries)?;
    let stderr = child.stderr.take().expect("stderr is piped");
    in_time("the dump", settle("pg_dump", child, stderr)).await??;
    let (written, target) = (manifest.clone(), file.to_path_buf());
    blocking(move || file::write(&written, &dump.0, &target)).await?;
    Ok(manifest)
}

/// Reads a backup to its end and checks every byte of it.
pub async fn inspect(file: &Path) -> Result<Manifest, BackupError> {
    let file = file.to_path_buf();
    blocking(move || file::check(&file)).await.map(|checked| checked.manifest)
}

/// Replaces the database behind `options` with that of `file`, in one transaction, after every
/// check that can be made beforehand. Returns the manifest; its media are the caller's to find.
///
/// `known` are the migrations of this program: a backup that had others is refused; one that had
/// fewer is restored as it is, so run the migrations afterwards.
pub async fn restore(
    options: &PgConnectOptions,
    binaries: &Binaries,
    known: &Migrator,
    over: Over,
    file: &Path,
) -> Result<Manifest, BackupError> {
    let path = file.to_path_buf();
    let checked = blocking(move || file::check(&path)).await?;
    let manifest = checked.manifest.clone();
    if manifest.migrations.iter().any(|version| !known.version_exists(*version)) {
        return Err(BackupError::Newer { what: format!("spark ({})", manifest.spark) });
    }
    if manifest.postgres_major > binaries.major() {
        let what = format!("PostgreSQL ({})", manifest.postgres_major);
        return Err(BackupError::Newer { what });
    }
    let prelude = {
        let mut connection = connect(options).await?;
        refuse_used(&mut connection).await?;
        if over == Over::Empty {
            refuse_rows(&mut connection).await?;
        }
        let prelude = prelude(&mut connection).await?;
        leave(connection).await?;
        prelude
    };
    let (dump, dump_bytes) = checked
        .into_dump()
        .map_err(|source| ClusterError::io("reading the backup", file, source))?;
    let dump = tokio::fs::File::from_std(dump).take(dump_bytes);
    in_time("the restore", replay(options, binaries, &prelude, dump)).await??;
    Ok(manifest)
}

/// Feeds the dump to `pg_restore` and what it makes of it to `psql`. The `commit` comes from us
/// and only after `pg_restore` ended well: whoever dies before, the database stays as it was.
async fn replay(
    options: &PgConnectOptions,
    binaries: &Binaries,
    prelude: &str,
    mut dump: tokio::io::Take<tokio::fs::File>,
) -> Result<(), BackupError> {
    let mut command = client(binaries, "pg_restore", options);
    command.args(["--no-owner", "--no-acl", "--exit-on-error", "--file=-"]);
    let mut reader = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()), binaries)?;
    let mut command = client(binaries, "psql", options);
    command.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-"]);
    let mut writer = spawn(command.stdin(Stdio::piped()).stdout(Stdio::null()), binaries)?;
    let mut feed = reader.stdin.take().expect("stdin is piped");
    let mut script = reader.stdout.take().expect("stdout is piped");
    let mut sql = writer.stdin.take().expect("stdin is piped");
    let complaints = (reader.stderr.take(), writer.stderr.take());
    let (reader_err, writer_err) =
        (complaints.0.expect("stderr is piped"), complaints.1.expect("stderr is piped"));

    let feeding = async move {
        // A program that ended early tells why itself.
        let _ = tokio::io::copy(&mut dump, &mut feed).await;
        drop(feed);
    };
    let writing = async move {
        let passed = async {
            sql.write_all(prelude.as_bytes()).await?;
            tokio::io::copy(&mut script, &mut sql).await
        };
        let passed = passed.await.is_ok();
        drop(script);
        let read = settle("pg_restore", reader, reader_err).await;
        if passed && read.is_ok() {
            // Where it cannot be written, psql has ended and tells why.
            let _ = sql.write_all(b"\ncommit;\n").await;
        }
        drop(sql);
        read
    };
    let ((), read, written) = tokio::join!(feeding, writing, settle("psql", writer, writer_err));
    // psql's complaint is the cause when both complain: its end breaks the other's pipe.
    written.and(read)
}

/// What empties the database, as the beginning of the transaction.
async fn prelude(connection: &mut PgConnection) -> Result<String, BackupError> {
    let schemas: Vec<String> = sqlx::query_scalar(
        "select quote_ident(nspname)
           from pg_namespace
          where nspname !~ '^pg_'
            and nspname <> 'information_schema'
          order by nspname",
    )
    .fetch_all(connection)
    .await
    .map_err(|source| BackupError::Query { doing: "listing the schemas", source })?;
    let mut sql = String::from("begin;\n");
    for schema in schemas {
        writeln!(sql, "drop schema {schema} cascade;").expect("a string takes every write");
    }
    // As PostgreSQL makes it, so that the next dump does not mention it.
    sql.push_str("create schema public;\nalter schema public owner to pg_database_owner;\n");
    sql.push_str("grant usage on schema public to public;\n");
    sql.push_str("comment on schema public is 'standard public schema';\n");
    Ok(sql)
}

async fn refuse_used(connection: &mut PgConnection) -> Result<(), BackupError> {
    let begun = Instant::now();
    loop {
        let connections: i64 = sqlx::query_scalar(
            "select count(*)
               from pg_stat_activity
              where datname = current_database()
                and backend_type = 'client backend'
                and pid <> pg_backend_pid()",
        )
        .fetch_one(&mut *connection)
        .await
        .map_err(|source| BackupError::Query { doing: "counting its connections", source })?;
        if connections == 0 {
            return Ok(());
        }
        if begun.elapsed() > LEAVING_MAX {
            return Err(BackupError::InUse { connections });
        }
        tokio::time::sleep(LEAVING_LOOK).await;
    }
}

async fn refuse_rows(connection: &mut PgConnection) -> Result<(), BackupError> {
    let failed = |source| BackupError::Query { doing: "looking for rows", source };
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', n.nspname, c.relname)
           from pg_class c
           join pg_namespace n on n.oid = c.relnamespace
          where c.relkind = 'r'
            and n.nspname !~ '^pg_'
            and n.nspname <> 'information_schema'
            and c.relname <> '_sqlx_migrations'
          order by 1",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    for table in tables {
        // The name comes quoted from the database itself.
        let query = format!("select exists (select 1 from {table})");
        let has_rows: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
        if has_rows {
            return Err(BackupError::NotEmpty { table });
        }
    }
    Ok(())
}

/// A client program that connects as `options` say. The password travels in the environment,
/// which other accounts cannot read, unlike the arguments.
fn client(binaries: &Binaries, program: &str, options: &PgConnectOptions) -> Command {
    let mut command = Command::from(binaries.command(program));
    match options.get_socket() {
        Some(folder) => command.env("PGHOST", folder),
        None => command.env("PGHOST", options.get_host()),
    };
    let ssl_mode = match options.get_ssl_mode() {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    };
    command
        .env("PGPORT", options.get_port().to_string())
        .env("PGUSER", options.get_username())
        .env("PGSSLMODE", ssl_mode)
        .env("PGCONNECT_TIMEOUT", LOCK_WAIT_S.to_string())
        .env("PGAPPNAME", "spark backup")
        .env("PGOPTIONS", format!("-c lock_timeout={LOCK_WAIT_S}s -c client_min_messages=warning"));
    let database = options.get_database().unwrap_or(options.get_username());
    command.env("PGDATABASE", database);
    let url = options.to_url_lossy();
    if let Some(password) = url.password() {
        command.env("PGPASSWORD", percent_decode(password));
    }
    for (key, value) in url.query_pairs() {
        let name = match key.as_ref() {
            "sslrootcert" => "PGSSLROOTCERT",
            "sslcert" => "PGSSLCERT",
            "sslkey" => "PGSSLKEY",
            _ => continue,
        };
        command.env(name, value.as_ref());
    }
    command
}

/// Undoes the escapes of a URL; the driver offers the password in no other way.
fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn spawn(command: &mut Command, binaries: &Binaries) -> Result<Child, BackupError> {
    command
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| ClusterError::io("starting pg_dump", binaries.folder(), source).into())
}

/// Waits for a program and turns its complaint into an error.
async fn settle(
    program: &'static str,
    mut child: Child,
    mut stderr: tokio::process::ChildStderr,
) -> Result<(), BackupError> {
    let mut said = Vec::new();
    let drained = stderr.read_to_end(&mut said).await;
    let status = child.wait().await;
    if drained.is_ok() && status.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    let said = &said[said.len().saturating_sub(COMPLAINT_BYTES_MAX)..];
    let complaint = String::from_utf8_lossy(said).trim().to_owned();
    if tells_of_full_disk(&complaint) {
        let path = PathBuf::from(program);
        return Err(ClusterError::DiskFull { path, doing: "moving the database" }.into());
    }
    Err(BackupError::Program { program, complaint })
}

async fn in_time<T>(doing: &'static str, work: impl Future<Output = T>) -> Result<T, BackupError> {
    tokio::time::timeout(TRANSFER_WAIT_MAX, work).await.map_err(|_| BackupError::TimedOut { doing })
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, BackupError> {
    let limit = Duration::from_secs(LOCK_WAIT_S.into());
    match tokio::time::timeout(limit, options.connect()).await {
        Ok(connected) => {
            connected.map_err(|source| BackupError::Query { doing: "connecting", source })
        }
        Err(_) => Err(ClusterError::TimedOut { doing: "connecting", limit }.into()),
    }
}

async fn leave(connection: PgConnection) -> Result<(), BackupError> {
    connection.close().await.map_err(|source| BackupError::Query { doing: "leaving", source })
}

/// Runs work on files where it holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    tokio::task::spawn_blocking(work).await.expect("it panics only on a bug of ours")
}
