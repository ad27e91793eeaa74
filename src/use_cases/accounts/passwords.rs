//! Passwords: argon2id with its present defaults (19 MiB, 2 passes, 1 lane: OWASP Password Storage Cheat Sheet),
//! a few at a time so that a rush of logins cannot eat the machine.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::ports::PortError;

/// Hashes computed at once; each takes 19 MiB and some 30 ms of a core.
const HASHES_AT_ONCE: usize = 2;
/// How long a hash waits for its turn.
const HASH_WAIT_MAX: Duration = Duration::from_secs(5);
/// Checked when there is nothing to check against, so that an unknown address takes as long as a wrong password.
/// The hash of nothing in particular.
const NOBODYS_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c3BhcmtzcGFya3NwYXJrcw$\
                            AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes and checks passwords.
#[derive(Debug, Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(HASHES_AT_ONCE)) }
    }
}

impl Passwords {
    /// The PHC string to store for a password, with a fresh salt. A passing error when too many wait.
    pub async fn hash(&self, password: String) -> Result<String, PortError> {
        self.in_turn(move || {
            Argon2::default()
                .hash_password(password.as_bytes())
                .map(|hash| hash.to_string())
                .map_err(|e| PortError::lasting("hash a password", e))
        })
        .await?
    }

    /// Whether a password is the one behind `stored`. Takes the same time without one, and is then `false`.
    pub async fn check(&self, password: String, stored: Option<String>) -> Result<bool, PortError> {
        self.in_turn(move || {
            let known = stored.is_some();
            let stored = stored.as_deref().unwrap_or(NOBODYS_HASH);
            let hash = PasswordHash::new(stored)
                .map_err(|e| PortError::lasting("read a stored password hash", e))?;
            let fits = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
            Ok(fits && known)
        })
        .await?
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        hashing: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PortError> {
        let turn = tokio::time::timeout(HASH_WAIT_MAX, self.turns.clone().acquire_owned())
            .await
            .map_err(|e| PortError::passing("wait for a turn to hash a password", e))?
            .map_err(|e| PortError::lasting("wait for a turn to hash a password", e))?;
        // The turn goes along: a caller that gives up does not free it before the hash is done.
        tokio::task::spawn_blocking(move || {
            let result = hashing();
            drop(turn);
            result
        })
        .await
        .map_err(|e| PortError::passing("hash a password", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = Passwords::default();
        let stored = passwords.hash("une belle semaine".into()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(passwords.check("une belle semaine".into(), Some(stored.clone())).await.unwrap());
        assert!(!passwords.check("une autre semaine".into(), Some(stored)).await.unwrap());
    }

    #[tokio::test]
    async fn nobodys_hash_costs_as_much_as_a_persons_and_fits_nothing() {
        let passwords = Passwords::default();
        let hash = PasswordHash::new(NOBODYS_HASH).expect("a PHC string");
        let fresh = passwords.hash("une belle semaine".into()).await.unwrap();
        let fresh = PasswordHash::new(&fresh).expect("a PHC string");
        assert_eq!(hash.params, fresh.params);
        assert_eq!(hash.algorithm, fresh.algorithm);
        assert!(!passwords.check(String::new(), None).await.unwrap());
    }
}
