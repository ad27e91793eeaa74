//! Accounts: the first administrator, invitations, logins, roles, sessions.

mod passwords;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use sha2::{Digest, Sha256};

use crate::domain::accounts::{
    AccountError, AccountEvent, EmailAddress, Role, check_name, check_password, session_limits,
};
use crate::domain::ids::PersonId;
use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::people::{Joining, OneTimeLink, People, PeopleError, Person, Session};

pub use passwords::Passwords;

/// How long an invitation stays open.
pub const LINK_LIFE: TimeDelta = TimeDelta::days(7);
/// How long the first administrator's link stays open; the next start prints another.
pub const FIRST_LINK_LIFE: TimeDelta = TimeDelta::hours(24);
/// A session's last use is noted at most this often.
const TOUCH_EVERY: TimeDelta = TimeDelta::minutes(1);
/// Longest description of a browser that is kept, in characters.
const DEVICE_CHARS_MAX: usize = 160;

/// People and what they may come in with.
#[derive(Clone)]
pub struct Accounts {
    pub people: Arc<dyn People>,
    pub clock: Arc<dyn Clock>,
    pub passwords: Passwords,
}

/// 256 random bits as text for a cookie or a link. The store knows its hash only; logs do not see it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    fn of(secret: [u8; 32]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(secret))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A person in a browser, now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    pub person: Person,
    pub session: Session,
}

/// A session just opened, with the reference its browser is to keep.
#[derive(Debug, Clone)]
pub struct Opened {
    pub reference: Token,
    pub signed_in: SignedIn,
}

/// Why an account use case failed.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Port(#[from] PortError),
}

impl Accounts {
    /// On first start, a one-time link for the first administrator; `None` once one has joined. Each call replaces the
    /// link before.
    pub async fn first_link(&self) -> Result<Option<Token>, AccountsError> {
        let people = self.people.list().await?;
        let mut admins = people.iter().filter(|person| person.role == Role::Admin).peekable();
        if let Some(admin) = admins.peek().map(|person| person.id) {
            if admins.any(Person::has_joined) {
                return Ok(None);
            }
            return self.renew(admin, FIRST_LINK_LIFE).await.map(Some);
        }
        let (_, token) = self.add(None, None, Role::Admin, FIRST_LINK_LIFE).await?;
        Ok(Some(token))
    }

    /// Invites somebody: the link lets them choose a name and a password.
    pub async fn invite(
        &self,
        by: PersonId,
        email: Option<EmailAddress>,
        role: Role,
    ) -> Result<(PersonId, Token), AccountsError> {
        self.add(Some(by), email, role, LINK_LIFE).await
    }

    /// A new one-time link for somebody who lost theirs, or their password. The password holds until the link is used.
    pub async fn relink(&self, person: PersonId) -> Result<Token, AccountsError> {
        self.renew(person, LINK_LIFE).await
    }

    /// The person an open link is for.
    pub async fn find_link(&self, token: &str) -> Result<Option<Person>, PortError> {
        match hash_of(token) {
            Some(hash) => self.people.find_link(hash, self.clock.now()).await,
            None => Ok(None),
        }
    }

    /// Uses a link: the person has a name and a password from now on, and is signed in. Somebody whose address is known
    /// keeps it, whatever `email` says.
    pub async fn join(
        &self,
        token: &str,
        name: &str,
        email: &str,
        password: String,
        device: &str,
    ) -> Result<Opened, AccountsError> {
        let token_hash = hash_of(token).ok_or(AccountError::Link)?;
        let person =
            self.people.find_link(token_hash, self.clock.now()).await?.ok_or(AccountError::Link)?;
        let name = check_name(name)?;
        let email = person.email.clone().map_or_else(|| EmailAddress::try_new(email), Ok)?;
        check_password(&password)?;
        let password_hash = self.passwords.hash(password).await?;
        let joining = Joining { token_hash, now: self.clock.now(), email, name, password_hash };
        let event = AccountEvent::Joined { person: person.id };
        let joined = self.people.join(joining, event).await.map_err(|e| refused(e, person.id))?;
        self.open(joined, device).await
    }

    /// Signs in. An unknown address and a wrong password are one error, after the same time.
    /// The session of the reference given before, if any, ends.
    pub async fn login(
        &self,
        email: &str,
        password: String,
        before: Option<&str>,
        device: &str,
    ) -> Result<Opened, AccountsError> {
        let person = match EmailAddress::try_new(email) {
            Ok(email) => self.people.find_by_email(&email).await?,
            Err(_) => None,
        };
        let stored = person.as_ref().and_then(|person| person.password_hash.clone());
        if password.chars().count() > crate::domain::accounts::PASSWORD_CHARS_MAX
            || !self.passwords.check(password, stored).await?
        {
            return Err(AccountError::Credentials.into());
        }
        let person = person.ok_or(AccountError::Credentials)?;
        if let Some(hash) = before.and_then(hash_of) {
            self.people.end_session(hash).await?;
        }
        self.open(person, device).await
    }

