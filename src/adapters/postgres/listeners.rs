//! Who listens, in PostgreSQL: one row a process, aged by the server's clock.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::adapters::postgres::while_doing;
use crate::ports::PortError;
use crate::ports::listeners::{Beat, LISTENER_SILENT_MAX_S, Listener, Listeners};

/// The processes that listen for one database.
#[derive(Clone)]
pub struct PostgresListeners {
    pool: PgPool,
}

impl PostgresListeners {
    pub const fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl Listeners for PostgresListeners {
    async fn beat(&self, beat: &Beat) -> Result<(), PortError> {
        let shards: Vec<i32> =
            beat.shards.iter().map(|shard| i32::try_from(*shard).unwrap_or(i32::MAX)).collect();
        let health = serde_json::to_value(&beat.health)
            .map_err(|e| PortError::lasting("write how listening does", e))?;
        sqlx::query!(
            "insert into listeners (name, since, shards, health) values ($1, $2, $3, $4)
             on conflict (name) do update
                set since = excluded.since, shards = excluded.shards, health = excluded.health,
                    seen_at = clock_timestamp(), has_left = false",
            beat.name,
            beat.since,
            &shards,
            health,
        )
        .execute(&self.pool)
        .await
        .map_err(while_doing("say that this process listens"))?;
        Ok(())
    }

    async fn leave(&self, name: &str) -> Result<(), PortError> {
        sqlx::query!(
            "update listeners set has_left = true, seen_at = clock_timestamp() where name = $1",
            name,
        )
        .execute(&self.pool)
        .await
        .map_err(while_doing("say that this process listens no more"))?;
        Ok(())
    }

    async fn all(&self) -> Result<Vec<Listener>, PortError> {
        let rows = sqlx::query_as!(
            ListenerRow,
            r#"select name, since, seen_at, shards, health, has_left,
                      (not has_left and clock_timestamp() - seen_at < make_interval(secs => $1)) as "is_alive!"
                 from listeners
                where clock_timestamp() - seen_at < interval '1 day'
                order by since, name"#,
            f64::from(LISTENER_SILENT_MAX_S),
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("see who listens"))?;
        rows.into_iter().map(Listener::try_from).collect()
    }
}

struct ListenerRow {
    name: String,
    since: DateTime<Utc>,
    seen_at: DateTime<Utc>,
    shards: Vec<i32>,
    health: serde_json::Value,
    has_left: bool,
    is_alive: bool,
}

impl TryFrom<ListenerRow> for Listener {
    type Error = PortError;
    fn try_from(row: ListenerRow) -> Result<Self, PortError> {
        let health = serde_json::from_value(row.health)
            .map_err(|e| PortError::lasting(format!("understand how `{}` listens", row.name), e))?;
        let shards = row.shards.into_iter().filter_map(|shard| u32::try_from(shard).ok()).collect();
        Ok(Self {
            beat: Beat { name: row.name, since: row.since, shards, health },
            seen_at: row.seen_at,
            is_alive: row.is_alive,
            has_left: row.has_left,
        })
    }
}
