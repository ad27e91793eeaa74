//! The keys of the vault: a file beside the database, never in it. The newest key seals, all open; a process sees a
//! changed file at its next use.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::vault::{Secret, VaultError};

/// Bytes of a nonce.
const NONCE_BYTES: usize = 24;
/// Where the sealed rows live; part of what each is bound to.
const TABLE: &str = "channel_tokens";
const HEAD: &str = "\
# Keys of SPARK's token vault, one a line: a name, then the key. The last one seals, all of them open.
# Keep a copy apart from the database's: without this file every channel must be linked again.
";

/// The key file.
#[derive(Clone)]
pub(super) struct KeyFile {
    path: Arc<Path>,
    read: Arc<Mutex<Option<(Version, KeyRing)>>>,
    clock: Arc<dyn Clock>,
}

/// What tells one state of a file from another.
type Version = (u64, u64, i64, i64);

/// The keys of one reading, oldest first.
#[derive(Clone)]
pub(super) struct KeyRing {
    path: Arc<Path>,
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: String,
    bytes: [u8; 32],
}

/// The row and column a secret belongs to.
#[derive(Clone, Copy)]
pub(super) struct Cell<'a> {
    pub row: &'a str,
    pub column: &'static str,
}

impl KeyFile {
    pub(super) fn new(path: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { path: path.into(), read: Arc::default(), clock }
    }

    /// The keys as the file holds them now; `None` when there is no file.
    pub(super) fn read(&self) -> Result<Option<KeyRing>, VaultError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let metadata = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.cannot("look at", error)),
        };
        let version = (metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec());
        if let Some((_, ring)) = read.as_ref().filter(|(standing, _)| *standing == version) {
            return Ok(Some(ring.clone()));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(VaultError::Keys(format!(
                "the vault's keys in `{0}` can be read by other accounts: run `chmod 600 {0}`",
                self.path.display()
            )));
        }
        let text = std::fs::read_to_string(&self.path).map_err(|e| self.cannot("read", e))?;
        let ring = KeyRing::parse(&text, &self.path)?;
        *read = Some((version, ring.clone()));
        Ok(Some(ring))
    }

    /// The keys, the first one made when there is no file. `any_sealed` says that rows wait for a file that was lost.
    pub(super) fn read_or_make(&self, any_sealed: bool) -> Result<KeyRing, VaultError> {
        if let Some(ring) = self.read()? {
            return Ok(ring);
        }
        if any_sealed {
            return Err(self.lost());
        }
        let _alone = self.lock()?;
        match self.read()? {
            Some(ring) => Ok(ring),
            None => self.write(vec![self.draw(1)]),
        }
    }

    /// Adds a key, which seals from now on.
    pub(super) fn add(&self) -> Result<KeyRing, VaultError> {
        let _alone = self.lock()?;
        let mut keys = self.read()?.ok_or_else(|| self.lost())?.keys;
        let number = keys.iter().filter_map(Key::number).max().unwrap_or(0) + 1;
        keys.push(self.draw(number));
        self.write(keys)
    }

    /// Removes every key but those named and the newest; says how many went.
    pub(super) fn keep_only(&self, used: &[String]) -> Result<u64, VaultError> {
        let _alone = self.lock()?;
        let mut keys = self.read()?.ok_or_else(|| self.lost())?.keys;
        let (before, newest) = (keys.len(), keys.last().map(|key| key.id.clone()));
        keys.retain(|key| used.contains(&key.id) || Some(&key.id) == newest.as_ref());
        let removed = (before - keys.len()) as u64;
        if removed > 0 {
            self.write(keys)?;
        }
        Ok(removed)
    }

    /// What to say when rows are sealed and no file is there.
    pub(super) fn lost(&self) -> VaultError {
        VaultError::Keys(format!(
            "tokens are sealed in the database but their keys are not in `{}`: put the copy of vault.keys back, \
             or unlink every channel and link it again",
            self.path.display()
        ))
    }

    /// Random bytes for one nonce.
    pub(super) fn nonce(&self) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&self.clock.new_secret()[..NONCE_BYTES]);
        nonce
    }

    fn draw(&self, number: u64) -> Key {
        Key {
            id: format!("{number}-{}", self.clock.now().format("%Y%m%d")),
            bytes: self.clock.new_secret(),
        }
    }

    /// Whole or not at all: half a file of keys would lock every channel out.
    fn write(&self, keys: Vec<Key>) -> Result<KeyRing, VaultError> {
        let mut text = HEAD.to_owned();
        for key in &keys {
            text.extend([key.id.as_str(), " ", &STANDARD.encode(key.bytes), "\n"]);
        }
        let temporary = self.path.with_extension(format!("keys.{}", std::process::id()));
        let written = (|| {
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temporary, &self.path)?;
            // The new name must survive a power cut before a row sealed with the new key does.
            match self.path.parent() {
                Some(folder) => File::open(folder)?.sync_all(),
                None => Ok(()),
            }
        })();
        written.map_err(|e| self.cannot("write", e))?;
        Ok(KeyRing { path: self.path.clone(), keys })
    }

    /// One writer of the file at a time, among all processes.
    fn lock(&self) -> Result<File, VaultError> {
        let path = self.path.with_extension("keys.lock");
        let lock = File::create(path).map_err(|e| self.cannot("lock", e))?;
        lock.lock().map_err(|e| self.cannot("lock", e))?;
        Ok(lock)
    }

    fn cannot(&self, verb: &str, error: std::io::Error) -> VaultError {
        PortError::lasting(format!("{verb} the vault's keys `{}`", self.path.display()), error)
            .into()
    }
}

