//! Tokens, codes and grants: who allowed which client what.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::faults::Rotation;

/// How long an access token of a user lives, and one of an app.
const USER_TOKEN_LIVES: Duration = Duration::from_hours(4);
const APP_TOKEN_LIVES: Duration = Duration::from_hours(60 * 24);
/// Valid access tokens per refresh token at most; the oldest one dies first.
const PER_REFRESH_MAX: usize = 50;
/// How long codes wait for their exchange.
pub(super) const CODE_LIVES: Duration = Duration::from_mins(10);
pub(super) const DEVICE_LIVES: Duration = Duration::from_mins(30);

/// Scopes, in the order of their names.
pub(super) type Scopes = BTreeSet<String>;

/// An access token.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) client_id: String,
    /// `None` for an app token.
    pub(super) user: Option<String>,
    pub(super) scopes: Scopes,
    pub(super) expires: Instant,
    issued: Instant,
    refresh: Option<String>,
}

/// A refresh token.
#[derive(Debug, Clone)]
struct Refresh {
    client_id: String,
    user: String,
    scopes: Scopes,
    is_public: bool,
    /// Dies when this one is used first.
    predecessor: Option<String>,
}

/// A code of the authorization-code flow.
#[derive(Debug, Clone)]
pub(super) struct Code {
    pub(super) client_id: String,
    pub(super) user: String,
    pub(super) scopes: Scopes,
    pub(super) redirect_uri: String,
    /// Challenge and whether it is plain text.
    pub(super) pkce: Option<(String, bool)>,
    pub(super) issued: Instant,
}

/// A device that waits to be allowed.
#[derive(Debug, Clone)]
pub(super) struct Device {
    pub(super) client_id: String,
    pub(super) user_code: String,
    pub(super) scopes: Scopes,
    /// Who allowed it.
    pub(super) user: Option<String>,
    pub(super) issued: Instant,
}

/// A fresh pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPair {
    pub access: String,
    /// Empty for an app token.
    pub refresh: String,
    pub scopes: Vec<String>,
    pub expires_in_s: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    access: HashMap<String, Access>,
    refresh: HashMap<String, Refresh>,
    pub(super) codes: HashMap<String, Code>,
    pub(super) devices: HashMap<String, Device>,
    /// Scopes that (client, user) has.
    grants: HashMap<(String, String), Scopes>,
}

impl Tokens {
    /// The access token, if it is known and valid.
    pub(super) fn valid(&self, token: &str) -> Option<&Access> {
        self.access.get(token).filter(|access| access.expires > Instant::now())
    }

    pub(super) fn has_granted(&self, client_id: &str, user: &str) -> bool {
        self.granted(client_id, user).is_some()
    }

    pub(super) fn granted(&self, client_id: &str, user: &str) -> Option<&Scopes> {
        self.grants.get(&(client_id.to_owned(), user.to_owned()))
    }

    /// Clients that a user granted something.
    pub(super) fn clients_of(&self, user: &str) -> Vec<String> {
        let of_user = self.grants.keys().filter(|(_, granted_by)| granted_by == user);
        of_user.map(|(client_id, _)| client_id.clone()).collect()
    }

    pub(super) fn has_scope(&self, client_id: &str, user: &str, any: &[&str]) -> bool {
        self.granted(client_id, user)
            .is_some_and(|scopes| any.iter().any(|scope| scopes.contains(*scope)))
    }

    pub(super) fn issue_app(&mut self, client_id: &str) -> TokenPair {
        let access = token();
        self.access.insert(
            access.clone(),
            Access {
                client_id: client_id.to_owned(),
                user: None,
                scopes: Scopes::new(),
                expires: Instant::now() + APP_TOKEN_LIVES,
                issued: Instant::now(),
                refresh: None,
            },
        );
        pair(access, String::new(), &Scopes::new(), APP_TOKEN_LIVES)
    }

