//! People in memory: the twin of the people tables, writing to the same log as the database it stands beside.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::adapters::memory::MemoryDatabase;
use crate::domain::accounts::{AccountEvent, EmailAddress, Role};
use crate::domain::ids::PersonId;
use crate::ports::PortError;
use crate::ports::people::{
    Joining, OneTimeLink, People, PeopleError, Person, SESSIONS_PER_PERSON_MAX, Session,
};

/// The people beside one database. Clones share them.
#[derive(Debug, Clone)]
pub struct MemoryPeople {
    database: MemoryDatabase,
    tables: Arc<Mutex<Tables>>,
}

#[derive(Debug, Clone, Default)]
struct Tables {
    people: BTreeMap<PersonId, Person>,
    sessions: BTreeMap<[u8; 32], Session>,
    links: BTreeMap<[u8; 32], OneTimeLink>,
}

impl MemoryPeople {
    /// Nobody yet.
    pub fn beside(database: MemoryDatabase) -> Self {
        Self { database, tables: Arc::default() }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a copy, which stands once its event is in the log: all or nothing.
    fn change<T>(
        &self,
        event: AccountEvent,
        change: impl FnOnce(&mut Tables) -> Result<T, PeopleError>,
    ) -> Result<T, PeopleError> {
        let mut tables = self.tables();
        let mut next = tables.clone();
        let changed = change(&mut next)?;
        self.database.state().append(vec![event.into()], &self.database.clock)?;
        self.database.written.notify_waiters();
        *tables = next;
        Ok(changed)
    }
}

impl Tables {
    fn open(&mut self, person: PersonId) -> Result<&mut Person, PeopleError> {
        self.people
            .get_mut(&person)
            .filter(|person| person.closed_at.is_none())
            .ok_or(PeopleError::Unknown)
    }

    fn check_free(&self, email: &EmailAddress, person: PersonId) -> Result<(), PeopleError> {
        let taken = self
            .people
            .values()
            .any(|other| other.id != person && other.email.as_ref() == Some(email));
        if taken { Err(PeopleError::EmailTaken) } else { Ok(()) }
    }

    fn keep_an_administrator(&self, person: PersonId) -> Result<(), PeopleError> {
        let mut admins = self
            .people
            .values()
            .filter(|person| person.role == Role::Admin && person.has_joined())
            .map(|person| person.id);
        if admins.next() == Some(person) && admins.next().is_none() {
            return Err(PeopleError::LastAdministrator);
        }
        Ok(())
    }

    fn replace_links(&mut self, link: OneTimeLink) {
        self.links.retain(|_, standing| standing.person != link.person);
        self.links.insert(link.token_hash, link);
    }

    fn sessions_of(&self, person: PersonId) -> Vec<Session> {
        let mut sessions: Vec<Session> =
            self.sessions.values().filter(|session| session.person == person).cloned().collect();
        sessions
            .sort_by_key(|session| (std::cmp::Reverse(session.seen_at), session.reference_hash));
        sessions
    }
}

#[async_trait]
impl People for MemoryPeople {
    async fn invite(
        &self,
        person: Person,
        link: OneTimeLink,
        event: AccountEvent,
    ) -> Result<(), PeopleError> {
        self.change(event, |tables| {
            if let Some(email) = &person.email {
                tables.check_free(email, person.id)?;
            }
            tables.people.insert(person.id, person);
            tables.replace_links(link);
            Ok(())
        })
    }

    async fn relink(&self, link: OneTimeLink) -> Result<(), PeopleError> {
        let mut tables = self.tables();
        tables.open(link.person)?;
        tables.replace_links(link);
        Ok(())
    }

