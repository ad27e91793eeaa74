//! The private PostgreSQL of one data folder: created, started, shared, re-adopted, stopped.
//!
//! Several sparks share it; the last one to close stops it. A spark that is killed leaves it
//! running, and the next one takes it up as it is.

mod account;
pub mod binaries;
mod create;
pub mod error;
mod locks;
mod place;
mod processes;
pub mod schema;
mod server;
mod settings;
pub mod status;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::oneshot;

use crate::adapters::postgres::cluster::account::Account;
pub use crate::adapters::postgres::cluster::binaries::Binaries;
use crate::adapters::postgres::cluster::error::ClusterError;
use crate::adapters::postgres::cluster::locks::{Departure, Gate, Share};
pub(crate) use crate::adapters::postgres::cluster::place::hex;
use crate::adapters::postgres::cluster::place::{Home, Place};
use crate::adapters::postgres::cluster::processes::PidFile;
pub use crate::adapters::postgres::cluster::server::{
    Arrival, IMMEDIATE_STOP_WAIT_MAX, START_WAIT_MAX, STOP_WAIT_MAX,
};
pub use crate::adapters::postgres::cluster::settings::CONNECTIONS_MAX;

/// Database of `spark` in its private cluster.
const DATABASE: &str = "spark";
/// Database that every cluster has.
const MAINTENANCE_DATABASE: &str = "postgres";
/// Longest wait for one connection to a server that says it is ready.
pub const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);
/// SQLSTATE of a database that does not exist.
const INVALID_CATALOG_NAME: &str = "3D000";
/// SQLSTATE of a database that somebody else just made.
const DUPLICATE_DATABASE: &str = "42P04";
/// SQLSTATE of a wrong password.
const INVALID_PASSWORD: &str = "28P01";

/// A running private PostgreSQL, held by this user.
///
/// Close it with [`Cluster::close`] after the pools on it. Dropped instead, it gives its hold
/// back and leaves the server running for the next user, as a kill does.
#[derive(Debug)]
pub struct Cluster {
    parts: Parts,
    share: Share,
    server: PidFile,
    arrival: Arrival,
    password: String,
}

/// What closing found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// We were the last user: the server is stopped.
    Stopped,
    /// Another spark still uses it.
    LeftRunning,
}

/// Where everything is; the same for every step.
#[derive(Debug, Clone)]
struct Parts {
    place: Place,
    home: Home,
    account: Account,
    binaries: Binaries,
}

impl Cluster {
    /// Finds, creates, starts or takes up the private PostgreSQL of `data_dir`, and makes sure
    /// its database exists. `search_path` is the value of `PATH`.
    ///
    /// Given up half-way (the future is dropped), it finishes in the background and closes.
    /// Takes about 3 s for a new folder, 0.3 s for one that exists, less when it runs already;
    /// the limits are [`START_WAIT_MAX`] and those beside it.
    ///
    /// # Errors
    /// Each variant of [`ClusterError`] says what to do. A folder of a newer spark or of another
    /// major version is left untouched.
    pub async fn open(data_dir: &Path, search_path: &OsStr) -> Result<Self, ClusterError> {
        let (data_dir, search_path) = (data_dir.to_path_buf(), search_path.to_os_string());
        let opened = finish_anyway(
            move || open_blocking(&data_dir, &search_path),
            |opened| {
                if let Ok(cluster) = opened
                    && let Err(error) = cluster.close_blocking()
                {
                    tracing::warn!(%error, "cannot close a database nobody waited for");
                }
            },
        );
        let cluster = opened.await?;
        if let Err(error) = cluster.make_database().await {
            // The first error is the one to tell.
            if let Err(second) = cluster.close().await {
                tracing::warn!(error = %second, "cannot close the database");
            }
            return Err(error);
        }
        tracing::info!(
            pid = cluster.pid(),
            arrival = ?cluster.arrival,
            postgres.major = cluster.parts.binaries.major(),
            "private PostgreSQL is ready"
        );
        Ok(cluster)
    }