    /// Issues a pair for a user and notes the grant. True when the user had not granted anything before.
    pub(super) fn issue_user(
        &mut self,
        client_id: &str,
        user: &str,
        scopes: &Scopes,
        is_public: bool,
    ) -> (TokenPair, bool) {
        let grant = (client_id.to_owned(), user.to_owned());
        let is_new = !self.grants.contains_key(&grant);
        self.grants.entry(grant).or_default().extend(scopes.iter().cloned());
        let refresh = Refresh {
            client_id: client_id.to_owned(),
            user: user.to_owned(),
            scopes: scopes.clone(),
            is_public,
            predecessor: None,
        };
        let refresh_token = token();
        let access = self.issue_access(&refresh, &refresh_token);
        self.refresh.insert(refresh_token.clone(), refresh);
        (pair(access, refresh_token, scopes, USER_TOKEN_LIVES), is_new)
    }

    /// A new pair for a refresh token, and whether the refresh token changed. `None` when it is not valid.
    pub(super) fn renew(
        &mut self,
        client_id: &str,
        refresh_token: &str,
        rotation: Rotation,
    ) -> Option<(TokenPair, bool)> {
        let known = self.refresh.get(refresh_token)?.clone();
        if known.client_id != client_id || !self.has_granted(client_id, &known.user) {
            return None;
        }
        // Whoever uses the new one has received it: its predecessor has done its duty.
        if let Some(predecessor) = &known.predecessor {
            self.refresh.remove(predecessor);
        }
        let rotation = if known.is_public { Rotation::Once } else { rotation };
        let scopes = known.scopes.clone();
        let next = match rotation {
            Rotation::Same => refresh_token.to_owned(),
            Rotation::New | Rotation::Once => {
                let next = token();
                let predecessor = (rotation == Rotation::New).then(|| refresh_token.to_owned());
                if rotation == Rotation::Once {
                    self.refresh.remove(refresh_token);
                }
                self.refresh.insert(next.clone(), Refresh { predecessor, ..known.clone() });
                next
            }
        };
        let access = self.issue_access(&known, &next);
        Some((pair(access, next, &scopes, USER_TOKEN_LIVES), rotation != Rotation::Same))
    }

    fn issue_access(&mut self, refresh: &Refresh, refresh_token: &str) -> String {
        let of_it =
            |access: &&(&String, &Access)| access.1.refresh.as_deref() == Some(refresh_token);
        let living: Vec<(&String, &Access)> = self.access.iter().collect();
        let mut living: Vec<(Instant, String)> = living
            .iter()
            .filter(of_it)
            .map(|(name, access)| (access.issued, (*name).clone()))
            .collect();
        if living.len() >= PER_REFRESH_MAX {
            living.sort();
            self.access.remove(&living[0].1);
        }
        let access = token();
        let issued = Instant::now();
        self.access.insert(
            access.clone(),
            Access {
                client_id: refresh.client_id.clone(),
                user: Some(refresh.user.clone()),
                scopes: refresh.scopes.clone(),
                expires: issued + USER_TOKEN_LIVES,
                issued,
                refresh: Some(refresh_token.to_owned()),
            },
        );
        access
    }

    /// Revokes one access token. False when it is unknown.
    pub(super) fn revoke(&mut self, client_id: &str, token: &str) -> bool {
        let is_own = self.access.get(token).is_some_and(|access| access.client_id == client_id);
        is_own && self.access.remove(token).is_some()
    }

    /// Lets a user's access tokens run out now; refresh tokens stay. Returns how many.
    pub(super) fn expire(&mut self, user: &str) -> usize {
        let of_user =
            self.access.values_mut().filter(|access| access.user.as_deref() == Some(user));
        of_user.map(|access| access.expires = Instant::now()).count()
    }

    /// The user disconnects the client: every token of theirs dies. False when nothing was granted.
    pub(super) fn disconnect(&mut self, client_id: &str, user: &str) -> bool {
        self.access.retain(|_, access| {
            access.client_id != client_id || access.user.as_deref() != Some(user)
        });
        self.refresh.retain(|_, refresh| refresh.client_id != client_id || refresh.user != user);
        self.grants.remove(&(client_id.to_owned(), user.to_owned())).is_some()
    }
}

fn pair(access: String, refresh: String, scopes: &Scopes, lives: Duration) -> TokenPair {
    TokenPair {
        access,
        refresh,
        scopes: scopes.iter().cloned().collect(),
        expires_in_s: lives.as_secs(),
    }
}

/// A text nobody guesses, in the form of Twitch's tokens.
pub(super) fn token() -> String {
    Uuid::new_v4().simple().to_string()
}
