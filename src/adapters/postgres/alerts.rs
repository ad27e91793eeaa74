//! Incidents and the browsers that are woken, in PostgreSQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::adapters::postgres::while_doing;
use crate::domain::accounts::Role;
use crate::domain::alerts::{Incident, Taken, Told};
use crate::domain::ids::{IncidentId, PersonId};
use crate::domain::resources::trigger::Action;
use crate::ports::PortError;
use crate::ports::alerts::{DEVICES_MAX, Device, Devices, Incidents};

/// Incidents, and browsers that are woken.
#[derive(Clone)]
pub struct PostgresAlerts {
    pool: PgPool,
}

impl PostgresAlerts {
    pub const fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

struct Row {
    id: Uuid,
    topic: serde_json::Value,
    opened_at: DateTime<Utc>,
    closed_at: Option<DateTime<Utc>>,
    worst: Option<f64>,
    slowed: Vec<String>,
    taken_by: Option<Uuid>,
    taken_at: Option<DateTime<Utc>>,
    told_opening: bool,
    told_ending: bool,
}

impl TryFrom<Row> for Incident {
    type Error = PortError;

    fn try_from(row: Row) -> Result<Self, PortError> {
        let taken = row.taken_by.zip(row.taken_at);
        Ok(Self {
            id: IncidentId::from_uuid(row.id),
            topic: serde_json::from_value(row.topic)
                .map_err(|error| PortError::lasting("read what an incident is about", error))?,
            opened_at: row.opened_at,
            closed_at: row.closed_at,
            worst: row.worst,
            // A word of an older or a newer house says nothing here.
            slowed: row.slowed.iter().filter_map(|word| Action::parse(word)).collect(),
            taken: taken.map(|(by, at)| Taken { by: PersonId::from_uuid(by), at }),
            told: Told { opening: row.told_opening, ending: row.told_ending },
        })
    }
}

#[async_trait]
impl Incidents for PostgresAlerts {
    async fn save(&self, incident: &Incident) -> Result<(), PortError> {
        let topic = serde_json::to_value(incident.topic)
            .map_err(|error| PortError::lasting("write what an incident is about", error))?;
        let slowed: Vec<String> =
            incident.slowed.iter().map(|action| action.as_str().to_owned()).collect();
        sqlx::query!(
            "insert into incidents (id, topic, opened_at, closed_at, worst, slowed, taken_by, taken_at, told_opening, told_ending)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             on conflict (id) do update
                set closed_at = excluded.closed_at, worst = excluded.worst, slowed = excluded.slowed,
                    taken_by = excluded.taken_by, taken_at = excluded.taken_at,
                    told_opening = excluded.told_opening, told_ending = excluded.told_ending",
            incident.id.as_uuid(),
            topic,
            incident.opened_at,
            incident.closed_at,
            incident.worst,
            &slowed,
            incident.taken.map(|taken| taken.by.as_uuid()),
            incident.taken.map(|taken| taken.at),
            incident.told.opening,
            incident.told.ending,
        )
        .execute(&self.pool)
        .await
        .map_err(while_doing("keep an incident"))?;
        Ok(())
    }

    async fn unfinished(&self) -> Result<Vec<Incident>, PortError> {
        let rows = sqlx::query_as!(
            Row,
            "select id, topic, opened_at, closed_at, worst, slowed, taken_by, taken_at, told_opening, told_ending
               from incidents where closed_at is null or not told_ending order by opened_at, id",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("read the incidents that last"))?;
        rows.into_iter().map(Incident::try_from).collect()
    }

    async fn ended(&self, since: DateTime<Utc>, limit: u16) -> Result<Vec<Incident>, PortError> {
        let rows = sqlx::query_as!(
            Row,
            "select id, topic, opened_at, closed_at, worst, slowed, taken_by, taken_at, told_opening, told_ending
               from incidents where closed_at >= $1 order by closed_at desc, id limit $2",
            since,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("read the incidents that ended"))?;
        rows.into_iter().map(Incident::try_from).collect()
    }
}

#[async_trait]
impl Devices for PostgresAlerts {
    async fn add(&self, device: &Device) -> Result<(), PortError> {
        let doing = "keep a browser that asked to be woken";
        sqlx::query!(
            "insert into push_devices (endpoint, person, added_at) values ($1, $2, $3)
             on conflict (endpoint) do update set person = excluded.person, added_at = excluded.added_at",
            device.endpoint,
            device.person.as_uuid(),
            device.added_at,
        )
        .execute(&self.pool)
        .await
        .map_err(while_doing(doing))?;
        sqlx::query!(
            "delete from push_devices where endpoint in
                (select endpoint from push_devices order by added_at desc, endpoint offset $1)",
            DEVICES_MAX,
        )
        .execute(&self.pool)
        .await
        .map_err(while_doing(doing))?;
        Ok(())
    }

    async fn remove(&self, endpoint: &str) -> Result<(), PortError> {
        sqlx::query!("delete from push_devices where endpoint = $1", endpoint)
            .execute(&self.pool)
            .await
            .map_err(while_doing("forget a browser"))?;
        Ok(())
    }

    async fn of(&self, roles: &[Role]) -> Result<Vec<Device>, PortError> {
        let roles: Vec<String> = roles.iter().map(|role| role.as_str().to_owned()).collect();
        let rows = sqlx::query!(
            "select endpoint, person, added_at from push_devices
               join people on people.id = person
              where closed_at is null and role = any($1) order by added_at, endpoint",
            &roles,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("see which browsers are woken"))?;
        let device = |row: _| {
            let (endpoint, person, added_at): (String, Uuid, DateTime<Utc>) = row;
            Device { endpoint, person: PersonId::from_uuid(person), added_at }
        };
        Ok(rows.into_iter().map(|row| device((row.endpoint, row.person, row.added_at))).collect())
    }
}