    /// How to connect: unix socket, role, password and database. Stays right when the server is
    /// started again.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.options_for(DATABASE)
    }

    /// Process id of the server as it was when opened.
    pub fn pid(&self) -> i32 {
        self.server.pid
    }

    /// Whether we started the server or found it running.
    pub fn arrival(&self) -> Arrival {
        self.arrival
    }

    /// The programs that belong to this cluster's version, for backups.
    pub fn binaries(&self) -> &Binaries {
        &self.parts.binaries
    }

    /// Starts the server again when it died under us (out of memory, a person's kill); does
    /// nothing when it runs. Pools connect again by themselves.
    pub async fn ensure_running(&self) -> Result<Arrival, ClusterError> {
        let parts = self.parts.clone();
        finish_anyway(
            move || {
                let _gate = Gate::pass(&parts.place.gate())?;
                let (server, arrival) =
                    server::start_or_adopt(&parts.home, parts.account, &parts.binaries)?;
                if arrival == Arrival::Started {
                    tracing::warn!(pid = server.pid, "started PostgreSQL again");
                }
                Ok(arrival)
            },
            drop,
        )
        .await
    }

    /// Gives back our hold and stops the server if it was the last one. The server ends the
    /// sessions that are left, so close pools first.
    pub async fn close(self) -> Result<Closed, ClusterError> {
        finish_anyway(move || self.close_blocking(), drop).await
    }

    fn close_blocking(self) -> Result<Closed, ClusterError> {
        let gate = Gate::pass(&self.parts.place.gate())?;
        match self.share.give_back(&gate, &self.parts.place.users())? {
            Departure::Last { _hold } => {
                server::stop(&self.parts.home)?;
                Ok(Closed::Stopped)
            }
            Departure::OthersRemain => Ok(Closed::LeftRunning),
        }
    }

    async fn make_database(&self) -> Result<(), ClusterError> {
        let missing = match self.connect(&self.options_for(DATABASE)).await {
            Ok(connection) => return close_quietly(connection).await,
            Err(error) => error,
        };
        if state_of(&missing) != Some(INVALID_CATALOG_NAME.to_owned()) {
            return Err(self.explain(missing));
        }
        let mut connection = self
            .connect(&self.options_for(MAINTENANCE_DATABASE))
            .await
            .map_err(|error| self.explain(error))?;
        let made = sqlx::query("create database spark").execute(&mut connection).await;
        close_quietly(connection).await?;
        match made {
            Ok(_) => Ok(()),
            Err(error) if state_of(&error).as_deref() == Some(DUPLICATE_DATABASE) => Ok(()),
            Err(source) => Err(ClusterError::Query { doing: "making the database", source }),
        }
    }

    async fn connect(&self, options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
        match tokio::time::timeout(CONNECT_WAIT_MAX, options.connect()).await {
            Ok(connected) => connected,
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    fn explain(&self, error: sqlx::Error) -> ClusterError {
        if state_of(&error).as_deref() == Some(INVALID_PASSWORD) {
            return ClusterError::PasswordRefused { file: self.parts.place.password_file() };
        }
        match error {
            sqlx::Error::PoolTimedOut => {
                ClusterError::TimedOut { doing: "connecting", limit: CONNECT_WAIT_MAX }
            }
            source => ClusterError::Query { doing: "connecting", source },
        }
    }

    fn options_for(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.server.socket_folder)
            .port(self.server.port)
            .username(create::ROLE)
            .password(&self.password)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
            .application_name("spark")
    }
}

fn open_blocking(data_dir: &Path, search_path: &OsStr) -> Result<Cluster, ClusterError> {
    // Without programs nothing is made.
    let installed = Binaries::find_all(search_path);
    if installed.is_empty() {
        Binaries::find(search_path)?;
    }
    let place = Place::prepare(data_dir)?;
    let gate = Gate::pass(&place.gate())?;
    place.write_format()?;
    let (parts, password) = find_or_create(place, &installed)?;
    let share = Share::take(&gate, &parts.place.users())?;
    let (server, arrival) = server::start_or_adopt(&parts.home, parts.account, &parts.binaries)?;
    Ok(Cluster { parts, share, server, arrival, password })
}

/// Brings the place to a finished cluster and a password. The caller holds the gate.
fn find_or_create(place: Place, installed: &[Binaries]) -> Result<(Parts, String), ClusterError> {
    let home = place.find_home()?;
    if let Some(home) = &home {
        home.claim(&place)?;
    }
    if let Some(home) = home.clone().filter(Home::is_finished) {
        let account = Account::of_owner(&home.pgdata())?;
        let binaries = matching(&home, installed)?;
        let password = place.read_password()?.ok_or_else(|| ClusterError::PasswordMissing {
            file: place.password_file(),
            folder: home.pgdata(),
        })?;
        return Ok((Parts { place, home, account, binaries }, password));
    }
    let account = Account::choose()?;
    let home = home.map_or_else(|| place.choose_home(account), Ok)?;
    if home.pgdata().exists() {
        let why = "the database folder is there without its PG_VERSION".to_owned();
        return Err(ClusterError::Damaged { file: home.pgdata(), why });
    }
    let binaries = installed.first().cloned().ok_or(ClusterError::NotInstalled { seen: vec![] })?;
    let password = place.read_password()?.map_or_else(|| place.make_password(), Ok)?;
    tracing::info!(home = %home.folder().display(), "creating a private PostgreSQL");
    create::create(&home, account, &binaries, &password)?;
    Ok((Parts { place, home, account, binaries }, password))
}

/// The installed programs of the version that made the cluster.
fn matching(home: &Home, installed: &[Binaries]) -> Result<Binaries, ClusterError> {
    let major = major_of(home)?;
    installed.iter().find(|binaries| binaries.major() == major).cloned().ok_or_else(|| {
        ClusterError::OtherMajor {
            folder: home.pgdata(),
            major,
            installed: installed.iter().map(Binaries::major).collect(),
        }
    })
}

/// Major version that made the cluster.
fn major_of(home: &Home) -> Result<u32, ClusterError> {
    let file: PathBuf = home.pgdata().join("PG_VERSION");
    let text = fs::read_to_string(&file)
        .map_err(|source| ClusterError::io("reading the database's version", &file, source))?;
    text.trim()
        .parse()
        .map_err(|_| ClusterError::Damaged { file, why: "it should hold one number".to_owned() })
}

/// Runs blocking work to its end even when nobody waits any more; `unclaimed` then gets the
/// outcome.
async fn finish_anyway<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    unclaimed: impl FnOnce(T) + Send + 'static,
) -> T {
    let (sender, receiver) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        if let Err(outcome) = sender.send(work()) {
            unclaimed(outcome);
        }
    });
    receiver.await.expect("the blocking task sends unless it panicked, which is a bug of ours")
}

async fn close_quietly(connection: PgConnection) -> Result<(), ClusterError> {
    connection.close().await.map_err(|source| ClusterError::Query { doing: "leaving", source })
}

fn state_of(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(std::borrow::Cow::into_owned)
}