    async fn find_link(
        &self,
        token_hash: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<Option<Person>, PortError> {
        let tables = self.tables();
        let link = tables.links.get(&token_hash).filter(|link| link.expires_at > now);
        Ok(link.and_then(|link| tables.people.get(&link.person)).cloned())
    }

    async fn join(&self, joining: Joining, event: AccountEvent) -> Result<Person, PeopleError> {
        self.change(event, |tables| {
            let link = tables
                .links
                .remove(&joining.token_hash)
                .filter(|link| link.expires_at > joining.now)
                .ok_or(PeopleError::LinkSpent)?;
            tables.check_free(&joining.email, link.person)?;
            tables.sessions.retain(|_, session| session.person != link.person);
            let person = tables.open(link.person).map_err(|_| PeopleError::LinkSpent)?;
            person.email = Some(joining.email);
            person.name = joining.name;
            person.password_hash = Some(joining.password_hash);
            Ok(person.clone())
        })
    }

    async fn set_role(
        &self,
        person: PersonId,
        role: Role,
        event: AccountEvent,
    ) -> Result<(), PeopleError> {
        self.change(event, |tables| {
            if role != Role::Admin {
                tables.keep_an_administrator(person)?;
            }
            tables.open(person)?.role = role;
            Ok(())
        })
    }

    async fn close(
        &self,
        person: PersonId,
        now: DateTime<Utc>,
        event: AccountEvent,
    ) -> Result<(), PeopleError> {
        self.change(event, |tables| {
            tables.keep_an_administrator(person)?;
            let closing = tables.open(person)?;
            closing.email = None;
            closing.name = String::new();
            closing.password_hash = None;
            closing.closed_at = Some(now);
            tables.sessions.retain(|_, session| session.person != person);
            tables.links.retain(|_, link| link.person != person);
            Ok(())
        })
    }

    async fn find(&self, person: PersonId) -> Result<Option<Person>, PortError> {
        Ok(self.tables().people.get(&person).cloned())
    }

    async fn find_by_email(&self, email: &EmailAddress) -> Result<Option<Person>, PortError> {
        let tables = self.tables();
        Ok(tables.people.values().find(|person| person.email.as_ref() == Some(email)).cloned())
    }

    async fn list(&self) -> Result<Vec<Person>, PortError> {
        let tables = self.tables();
        let mut people: Vec<Person> =
            tables.people.values().filter(|person| person.closed_at.is_none()).cloned().collect();
        people.sort_by_key(|person| (person.created_at, person.id));
        Ok(people)
    }

    async fn open_session(&self, session: Session) -> Result<(), PortError> {
        let mut tables = self.tables();
        let others: Vec<Session> = tables.sessions_of(session.person);
        for oldest in others.iter().skip(SESSIONS_PER_PERSON_MAX - 1) {
            tables.sessions.remove(&oldest.reference_hash);
        }
        tables.sessions.insert(session.reference_hash, session);
        Ok(())
    }

    async fn find_session(
        &self,
        reference_hash: [u8; 32],
    ) -> Result<Option<(Session, Person)>, PortError> {
        let tables = self.tables();
        let session = tables.sessions.get(&reference_hash);
        Ok(session.and_then(|session| {
            tables.people.get(&session.person).map(|person| (session.clone(), person.clone()))
        }))
    }

    async fn sessions_of(&self, person: PersonId) -> Result<Vec<Session>, PortError> {
        Ok(self.tables().sessions_of(person))
    }

    async fn touch_session(
        &self,
        reference_hash: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<(), PortError> {
        if let Some(session) = self.tables().sessions.get_mut(&reference_hash) {
            session.seen_at = session.seen_at.max(now);
        }
        Ok(())
    }

    async fn end_session(&self, reference_hash: [u8; 32]) -> Result<(), PortError> {
        self.tables().sessions.remove(&reference_hash);
        Ok(())
    }

    async fn end_other_sessions(&self, person: PersonId, kept: [u8; 32]) -> Result<u64, PortError> {
        let mut tables = self.tables();
        let before = tables.sessions.len();
        tables.sessions.retain(|hash, session| session.person != person || *hash == kept);
        Ok((before - tables.sessions.len()) as u64)
    }

    async fn sweep(
        &self,
        now: DateTime<Utc>,
        seen_before: DateTime<Utc>,
        created_before: DateTime<Utc>,
    ) -> Result<(), PortError> {
        let mut tables = self.tables();
        tables.sessions.retain(|_, session| {
            session.seen_at >= seen_before && session.created_at >= created_before
        });
        tables.links.retain(|_, link| link.expires_at > now);
        Ok(())
    }
}
