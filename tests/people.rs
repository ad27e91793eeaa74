//! What the people tables promise, kept by the twin in memory and by PostgreSQL alike.

mod support;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use spark::adapters::clock::SystemClock;
use spark::adapters::memory::{MemoryClock, MemoryDatabase, MemoryPeople};
use spark::adapters::postgres::{PostgresLedger, PostgresPeople};
use spark::domain::accounts::{AccountEvent, EmailAddress, Role};
use spark::domain::event::Event;
use spark::domain::ids::PersonId;
use spark::ports::clock::Clock;
use spark::ports::ledger::Ledger;
use spark::ports::people::{
    Joining, OneTimeLink, People, PeopleError, Person, SESSIONS_PER_PERSON_MAX, Session,
};

/// A system under contract.
#[derive(Clone)]
struct Kept {
    people: Arc<dyn People>,
    ledger: Arc<dyn Ledger>,
}

async fn in_postgres() -> Kept {
    let ledger = PostgresLedger::new(support::fresh_database().await);
    Kept { people: Arc::new(PostgresPeople::new(ledger.clone())), ledger: Arc::new(ledger) }
}

fn in_memory() -> Kept {
    let database = MemoryDatabase::new(MemoryClock::default());
    Kept { people: Arc::new(MemoryPeople::beside(database.clone())), ledger: Arc::new(database) }
}

macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod memory { $(#[tokio::test] async fn $name() { super::$name(super::in_memory()).await; })+ }
        mod postgres { $(#[tokio::test] async fn $name() { super::$name(super::in_postgres().await).await; })+ }
    };
}
contract!(
    a_link_lets_one_person_in_once_under_a_rush,
    an_expired_link_lets_nobody_in,
    a_new_link_replaces_the_one_before,
    a_taken_address_leaves_the_link_unspent_and_says_nothing_in_the_log,
    the_last_administrator_stays,
    two_administrators_cannot_step_down_at_once,
    closing_wipes_what_is_personal_and_ends_everything,
    a_session_lives_until_it_is_ended,
    the_least_used_session_makes_room,
    sweeping_forgets_what_is_over,
    joining_anew_ends_older_sessions,
);

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn secret() -> [u8; 32] {
    SystemClock.new_secret()
}

fn email(raw: &str) -> EmailAddress {
    EmailAddress::try_new(raw).unwrap()
}

impl Kept {
    async fn invite(&self, role: Role) -> (PersonId, [u8; 32]) {
        let id = PersonId::from_uuid(SystemClock.new_id());
        let person = Person {
            id,
            email: None,
            name: String::new(),
            role,
            password_hash: None,
            created_at: now(),
            closed_at: None,
        };
        let link = link(id);
        let event = AccountEvent::Invited { person: id, role, by: None };
        self.people.invite(person, link.clone(), event).await.unwrap();
        (id, link.token_hash)
    }

    async fn join(
        &self,
        person: PersonId,
        token_hash: [u8; 32],
        address: &str,
        at: DateTime<Utc>,
    ) -> Result<Person, PeopleError> {
        let joining = Joining {
            token_hash,
            now: at,
            email: email(address),
            name: "Ana".into(),
            password_hash: "$argon2id$hash".into(),
        };
        self.people.join(joining, AccountEvent::Joined { person }).await
    }

    async fn admit(&self, role: Role, address: &str) -> PersonId {
        let (id, token) = self.invite(role).await;
        self.join(id, token, address, now()).await.unwrap();
        id
    }

    async fn step_down(&self, person: PersonId) -> Result<(), PeopleError> {
        let event = AccountEvent::RoleChanged { person, role: Role::Editor, by: person };
        self.people.set_role(person, Role::Editor, event).await
    }

    async fn open(&self, person: PersonId, seen_at: DateTime<Utc>) -> Session {
        let session = Session {
            reference_hash: secret(),
            person,
            csrf: secret(),
            device: "Firefox".into(),
            created_at: seen_at,
            seen_at,
        };
        self.people.open_session(session.clone()).await.unwrap();
        session
    }

    async fn story(&self, person: PersonId) -> Vec<AccountEvent> {
        let history = self.ledger.history(person.as_uuid()).await.unwrap();
        history
            .into_iter()
            .map(|recorded| match recorded.event {
                Event::Account(event) => event,
                other => panic!("{other:?} in a person's history"),
            })
            .collect()
    }
}

fn link(person: PersonId) -> OneTimeLink {
    OneTimeLink { token_hash: secret(), person, expires_at: now() + TimeDelta::days(7) }
}

async fn a_link_lets_one_person_in_once_under_a_rush(kept: Kept) {
    let (id, token) = kept.invite(Role::Editor).await;
    let rush = (0..8).map(|n| {
        let kept = kept.clone();
        async move { kept.join(id, token, &format!("ana{n}@villa.fr"), now()).await }
    });
    let outcomes = join_all(rush).await;
    let joined: Vec<&Person> =
        outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!(joined.len(), 1);
    assert!(
        outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(PeopleError::LinkSpent))),
        "{outcomes:?}"
    );
    assert_eq!(kept.people.find(id).await.unwrap().as_ref(), Some(joined[0]));
    let invited = AccountEvent::Invited { person: id, role: Role::Editor, by: None };
    assert_eq!(kept.story(id).await, [invited, AccountEvent::Joined { person: id }]);
}

