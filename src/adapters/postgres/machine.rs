//! The minutes of the machine in PostgreSQL, and PostgreSQL as a resource itself.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::adapters::postgres::while_doing;
use crate::domain::resources::history::Minute;
use crate::domain::resources::{Reading, Resource, Scope};
use crate::ports::PortError;
use crate::ports::resource_minutes::{DatabaseMeter, ResourceMinutes};

/// The minutes of the machine, and the connections of the server they lie on.
#[derive(Clone)]
pub struct PostgresMachine {
    pool: PgPool,
}

impl PostgresMachine {
    pub const fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl ResourceMinutes for PostgresMachine {
    async fn keep(&self, minutes: &[(Resource, Minute)]) -> Result<(), PortError> {
        let column =
            |of: fn(&Minute) -> f64| minutes.iter().map(|(_, it)| of(it)).collect::<Vec<_>>();
        let resources: Vec<String> =
            minutes.iter().map(|(resource, _)| resource.as_str().to_owned()).collect();
        let at: Vec<DateTime<Utc>> = minutes.iter().map(|(_, minute)| minute.at).collect();
        sqlx::query!(
            "insert into resource_minutes (resource, at, mean, most)
             select * from unnest($1::text[], $2::timestamptz[], $3::float8[], $4::float8[])
             on conflict (resource, at) do update set mean = excluded.mean, most = excluded.most",
            &resources,
            &at,
            &column(|minute| minute.mean),
            &column(|minute| minute.most),
        )
        .execute(&self.pool)
        .await
        .map_err(while_doing("keep how full the machine was"))?;
        Ok(())
    }

    async fn since(&self, since: DateTime<Utc>) -> Result<Vec<(Resource, Minute)>, PortError> {
        let rows = sqlx::query!(
            "select resource, at, mean, most from resource_minutes where at >= $1 order by at, resource",
            since,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("read how full the machine was"))?;
        // A word of an older or a newer house says nothing here.
        let minute = |row: _| {
            let (resource, at, mean, most): (String, DateTime<Utc>, f64, f64) = row;
            Some((Resource::parse(&resource)?, Minute::kept(at, mean, most)))
        };
        let rows = rows.into_iter().map(|row| (row.resource, row.at, row.mean, row.most));
        Ok(rows.filter_map(minute).collect())
    }

    async fn forget(&self, before: DateTime<Utc>) -> Result<(), PortError> {
        sqlx::query!("delete from resource_minutes where at < $1", before)
            .execute(&self.pool)
            .await
            .map_err(while_doing("forget how full the machine was"))?;
        Ok(())
    }
}

#[async_trait]
impl DatabaseMeter for PostgresMachine {
    async fn connections(&self) -> Result<Reading, PortError> {
        let row = sqlx::query!(
            r#"select count(*) filter (where backend_type = 'client backend') as "used!",
                      current_setting('max_connections')::int
                      - current_setting('superuser_reserved_connections')::int as "capacity!"
                 from pg_stat_activity"#,
        )
        .fetch_one(&self.pool)
        .await
        .map_err(while_doing("count the connections to the database"))?;
        Ok(Reading {
            resource: Resource::Connections,
            scope: Scope::Service,
            used: row.used as f64,
            capacity: f64::from(row.capacity.max(1)),
        })
    }
}
