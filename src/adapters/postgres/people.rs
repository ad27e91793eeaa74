//! People, sessions and one-time links in PostgreSQL. What is ours to remember is appended to the event log in the same
//! transaction, so under the log's appender lock: two changes of roles never cross.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::adapters::postgres::ledger::{PostgresLedger, Tx};
use crate::adapters::postgres::while_doing;
use crate::domain::accounts::{AccountEvent, EmailAddress, Role};
use crate::domain::ids::PersonId;
use crate::ports::PortError;
use crate::ports::people::{
    Joining, OneTimeLink, People, PeopleError, Person, SESSIONS_PER_PERSON_MAX, Session,
};

/// The people of one database.
#[derive(Clone)]
pub struct PostgresPeople {
    ledger: PostgresLedger,
}

impl PostgresPeople {
    pub const fn new(ledger: PostgresLedger) -> Self {
        Self { ledger }
    }
}

#[async_trait]
impl People for PostgresPeople {
    async fn invite(
        &self,
        person: Person,
        link: OneTimeLink,
        event: AccountEvent,
    ) -> Result<(), PeopleError> {
        let mut tx = self.ledger.begin().await?;
        sqlx::query!(
            "insert into people (id, email, name, role, password_hash, created_at, closed_at)
             values ($1, $2, $3, $4, $5, $6, $7)",
            person.id.as_uuid(),
            person.email.as_ref().map(EmailAddress::as_str),
            person.name,
            person.role.as_str(),
            person.password_hash,
            person.created_at,
            person.closed_at,
        )
        .execute(&mut *tx)
        .await
        .map_err(taken_or("add a person"))?;
        replace_links(&mut tx, &link).await?;
        Ok(self.ledger.commit_with(tx, event.into()).await?)
    }