async fn an_expired_link_lets_nobody_in(kept: Kept) {
    let (id, token) = kept.invite(Role::Editor).await;
    let late = now() + TimeDelta::days(7);
    assert_eq!(kept.people.find_link(token, late).await.unwrap(), None);
    let joined = kept.join(id, token, "ana@villa.fr", late).await;
    assert!(matches!(joined, Err(PeopleError::LinkSpent)), "{joined:?}");
    assert_eq!(kept.story(id).await.len(), 1);
}

async fn a_new_link_replaces_the_one_before(kept: Kept) {
    let (id, first) = kept.invite(Role::Editor).await;
    let second = link(id);
    kept.people.relink(second.clone()).await.unwrap();
    assert_eq!(kept.people.find_link(first, now()).await.unwrap(), None);
    let found = kept.people.find_link(second.token_hash, now()).await.unwrap();
    assert_eq!(found.map(|person| person.id), Some(id));
    let nobody = PersonId::from_uuid(SystemClock.new_id());
    let refused = kept.people.relink(link(nobody)).await;
    assert!(matches!(refused, Err(PeopleError::Unknown)), "{refused:?}");
}

async fn a_taken_address_leaves_the_link_unspent_and_says_nothing_in_the_log(kept: Kept) {
    kept.admit(Role::Admin, "ana@villa.fr").await;
    let (id, token) = kept.invite(Role::Editor).await;
    let joined = kept.join(id, token, "ana@villa.fr", now()).await;
    assert!(matches!(joined, Err(PeopleError::EmailTaken)), "{joined:?}");
    assert_eq!(kept.story(id).await.len(), 1);
    kept.join(id, token, "leo@villa.fr", now()).await.unwrap();
    let found = kept.people.find_by_email(&email("leo@villa.fr")).await.unwrap();
    assert_eq!(found.map(|person| person.id), Some(id));
}

async fn the_last_administrator_stays(kept: Kept) {
    let first = kept.admit(Role::Admin, "ana@villa.fr").await;
    // An administrator who has yet to come does not count.
    kept.invite(Role::Admin).await;
    let refused = kept.step_down(first).await;
    assert!(matches!(refused, Err(PeopleError::LastAdministrator)), "{refused:?}");
    let closing = AccountEvent::Closed { person: first, by: first };
    let refused = kept.people.close(first, now(), closing.clone()).await;
    assert!(matches!(refused, Err(PeopleError::LastAdministrator)), "{refused:?}");
    assert_eq!(kept.story(first).await.len(), 2);
    kept.admit(Role::Admin, "leo@villa.fr").await;
    kept.people.close(first, now(), closing).await.unwrap();
}

