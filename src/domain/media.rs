//! Media files by content: a key names bytes, so the same bytes are stored once.

use serde::{Deserialize, Serialize};

/// Longest key accepted, in bytes.
const KEY_BYTES_MAX: usize = 200;

/// A place in the media store, such as `recordings/3f…9a.mp4`: lower-case ASCII, digits, `-`, `_`, `.` and `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MediaKey(String);

/// A text that can be no key, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{key}` is not a media key: use lower-case letters, digits, `-`, `_`, `.` and `/`, no `..`, at most 200 bytes"
)]
pub struct MediaKeyError {
    key: String,
}

impl MediaKey {
    /// Checks a text. A key never leaves the store's folder: no `..`, no leading `/`, no empty part.
    pub fn try_new(key: impl Into<String>) -> Result<Self, MediaKeyError> {
        let key = key.into();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_./".contains(c);
        let whole = key.len() <= KEY_BYTES_MAX
            && key.chars().all(plain)
            && key.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
        if whole { Ok(Self(key)) } else { Err(MediaKeyError { key }) }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the last dot, or "".
    pub fn extension(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(_, extension)| extension)
    }
}

impl std::fmt::Display for MediaKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for MediaKey {
    type Error = MediaKeyError;
    fn try_from(key: String) -> Result<Self, Self::Error> {
        Self::try_new(key)
    }
}

impl From<MediaKey> for String {
    fn from(key: MediaKey) -> Self {
        key.0
    }
}

/// A stored file: its key, size in bytes and SHA-256 (64 hex digits).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaObject {
    pub key: MediaKey,
    pub bytes: u64,
    pub sha256: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_leave_the_store() {
        for bad in ["", "/etc/passwd", "a/../b", "a//b", "..", ".hidden", "é.mp4", "a b", "A.mp4"]
        {
            assert!(MediaKey::try_new(bad).is_err(), "{bad:?} was accepted");
        }
        let key = MediaKey::try_new("clips/01-ab_c.mp4").expect("a plain key");
        assert_eq!(key.extension(), "mp4");
    }
}
