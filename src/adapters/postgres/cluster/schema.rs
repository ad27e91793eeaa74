//! Refuses a database that a newer `spark` has migrated.

use sqlx::migrate::Migrator;
use sqlx::{PgConnection, Row};

use crate::adapters::postgres::cluster::error::ClusterError;

/// Checks that this program knows every migration the database has had. Changes nothing; call
/// it before [`Migrator::run`].
///
/// # Errors
/// [`ClusterError::NewerSchema`] names what is unknown.
pub async fn refuse_newer(
    connection: &mut PgConnection,
    known: &Migrator,
) -> Result<(), ClusterError> {
    let applied = applied_migrations(connection).await?;
    let unknown: Vec<i64> =
        applied.into_iter().filter(|version| !known.version_exists(*version)).collect();
    if unknown.is_empty() { Ok(()) } else { Err(ClusterError::NewerSchema { unknown }) }
}

/// Versions of the migrations the database has had, ascending; none before the first.
pub(crate) async fn applied_migrations(
    connection: &mut PgConnection,
) -> Result<Vec<i64>, ClusterError> {
    let failed = |source| ClusterError::Query { doing: "reading the migrations", source };
    let is_there: bool = sqlx::query("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failed)?;
    if !is_there {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("select version from _sqlx_migrations order by version")
        .fetch_all(connection)
        .await
        .map_err(failed)
}
