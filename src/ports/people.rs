//! The people table and what hangs on it: sessions and one-time links. Secrets are stored as hashes only.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::accounts::{AccountEvent, EmailAddress, Role};
use crate::domain::ids::PersonId;
use crate::ports::PortError;

/// Sessions a person keeps at most; opening one more ends the one unused for longest.
pub const SESSIONS_PER_PERSON_MAX: usize = 20;

/// A person with an account. `email` and `name` are empty once erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub id: PersonId,
    pub email: Option<EmailAddress>,
    pub name: String,
    pub role: Role,
    /// PHC string of an argon2id hash; `None` until the person chose a password.
    pub password_hash: Option<String>,
    pub created_at: DateTime<Utc>,
    pub closed_at: Option<DateTime<Utc>>,
}

impl Person {
    /// Whether this person can sign in: came through a link once, and has not left.
    pub const fn has_joined(&self) -> bool {
        self.password_hash.is_some() && self.closed_at.is_none()
    }
}

/// A browser session. The reference itself is known to the browser only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub reference_hash: [u8; 32],
    pub person: PersonId,
    pub csrf: [u8; 32],
    /// What the browser said of itself, cut short; for the person's own list of sessions.
    pub device: String,
    pub created_at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
}

/// A one-time link that lets a person in to choose a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneTimeLink {
    pub token_hash: [u8; 32],
    pub person: PersonId,
    pub expires_at: DateTime<Utc>,
}

/// What a person chose behind a one-time link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joining {
    pub token_hash: [u8; 32],
    pub now: DateTime<Utc>,
    pub email: EmailAddress,
    pub name: String,
    pub password_hash: String,
}

#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    #[error("this e-mail address has an account already")]
    EmailTaken,
    #[error("the link was used already or has expired")]
    LinkSpent,
    #[error("no open account of this person")]
    Unknown,
    #[error("no administrator would be left")]
    LastAdministrator,
    #[error(transparent)]
    Port(#[from] PortError),
}

/// People, their sessions and links. Every change that is ours to remember comes with its event, in one transaction.
#[async_trait]
pub trait People: Send + Sync {
    /// Adds a person who has yet to come, with the link that lets them in.
    async fn invite(
        &self,
        person: Person,
        link: OneTimeLink,
        event: AccountEvent,
    ) -> Result<(), PeopleError>;

    /// Replaces a person's open links by this one.
    async fn relink(&self, link: OneTimeLink) -> Result<(), PeopleError>;

    /// The person a link is for, while it is open at `now`.
    async fn find_link(
        &self,
        token_hash: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<Option<Person>, PortError>;

    /// Spends a link: stores what the person chose and ends the sessions opened with an earlier password.
    /// The link works once, whoever comes first; an address that is taken leaves it unspent.
    async fn join(&self, joining: Joining, event: AccountEvent) -> Result<Person, PeopleError>;

    /// Changes a role. The last administrator who has joined keeps theirs.
    async fn set_role(
        &self,
        person: PersonId,
        role: Role,
        event: AccountEvent,
    ) -> Result<(), PeopleError>;

    /// Closes an account: wipes what is personal, ends its sessions and links. Not the last administrator's.
    async fn close(
        &self,
        person: PersonId,
        now: DateTime<Utc>,
        event: AccountEvent,
    ) -> Result<(), PeopleError>;

    async fn find(&self, person: PersonId) -> Result<Option<Person>, PortError>;
    async fn find_by_email(&self, email: &EmailAddress) -> Result<Option<Person>, PortError>;
    /// Everybody with an open account, oldest first.
    async fn list(&self) -> Result<Vec<Person>, PortError>;

    /// Opens a session; beyond [`SESSIONS_PER_PERSON_MAX`] the person's least recently used ones end.
    async fn open_session(&self, session: Session) -> Result<(), PortError>;
    async fn find_session(
        &self,
        reference_hash: [u8; 32],
    ) -> Result<Option<(Session, Person)>, PortError>;
    /// A person's sessions, the last used first.
    async fn sessions_of(&self, person: PersonId) -> Result<Vec<Session>, PortError>;
    /// Notes that a session was used; cheap, may be called once a minute.
    async fn touch_session(
        &self,
        reference_hash: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<(), PortError>;
    async fn end_session(&self, reference_hash: [u8; 32]) -> Result<(), PortError>;
    /// Ends all sessions of a person but one; says how many.
    async fn end_other_sessions(&self, person: PersonId, kept: [u8; 32]) -> Result<u64, PortError>;
    /// Forgets sessions unused since `seen_before` or opened before `created_before`, and links that expired before `now`.
    async fn sweep(
        &self,
        now: DateTime<Utc>,
        seen_before: DateTime<Utc>,
        created_before: DateTime<Utc>,
    ) -> Result<(), PortError>;
}
