//! Cameras of the villa: a name, and a stream key of which only the hash is known.

use serde::{Deserialize, Serialize};

use crate::domain::ids::{CameraId, PersonId};
use crate::domain::live::keeping::{DAYS_KEPT_MAX, KeptSpan, SPAN_KEPT_MAX, SPANS_KEPT_MAX};
use crate::domain::live::sync::Alignment;

/// Longest name of a camera, in characters.
pub const CAMERA_NAME_CHARS_MAX: usize = 40;
/// Most cameras there can be at once.
pub const CAMERAS_MAX: usize = 12;

/// The name of a camera as people write it: trimmed, one line, 1 to 40 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CameraName(String);

/// Why something about a camera is refused: French, for who asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CameraError {
    #[error("Donnez un nom à la caméra, par exemple « Salon » ou « Programme ».")]
    NoName,
    #[error(
        "Le nom d'une caméra tient sur une ligne de 40 caractères au plus ; celui-ci en a {chars}."
    )]
    Name { chars: usize },
    #[error("Une caméra porte déjà ce nom : choisissez-en un autre.")]
    NameTaken,
    #[error("SPARK reçoit 12 caméras au plus : retirez-en une d'abord.")]
    TooMany,
    #[error("Cette caméra n'existe plus.")]
    Unknown,
    #[error("Une durée de conservation se compte en jours, de 1 à {DAYS_KEPT_MAX}.")]
    Days,
    #[error("Un passage à garder commence avant de finir et dure {} heures au plus.", SPAN_KEPT_MAX.num_hours())]
    Span,
    #[error("Une caméra garde {SPANS_KEPT_MAX} passages au plus : libérez-en un d'abord.")]
    TooManySpans,
}

impl CameraName {
    /// Trims and checks a name.
    pub fn try_new(raw: &str) -> Result<Self, CameraError> {
        let name = raw.trim();
        match name.chars().count() {
            0 => Err(CameraError::NoName),
            chars if chars > CAMERA_NAME_CHARS_MAX || name.chars().any(char::is_control) => {
                Err(CameraError::Name { chars })
            }
            _ => Ok(Self(name.to_owned())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What two spellings of one name share: lower case, single spaces.
    pub fn folded(&self) -> String {
        self.0.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
    }
}

impl TryFrom<String> for CameraName {
    type Error = CameraError;
    fn try_from(raw: String) -> Result<Self, Self::Error> {
        Self::try_new(&raw)
    }
}

impl From<CameraName> for String {
    fn from(name: CameraName) -> Self {
        name.0
    }
}

/// SHA-256 of a stream key. A key is 256 random bits, so its hash tells nothing and needs no salt.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyHash([u8; 32]);

/// What should be the hash of a key is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hash of a stream key is 64 hexadecimal digits")]
pub struct KeyHashError;

impl KeyHash {
    pub const fn new(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHash")
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> Self {
        hash.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for KeyHash {
    type Error = KeyHashError;
    fn try_from(text: String) -> Result<Self, KeyHashError> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(KeyHashError);
        }
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| KeyHashError)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| KeyHashError)?;
        }
        Ok(Self(hash))
    }
}

/// What happened to a camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CameraEvent {
    Added {
        camera: CameraId,
        name: CameraName,
        key: KeyHash,
        by: Option<PersonId>,
    },
    Renamed {
        camera: CameraId,
        name: CameraName,
        by: Option<PersonId>,
    },
    /// A new key took the place of the old one, which opens nothing any more.
    KeyDrawn {
        camera: CameraId,
        key: KeyHash,
        by: Option<PersonId>,
    },
    /// Its sound was found in that of another camera.
    Aligned {
        camera: CameraId,
        alignment: Alignment,
    },
    /// It is gone, and its key with it. What it recorded stays.
    Retired {
        camera: CameraId,
        by: Option<PersonId>,
    },
    /// Its recordings are kept for so many days; without a number, until room is needed.
    DaysSet {
        camera: CameraId,
        days: Option<u16>,
        by: Option<PersonId>,
    },
    /// A span stays until it is let go.
    SpanKept {
        camera: CameraId,
        span: KeptSpan,
        by: Option<PersonId>,
    },
    SpanLetGo {
        camera: CameraId,
        span: KeptSpan,
        by: Option<PersonId>,
    },
}

impl CameraEvent {
    /// The camera this is about.
    pub const fn camera(&self) -> CameraId {
        match self {
            Self::Added { camera, .. }
            | Self::Renamed { camera, .. }
            | Self::KeyDrawn { camera, .. }
            | Self::Retired { camera, .. }
            | Self::Aligned { camera, .. }
            | Self::DaysSet { camera, .. }
            | Self::SpanKept { camera, .. }
            | Self::SpanLetGo { camera, .. } => *camera,
        }
    }
}

/// A camera as the recorder knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Camera {
    pub id: CameraId,
    pub name: CameraName,
    pub key: KeyHash,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_of_a_key_is_written_and_read() {
        let hash = KeyHash::new(std::array::from_fn(|i| i as u8 * 7));
        let text = String::from(hash);
        assert_eq!((text.len(), KeyHash::try_from(text)), (64, Ok(hash)));
        for bad in ["", "zz", &"é".repeat(32), &"0".repeat(63), &"+1".repeat(32)] {
            let read = KeyHash::try_from(bad.to_owned());
            assert_eq!(read, Err(KeyHashError), "{bad}");
        }
    }

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(CameraName::try_new("  Salon ").unwrap().as_str(), "Salon");
        assert_eq!(CameraName::try_new("A  b").unwrap().folded(), "a b");
        assert_eq!(CameraName::try_new(" "), Err(CameraError::NoName));
        assert_eq!(CameraName::try_new("a\nb"), Err(CameraError::Name { chars: 3 }));
        assert_eq!(CameraName::try_new(&"x".repeat(41)), Err(CameraError::Name { chars: 41 }));
    }
}