async fn two_administrators_cannot_step_down_at_once(kept: Kept) {
    let ana = kept.admit(Role::Admin, "ana@villa.fr").await;
    let leo = kept.admit(Role::Admin, "leo@villa.fr").await;
    let both = join_all([kept.step_down(ana), kept.step_down(leo)]).await;
    assert_eq!(both.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{both:?}");
    let admins = kept.people.list().await.unwrap();
    assert_eq!(admins.iter().filter(|person| person.role == Role::Admin).count(), 1);
}

async fn closing_wipes_what_is_personal_and_ends_everything(kept: Kept) {
    let admin = kept.admit(Role::Admin, "ana@villa.fr").await;
    let leo = kept.admit(Role::Editor, "leo@villa.fr").await;
    let session = kept.open(leo, now()).await;
    let lost = link(leo);
    kept.people.relink(lost.clone()).await.unwrap();
    let event = AccountEvent::Closed { person: leo, by: admin };
    kept.people.close(leo, now(), event.clone()).await.unwrap();
    let left = kept.people.find(leo).await.unwrap().unwrap();
    assert_eq!((left.email, left.name, left.password_hash), (None, String::new(), None));
    assert_eq!(left.closed_at, Some(now()));
    assert_eq!(kept.people.find_session(session.reference_hash).await.unwrap(), None);
    assert_eq!(kept.people.find_link(lost.token_hash, now()).await.unwrap(), None);
    assert!(kept.people.list().await.unwrap().iter().all(|person| person.id != leo));
    let again = kept.people.close(leo, now(), event).await;
    assert!(matches!(again, Err(PeopleError::Unknown)), "{again:?}");
    let again = kept.step_down(leo).await;
    assert!(matches!(again, Err(PeopleError::Unknown)), "{again:?}");
}

async fn a_session_lives_until_it_is_ended(kept: Kept) {
    let ana = kept.admit(Role::Editor, "ana@villa.fr").await;
    let (old, new) = (kept.open(ana, now()).await, kept.open(ana, now()).await);
    let later = now() + TimeDelta::minutes(5);
    kept.people.touch_session(old.reference_hash, later).await.unwrap();
    // A late note does not turn time back.
    kept.people.touch_session(old.reference_hash, now()).await.unwrap();
    let (found, person) = kept.people.find_session(old.reference_hash).await.unwrap().unwrap();
    assert_eq!(found, Session { seen_at: later, ..old.clone() });
    assert_eq!(person.id, ana);
    assert_eq!(kept.people.sessions_of(ana).await.unwrap(), [found, new.clone()]);
    assert_eq!(kept.people.end_other_sessions(ana, old.reference_hash).await.unwrap(), 1);
    assert_eq!(kept.people.find_session(new.reference_hash).await.unwrap(), None);
    kept.people.end_session(old.reference_hash).await.unwrap();
    assert_eq!(kept.people.find_session(old.reference_hash).await.unwrap(), None);
}

async fn the_least_used_session_makes_room(kept: Kept) {
    let ana = kept.admit(Role::Editor, "ana@villa.fr").await;
    let leo = kept.admit(Role::Editor, "leo@villa.fr").await;
    let other = kept.open(leo, now() - TimeDelta::days(1)).await;
    let oldest = kept.open(ana, now()).await;
    for minute in 1..=SESSIONS_PER_PERSON_MAX as i64 {
        kept.open(ana, now() + TimeDelta::minutes(minute)).await;
    }
    let open = kept.people.sessions_of(ana).await.unwrap();
    assert_eq!(open.len(), SESSIONS_PER_PERSON_MAX);
    assert!(!open.contains(&oldest));
    assert!(kept.people.find_session(other.reference_hash).await.unwrap().is_some());
}

async fn sweeping_forgets_what_is_over(kept: Kept) {
    let ana = kept.admit(Role::Editor, "ana@villa.fr").await;
    let idle = kept.open(ana, now() - TimeDelta::hours(13)).await;
    let old = kept.open(ana, now() - TimeDelta::days(8)).await;
    kept.people.touch_session(old.reference_hash, now()).await.unwrap();
    let fresh = kept.open(ana, now()).await;
    let (guest, token) = kept.invite(Role::Artist).await;
    let sweep = |at: DateTime<Utc>| {
        kept.people.sweep(at, now() - TimeDelta::hours(12), now() - TimeDelta::days(7))
    };
    sweep(now()).await.unwrap();
    assert_eq!(kept.people.sessions_of(ana).await.unwrap(), [fresh], "not {idle:?}, not {old:?}");
    assert!(kept.people.find_link(token, now()).await.unwrap().is_some());
    sweep(now() + TimeDelta::days(7)).await.unwrap();
    let joined = kept.join(guest, token, "guest@villa.fr", now()).await;
    assert!(matches!(joined, Err(PeopleError::LinkSpent)), "{joined:?}");
}

async fn joining_anew_ends_older_sessions(kept: Kept) {
    let ana = kept.admit(Role::Editor, "ana@villa.fr").await;
    let stolen = kept.open(ana, now()).await;
    let lost = link(ana);
    kept.people.relink(lost.clone()).await.unwrap();
    assert!(kept.people.find_session(stolen.reference_hash).await.unwrap().is_some());
    kept.join(ana, lost.token_hash, "ana@villa.fr", now()).await.unwrap();
    assert_eq!(kept.people.find_session(stolen.reference_hash).await.unwrap(), None);
}