impl Key {
    fn number(&self) -> Option<u64> {
        self.id.split('-').next()?.parse().ok()
    }
}

impl KeyRing {
    fn parse(text: &str, path: &Arc<Path>) -> Result<Self, VaultError> {
        let odd = |line: usize| {
            VaultError::Keys(format!(
                "line {line} of `{}` is no key (a name, a space, 32 bytes in base64): put the copy of the file back",
                path.display()
            ))
        };
        let mut keys: Vec<Key> = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (id, key) = line.split_once(' ').ok_or_else(|| odd(number))?;
            let bytes = STANDARD.decode(key.trim()).ok().and_then(|key| key.try_into().ok());
            let bytes = bytes.ok_or_else(|| odd(number))?;
            if keys.iter().any(|standing| standing.id == id) {
                return Err(odd(number));
            }
            keys.push(Key { id: id.to_owned(), bytes });
        }
        if keys.is_empty() {
            return Err(VaultError::Keys(format!(
                "`{}` holds no key: put the copy of the file back; to begin anew, unlink every channel and remove the file",
                path.display()
            )));
        }
        Ok(Self { path: path.clone(), keys })
    }

    /// The name of the key that seals.
    pub(super) fn newest(&self) -> &str {
        self.keys.last().map_or("", |key| key.id.as_str())
    }

    /// Seals a secret for one cell with the newest key: the nonce, then the ciphertext.
    pub(super) fn seal(
        &self,
        cell: Cell<'_>,
        nonce: [u8; NONCE_BYTES],
        secret: &Secret,
    ) -> Result<Vec<u8>, VaultError> {
        let key = self.keys.last().ok_or_else(|| VaultError::Keys("no key to seal with".into()))?;
        let payload = Payload { msg: secret.expose().as_bytes(), aad: &bound_to(cell, &key.id) };
        let sealed = cipher(key)
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| VaultError::Keys("the cipher refuses a token of this length".into()))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what was sealed for this very cell under a named key.
    pub(super) fn open(
        &self,
        cell: Cell<'_>,
        key_id: &str,
        sealed: &[u8],
    ) -> Result<Secret, VaultError> {
        let key = self.keys.iter().find(|key| key.id == key_id).ok_or_else(|| {
            VaultError::Keys(format!(
                "the tokens of channel {} are sealed with the key `{key_id}`, which `{}` does not hold: put the copy \
                 of that file back, or unlink the channel and link it again",
                cell.row,
                self.path.display()
            ))
        })?;
        let unreadable = || {
            VaultError::Keys(format!(
                "the {} token of channel {} does not open with the key `{key_id}` of `{}`: the key is another one of \
                 that name, or the row was changed. Put the right file back, or unlink the channel and link it again",
                cell.column,
                cell.row,
                self.path.display()
            ))
        };
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(unreadable)?;
        let payload = Payload { msg: sealed, aad: &bound_to(cell, key_id) };
        let plain =
            cipher(key).decrypt(&XNonce::from(*nonce), payload).map_err(|_| unreadable())?;
        String::from_utf8(plain).map(Secret::new).map_err(|_| unreadable())
    }
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&key.bytes.into())
}

/// A sealed value moved to another row, column or key name does not open. The unit separator stands in none of the parts.
fn bound_to(cell: Cell<'_>, key_id: &str) -> Vec<u8> {
    [TABLE, cell.row, cell.column, key_id].join("\u{1f}").into_bytes()
}