    /// Who a browser's reference stands for; `None` when its session is over.
    pub async fn authenticate(&self, reference: &str) -> Result<Option<SignedIn>, PortError> {
        let Some(hash) = hash_of(reference) else { return Ok(None) };
        let Some((session, person)) = self.people.find_session(hash).await? else {
            return Ok(None);
        };
        let now = self.clock.now();
        let limits = session_limits(person.role);
        if !person.has_joined() || !limits.hold(session.created_at, session.seen_at, now) {
            self.people.end_session(hash).await?;
            return Ok(None);
        }
        if now - session.seen_at >= TOUCH_EVERY {
            self.people.touch_session(hash, now).await?;
        }
        Ok(Some(SignedIn { person, session }))
    }

    /// Ends a session.
    pub async fn logout(&self, session: &Session) -> Result<(), PortError> {
        self.people.end_session(session.reference_hash).await
    }

    /// A person's sessions that still hold, the last used first.
    pub async fn sessions(&self, person: &Person) -> Result<Vec<Session>, PortError> {
        let (now, limits) = (self.clock.now(), session_limits(person.role));
        let mut sessions = self.people.sessions_of(person.id).await?;
        sessions.retain(|session| limits.hold(session.created_at, session.seen_at, now));
        Ok(sessions)
    }

    /// Ends all sessions of a person but this one; says how many.
    pub async fn end_other_sessions(&self, kept: &Session) -> Result<u64, PortError> {
        self.people.end_other_sessions(kept.person, kept.reference_hash).await
    }

    /// Everybody with an open account, oldest first.
    pub async fn list(&self) -> Result<Vec<Person>, PortError> {
        self.people.list().await
    }

    /// Gives somebody another role, from their next request on.
    pub async fn change_role(
        &self,
        by: PersonId,
        person: PersonId,
        role: Role,
    ) -> Result<(), AccountsError> {
        let event = AccountEvent::RoleChanged { person, role, by };
        self.people.set_role(person, role, event).await.map_err(|e| refused(e, person))
    }

    /// Closes an account and wipes what is personal in it.
    pub async fn close(&self, by: PersonId, person: PersonId) -> Result<(), AccountsError> {
        let event = AccountEvent::Closed { person, by };
        let now = self.clock.now();
        self.people.close(person, now, event).await.map_err(|e| refused(e, person))
    }

    async fn renew(&self, person: PersonId, life: TimeDelta) -> Result<Token, AccountsError> {
        let (token, link) = self.link_for(person, life);
        self.people.relink(link).await.map_err(|e| refused(e, person))?;
        Ok(token)
    }

    async fn add(
        &self,
        by: Option<PersonId>,
        email: Option<EmailAddress>,
        role: Role,
        life: TimeDelta,
    ) -> Result<(PersonId, Token), AccountsError> {
        let id = PersonId::from_uuid(self.clock.new_id());
        let person = Person {
            id,
            email,
            name: String::new(),
            role,
            password_hash: None,
            created_at: self.clock.now(),
            closed_at: None,
        };
        let (token, link) = self.link_for(id, life);
        let event = AccountEvent::Invited { person: id, role, by };
        self.people.invite(person, link, event).await.map_err(|e| refused(e, id))?;
        Ok((id, token))
    }

    fn link_for(&self, person: PersonId, life: TimeDelta) -> (Token, OneTimeLink) {
        let secret = self.clock.new_secret();
        let expires_at = self.clock.now() + life;
        (Token::of(secret), OneTimeLink { token_hash: digest(&secret), person, expires_at })
    }

    async fn open(&self, person: Person, device: &str) -> Result<Opened, AccountsError> {
        let now = self.clock.now();
        let longest = session_limits(Role::Editor);
        self.people.sweep(now, now - longest.idle, now - longest.absolute).await?;
        let secret = self.clock.new_secret();
        let session = Session {
            reference_hash: digest(&secret),
            person: person.id,
            csrf: self.clock.new_secret(),
            device: device.chars().filter(|c| !c.is_control()).take(DEVICE_CHARS_MAX).collect(),
            created_at: now,
            seen_at: now,
        };
        self.people.open_session(session.clone()).await?;
        Ok(Opened { reference: Token::of(secret), signed_in: SignedIn { person, session } })
    }
}

fn digest(secret: &[u8; 32]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// The hash a token is stored under; `None` for a text that is no token.
fn hash_of(token: &str) -> Option<[u8; 32]> {
    let secret: [u8; 32] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
    Some(digest(&secret))
}

fn refused(error: PeopleError, person: PersonId) -> AccountsError {
    match error {
        PeopleError::EmailTaken => AccountError::EmailTaken.into(),
        PeopleError::LinkSpent => AccountError::Link.into(),
        PeopleError::Unknown => AccountError::Unknown(person).into(),
        PeopleError::LastAdministrator => AccountError::LastAdministrator.into(),
        PeopleError::Port(error) => error.into(),
    }
}
