//! People, roles and what a role may do: one table, deny by default.

mod permission;
mod session;

use serde::{Deserialize, Serialize};

use crate::domain::ids::PersonId;

pub use permission::{Permission, Role, may};
pub use session::{SessionLimits, session_limits};

/// What happened to an account. Names and addresses live in the people table, never here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AccountEvent {
    /// A one-time link was made for a person to come.
    Invited {
        person: PersonId,
        role: Role,
        by: Option<PersonId>,
    },
    /// The person opened the link and chose a password.
    Joined {
        person: PersonId,
    },
    RoleChanged {
        person: PersonId,
        role: Role,
        by: PersonId,
    },
    /// The account was closed and its personal fields wiped.
    Closed {
        person: PersonId,
        by: PersonId,
    },
}

impl AccountEvent {
    /// The person this is about.
    pub const fn person(&self) -> PersonId {
        match self {
            Self::Invited { person, .. }
            | Self::Joined { person }
            | Self::RoleChanged { person, .. }
            | Self::Closed { person, .. } => *person,
        }
    }
}

/// An e-mail address, trimmed and lower-cased: something, one `@`, a domain with a dot, at most 254 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EmailAddress(String);

/// Why something about an account is refused. Display is French, for the person who asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error("« {0} » n'est pas une adresse e-mail.")]
    Email(String),
    #[error("Un mot de passe compte de 10 à 128 caractères ; celui-ci en a {chars}.")]
    Password { chars: usize },
    #[error("Un nom tient sur une ligne de 1 à 60 caractères ; celui-ci en a {chars}.")]
    Name { chars: usize },
    #[error("Cette adresse e-mail a déjà un compte.")]
    EmailTaken,
    #[error("L'adresse e-mail ou le mot de passe est inexact.")]
    Credentials,
    #[error("Ce lien a déjà servi ou il a expiré : demandez-en un nouveau à un administrateur.")]
    Link,
    #[error("Cette personne n'a pas (ou plus) de compte.")]
    Unknown(PersonId),
    #[error(
        "Le dernier administrateur ne peut ni partir ni changer de rôle : nommez-en un autre d'abord."
    )]
    LastAdministrator,
}

/// Shortest password, in characters.
pub const PASSWORD_CHARS_MIN: usize = 10;
/// Longest password, in characters: longer ones only cost time to hash.
pub const PASSWORD_CHARS_MAX: usize = 128;
/// Longest name, in characters.
pub const NAME_CHARS_MAX: usize = 60;
/// Longest e-mail address, in bytes (RFC 5321).
const EMAIL_BYTES_MAX: usize = 254;

impl EmailAddress {
    /// Checks an address as far as can be done without sending to it.
    pub fn try_new(raw: &str) -> Result<Self, AccountError> {
        let email = raw.trim().to_lowercase();
        let fits = email.len() <= EMAIL_BYTES_MAX
            && !email.chars().any(|c| c.is_whitespace() || c.is_control())
            && email.split_once('@').is_some_and(|(user, domain)| {
                !user.is_empty()
                    && !domain.contains('@')
                    && domain.split('.').count() >= 2
                    && domain.split('.').all(|label| !label.is_empty())
            });
        if fits { Ok(Self(email)) } else { Err(AccountError::Email(raw.trim().to_owned())) }
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks a new password.
pub fn check_password(password: &str) -> Result<(), AccountError> {
    let chars = password.chars().count();
    if (PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&chars) {
        Ok(())
    } else {
        Err(AccountError::Password { chars })
    }
}

/// Trims and checks a person's name.
pub fn check_name(raw: &str) -> Result<String, AccountError> {
    let name = raw.trim();
    let chars = name.chars().count();
    if chars == 0 || chars > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(AccountError::Name { chars });
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_folded() {
        assert_eq!(
            EmailAddress::try_new(" Ana@Villa.FR ").map(|e| e.as_str().to_owned()),
            Ok("ana@villa.fr".into())
        );
        for bad in ["", "ana", "ana@villa", "@villa.fr", "a@b@c.fr", "a b@c.fr", "a@.fr"] {
            assert!(EmailAddress::try_new(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
