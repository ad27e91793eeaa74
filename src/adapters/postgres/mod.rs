//! PostgreSQL: the logs, the queue, the cards and the people, in one database.

mod alerts;
mod audience;
pub mod backup;
pub mod cluster;
mod footage_index;
mod jobs;
mod ledger;
mod listeners;
mod machine;
mod people;
mod shelves;
mod vault;
mod viewer_samples;

use std::time::Duration;

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::domain::media::{MediaKey, MediaObject};
use crate::ports::PortError;

pub use alerts::PostgresAlerts;
pub use audience::PostgresAudienceLog;
pub use footage_index::PostgresFootageIndex;
pub use jobs::PostgresJobQueue;
pub use ledger::PostgresLedger;
pub use listeners::PostgresListeners;
pub use machine::PostgresMachine;
pub use people::PostgresPeople;
pub use shelves::PostgresShelves;
pub use vault::PostgresVault;
pub use viewer_samples::PostgresViewerSamples;

/// The schema, forward only, carried in the binary.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// Connections one process keeps at most.
pub const CONNECTIONS_MAX: u32 = 10;
/// How long a caller waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may stand idle before it is closed.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
/// How long a session may sit in a transaction without a word before the server ends it. A process that is frozen
/// (stopped, swapped out, its machine asleep) would else keep the appender's lock or a follower's row from every other.
pub const SILENT_TRANSACTION_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot reach the database; check that it runs and that DATABASE_URL is right")]
    Unreachable(#[source] sqlx::Error),
    #[error(
        "the database was written by a newer spark (it knows migration {version}, this binary does not): \
         start that newer version, nothing was changed"
    )]
    Newer { version: i64 },
    #[error("cannot bring the database up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
}

/// Connects, and brings the schema up to date. A database of a newer spark is refused untouched.
pub async fn connect(options: PgConnectOptions) -> Result<PgPool, ConnectError> {
    let pool = open_pool(options).await?;
    match migrate(&pool).await {
        Ok(()) => Ok(pool),
        Err(error) => {
            pool.close().await;
            Err(error)
        }
    }
}

/// Connects, and leaves the schema as it is.
pub async fn open_pool(options: PgConnectOptions) -> Result<PgPool, ConnectError> {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::query("select set_config('idle_in_transaction_session_timeout', $1, false)")
                    .bind(format!("{}ms", SILENT_TRANSACTION_MAX.as_millis()))
                    .execute(connection)
                    .await
                    .map(drop)
            })
        })
        .connect_with(options.application_name("spark"))
        .await
        .map_err(ConnectError::Unreachable)
}

/// Brings the schema up to date.
pub async fn migrate(pool: &PgPool) -> Result<(), ConnectError> {
    match MIGRATIONS.run(pool).await {
        Ok(()) => Ok(()),
        Err(sqlx::migrate::MigrateError::VersionMissing(version)) => {
            Err(ConnectError::Newer { version })
        }
        Err(error) => Err(ConnectError::Migrate(error)),
    }
}

/// Whether a fault of the driver may pass by itself.
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // Class 40: rolled back to let another through; 53: out of resources; 57: stopped by an operator; 25P03: silent
        // for too long within a transaction.
        sqlx::Error::Database(database) => database.code().is_some_and(|code| {
            code == "25P03" || ["40", "53", "57", "08"].contains(&&code[..2.min(code.len())])
        }),
        _ => false,
    }
}

/// Says what was being done when the driver failed.
fn while_doing(doing: &'static str) -> impl FnOnce(sqlx::Error) -> PortError {
    move |error| {
        if may_pass(&error) {
            PortError::passing(doing, error)
        } else {
            PortError::lasting(doing, error)
        }
    }
}

/// Every media file that something refers to.
pub async fn media_list(pool: &PgPool) -> Result<Vec<MediaObject>, PortError> {
    let rows = sqlx::query!("select key, bytes, sha256 from media_objects order by key")
        .fetch_all(pool)
        .await
        .map_err(while_doing("list the media"))?;
    rows.into_iter()
        .map(|row| {
            let key = MediaKey::try_new(row.key)
                .map_err(|e| PortError::lasting("read media_objects", e))?;
            Ok(MediaObject { key, bytes: row.bytes as u64, sha256: row.sha256 })
        })
        .collect()
}