    async fn relink(&self, link: OneTimeLink) -> Result<(), PeopleError> {
        let mut tx =
            self.ledger.pool().begin().await.map_err(while_doing("begin to replace a link"))?;
        // The row is held, so that a closing account and its new link do not pass each other.
        sqlx::query_scalar!(
            "select id from people where id = $1 and closed_at is null for update",
            link.person.as_uuid(),
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(while_doing("find a person for a link"))?
        .ok_or(PeopleError::Unknown)?;
        replace_links(&mut tx, &link).await?;
        tx.commit().await.map_err(while_doing("replace a link"))?;
        Ok(())
    }

    async fn find_link(
        &self,
        token_hash: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<Option<Person>, PortError> {
        sqlx::query_as!(
            PersonRow,
            "select people.id, email, name, role, password_hash, created_at, closed_at
               from one_time_links
               join people on people.id = one_time_links.person
              where token_hash = $1 and expires_at > $2",
            &token_hash[..],
            now,
        )
        .fetch_optional(self.ledger.pool())
        .await
        .map_err(while_doing("find a one-time link"))?
        .map(Person::try_from)
        .transpose()
    }

    async fn join(&self, joining: Joining, event: AccountEvent) -> Result<Person, PeopleError> {
        let mut tx = self.ledger.begin().await?;
        let person = sqlx::query_scalar!(
            "delete from one_time_links where token_hash = $1 and expires_at > $2 returning person",
            &joining.token_hash[..],
            joining.now,
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(while_doing("spend a one-time link"))?
        .ok_or(PeopleError::LinkSpent)?;
        let row = sqlx::query_as!(
            PersonRow,
            "update people set email = $2, name = $3, password_hash = $4
              where id = $1 and closed_at is null
              returning id, email, name, role, password_hash, created_at, closed_at",
            person,
            joining.email.as_str(),
            joining.name,
            joining.password_hash,
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(taken_or("store what a person chose"))?
        .ok_or(PeopleError::LinkSpent)?;
        end_sessions(&mut tx, person).await?;
        let joined = Person::try_from(row)?;
        self.ledger.commit_with(tx, event.into()).await?;
        Ok(joined)
    }

    async fn set_role(
        &self,
        person: PersonId,
        role: Role,
        event: AccountEvent,
    ) -> Result<(), PeopleError> {
        let mut tx = self.ledger.begin().await?;
        if role != Role::Admin {
            keep_an_administrator(&mut tx, person).await?;
        }
        let changed = sqlx::query!(
            "update people set role = $2 where id = $1 and closed_at is null",
            person.as_uuid(),
            role.as_str(),
        )
        .execute(&mut *tx)
        .await
        .map_err(while_doing("change a role"))?;
        if changed.rows_affected() == 0 {
            return Err(PeopleError::Unknown);
        }
        Ok(self.ledger.commit_with(tx, event.into()).await?)
    }

    async fn close(
        &self,
        person: PersonId,
        now: DateTime<Utc>,
        event: AccountEvent,
    ) -> Result<(), PeopleError> {
        let mut tx = self.ledger.begin().await?;
        keep_an_administrator(&mut tx, person).await?;
        let id = person.as_uuid();
        let closed = sqlx::query!(
            "update people set email = null, name = '', password_hash = null, closed_at = $2
              where id = $1 and closed_at is null",
            id,
            now,
        )
        .execute(&mut *tx)
        .await
        .map_err(while_doing("close an account"))?;
        if closed.rows_affected() == 0 {
            return Err(PeopleError::Unknown);
        }
        end_sessions(&mut tx, id).await?;
        sqlx::query!("delete from one_time_links where person = $1", id)
            .execute(&mut *tx)
            .await
            .map_err(while_doing("close a person's links"))?;
        sqlx::query!("delete from push_devices where person = $1", id)
            .execute(&mut *tx)
            .await
            .map_err(while_doing("forget a person's browsers"))?;
        Ok(self.ledger.commit_with(tx, event.into()).await?)
    }

    async fn find(&self, person: PersonId) -> Result<Option<Person>, PortError> {
        sqlx::query_as!(
            PersonRow,
            "select id, email, name, role, password_hash, created_at, closed_at
               from people
              where id = $1",
            person.as_uuid(),
        )
        .fetch_optional(self.ledger.pool())
        .await
        .map_err(while_doing("find a person"))?
        .map(Person::try_from)
        .transpose()
    }

    async fn find_by_email(&self, email: &EmailAddress) -> Result<Option<Person>, PortError> {
        sqlx::query_as!(
            PersonRow,
            "select id, email, name, role, password_hash, created_at, closed_at
               from people
              where email = $1",
            email.as_str(),
        )
        .fetch_optional(self.ledger.pool())
        .await
        .map_err(while_doing("find a person by e-mail"))?
        .map(Person::try_from)
        .transpose()
    }

    async fn list(&self) -> Result<Vec<Person>, PortError> {
        let rows = sqlx::query_as!(
            PersonRow,
            "select id, email, name, role, password_hash, created_at, closed_at
               from people
              where closed_at is null
              order by created_at, id",
        )
        .fetch_all(self.ledger.pool())
        .await
        .map_err(while_doing("list people"))?;
        rows.into_iter().map(Person::try_from).collect()
    }

    async fn open_session(&self, session: Session) -> Result<(), PortError> {
        let doing = "open a session";
        let mut tx = self.ledger.pool().begin().await.map_err(while_doing(doing))?;
        let person = session.person.as_uuid();
        sqlx::query!(
            "insert into sessions (reference_hash, person, csrf, device, created_at, seen_at)
             values ($1, $2, $3, $4, $5, $6)",
            &session.reference_hash[..],
            person,
            &session.csrf[..],
            session.device,
            session.created_at,
            session.seen_at,
        )
        .execute(&mut *tx)
        .await
        .map_err(while_doing(doing))?;
        sqlx::query!(
            "delete from sessions
              where reference_hash in (
                    select reference_hash
                      from sessions
                     where person = $1 and reference_hash <> $2
                     order by seen_at desc, reference_hash
                    offset $3)",
            person,
            &session.reference_hash[..],
            SESSIONS_PER_PERSON_MAX as i64 - 1,
        )
        .execute(&mut *tx)
        .await
        .map_err(while_doing("end the oldest sessions"))?;
        tx.commit().await.map_err(while_doing(doing))
    }

    async fn find_session(
        &self,
        reference_hash: [u8; 32],
    ) -> Result<Option<(Session, Person)>, PortError> {
        let Some(row) = sqlx::query!(
            "select sessions.reference_hash, sessions.person, csrf, device,
                    sessions.created_at as opened_at, seen_at,
                    email, name, role, password_hash, people.created_at, closed_at
               from sessions
               join people on people.id = sessions.person
              where reference_hash = $1",
            &reference_hash[..],
        )
        .fetch_optional(self.ledger.pool())
        .await
        .map_err(while_doing("find a session"))?
        else {
            return Ok(None);
        };
        let person = PersonRow {
            id: row.person,
            email: row.email,
            name: row.name,
            role: row.role,
            password_hash: row.password_hash,
            created_at: row.created_at,
            closed_at: row.closed_at,
        };
        let session = SessionRow {
            reference_hash: row.reference_hash,
            person: row.person,
            csrf: row.csrf,
            device: row.device,
            created_at: row.opened_at,
            seen_at: row.seen_at,
        };
        Ok(Some((session.try_into()?, person.try_into()?)))
    }

    async fn sessions_of(&self, person: PersonId) -> Result<Vec<Session>, PortError> {
        let rows = sqlx::query_as!(
            SessionRow,
            "select reference_hash, person, csrf, device, created_at, seen_at
               from sessions
              where person = $1
              order by seen_at desc, reference_hash",
            person.as_uuid(),
        )
        .fetch_all(self.ledger.pool())
        .await
        .map_err(while_doing("list a person's sessions"))?;
        rows.into_iter().map(Session::try_from).collect()
    }

    async fn touch_session(
        &self,
        reference_hash: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<(), PortError> {
        sqlx::query!(
            "update sessions set seen_at = greatest(seen_at, $2) where reference_hash = $1",
            &reference_hash[..],
            now,
        )
        .execute(self.ledger.pool())
        .await
        .map_err(while_doing("note a session's use"))?;
        Ok(())
    }

    async fn end_session(&self, reference_hash: [u8; 32]) -> Result<(), PortError> {
        sqlx::query!("delete from sessions where reference_hash = $1", &reference_hash[..])
            .execute(self.ledger.pool())
            .await
            .map_err(while_doing("end a session"))?;
        Ok(())
    }

    async fn end_other_sessions(&self, person: PersonId, kept: [u8; 32]) -> Result<u64, PortError> {
        let ended = sqlx::query!(
            "delete from sessions where person = $1 and reference_hash <> $2",
            person.as_uuid(),
            &kept[..],
        )
        .execute(self.ledger.pool())
        .await
        .map_err(while_doing("end other sessions"))?;
        Ok(ended.rows_affected())
    }

    async fn sweep(
        &self,
        now: DateTime<Utc>,
        seen_before: DateTime<Utc>,
        created_before: DateTime<Utc>,
    ) -> Result<(), PortError> {
        sqlx::query!(
            "delete from sessions where seen_at < $1 or created_at < $2",
            seen_before,
            created_before,
        )
        .execute(self.ledger.pool())
        .await
        .map_err(while_doing("sweep sessions"))?;
        sqlx::query!("delete from one_time_links where expires_at <= $1", now)
            .execute(self.ledger.pool())
            .await
            .map_err(while_doing("sweep one-time links"))?;
        Ok(())
    }
}

async fn replace_links(tx: &mut Tx<'_>, link: &OneTimeLink) -> Result<(), PortError> {
    let person = link.person.as_uuid();
    sqlx::query!("delete from one_time_links where person = $1", person)
        .execute(&mut **tx)
        .await
        .map_err(while_doing("replace a person's links"))?;
    sqlx::query!(
        "insert into one_time_links (token_hash, person, expires_at) values ($1, $2, $3)",
        &link.token_hash[..],
        person,
        link.expires_at,
    )
    .execute(&mut **tx)
    .await
    .map_err(while_doing("store a one-time link"))?;
    Ok(())
}

async fn end_sessions(tx: &mut Tx<'_>, person: Uuid) -> Result<(), PortError> {
    sqlx::query!("delete from sessions where person = $1", person)
        .execute(&mut **tx)
        .await
        .map_err(while_doing("end a person's sessions"))?;
    Ok(())
}

/// Refuses when `person` is the one administrator who has joined. Callers are alone with the log, so the answer holds.
async fn keep_an_administrator(tx: &mut Tx<'_>, person: PersonId) -> Result<(), PeopleError> {
    let admins = sqlx::query_scalar!(
        "select id from people where role = 'admin' and closed_at is null and password_hash is not null",
    )
    .fetch_all(&mut **tx)
    .await
    .map_err(while_doing("count the administrators"))?;
    if admins == [person.as_uuid()] { Err(PeopleError::LastAdministrator) } else { Ok(()) }
}

fn taken_or(doing: &'static str) -> impl FnOnce(sqlx::Error) -> PeopleError {
    move |error| match &error {
        sqlx::Error::Database(database) if database.constraint() == Some("people_email_key") => {
            PeopleError::EmailTaken
        }
        _ => PeopleError::Port(while_doing(doing)(error)),
    }
}

struct PersonRow {
    id: Uuid,
    email: Option<String>,
    name: String,
    role: String,
    password_hash: Option<String>,
    created_at: DateTime<Utc>,
    closed_at: Option<DateTime<Utc>>,
}

impl TryFrom<PersonRow> for Person {
    type Error = PortError;
    fn try_from(row: PersonRow) -> Result<Self, PortError> {
        let odd = |what: &str| {
            PortError::plain(format!("understand the {what} of person {} in people", row.id))
        };
        Ok(Self {
            email: row
                .email
                .as_deref()
                .map(EmailAddress::try_new)
                .transpose()
                .map_err(|_| odd("email"))?,
            role: Role::parse(&row.role).ok_or_else(|| odd("role"))?,
            id: PersonId::from_uuid(row.id),
            name: row.name,
            password_hash: row.password_hash,
            created_at: row.created_at,
            closed_at: row.closed_at,
        })
    }
}

struct SessionRow {
    reference_hash: Vec<u8>,
    person: Uuid,
    csrf: Vec<u8>,
    device: String,
    created_at: DateTime<Utc>,
    seen_at: DateTime<Utc>,
}

impl TryFrom<SessionRow> for Session {
    type Error = PortError;
    fn try_from(row: SessionRow) -> Result<Self, PortError> {
        let whole = |bytes: Vec<u8>| {
            <[u8; 32]>::try_from(bytes).map_err(|_| {
                PortError::plain(format!(
                    "understand a session of person {} in sessions",
                    row.person
                ))
            })
        };
        Ok(Self {
            reference_hash: whole(row.reference_hash)?,
            csrf: whole(row.csrf)?,
            person: PersonId::from_uuid(row.person),
            device: row.device,
            created_at: row.created_at,
            seen_at: row.seen_at,
        })
    }
}
