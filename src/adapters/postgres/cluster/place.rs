//! Where everything of one cluster lies, and the small files that say so.
//!
//! `DATA/postgres/` holds the version file, the password, the locks and, when we are root, a
//! pointer to the cluster's home under [`ROOT_HOMES`]; an ordinary user's home is that folder
//! itself. The home holds the configuration, `pgdata/`, `socket/` and `log/`.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::adapters::postgres::cluster::account::Account;
use crate::adapters::postgres::cluster::error::ClusterError;

/// Layout of `DATA/postgres` this program writes; a higher number is refused.
pub(crate) const FORMAT: u32 = 1;
/// Where clusters of root live: the server's user must be able to go there, and root's own data
/// folder is often closed to it.
pub(crate) const ROOT_HOMES: &str = "/var/lib/spark";
/// Longest path of a unix socket in bytes: `sun_path` has 108 with its closing zero.
pub(crate) const SOCKET_PATH_MAX: usize = 107;
/// Port in the socket's name; nothing listens on TCP.
pub(crate) const PORT: u16 = 5432;
/// Random bytes of the password, written in hexadecimal.
const PASSWORD_BYTES: usize = 32;
/// Random bytes of a home's name.
const HOME_NAME_BYTES: usize = 8;
/// Mode of folders that only their owner enters.
const MODE_PRIVATE: u32 = 0o700;
/// Permission bits of everybody but the owner.
const MODE_OTHERS: u32 = 0o077;
/// Mode of folders of root through which the server's user must pass.
const MODE_PASSAGE: u32 = 0o711;

/// The part of a cluster that lies in the data folder.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    data_dir: PathBuf,
}

/// The folder with the cluster itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home {
    folder: PathBuf,
}

impl Place {
    /// Makes the data folder if it is not there (mode 0700; one that is there keeps its mode) and
    /// our folder in it, after looking at the version file, so that a newer one's folder is
    /// refused untouched.
    pub(crate) fn prepare(data_dir: &Path) -> Result<Self, ClusterError> {
        if let Some(place) = Self::find(data_dir)? {
            place.check_format()?;
            return Ok(place);
        }
        DirBuilder::new()
            .recursive(true)
            .mode(MODE_PRIVATE)
            .create(data_dir.join("postgres"))
            .map_err(|source| ClusterError::io("making the data folder", data_dir, source))?;
        let data_dir = canonical(data_dir)?;
        Ok(Self { data_dir })
    }

    /// Finds the place without making anything.
    pub(crate) fn find(data_dir: &Path) -> Result<Option<Self>, ClusterError> {
        match fs::symlink_metadata(data_dir.join("postgres")) {
            Ok(metadata) if metadata.is_dir() => Ok(Some(Self { data_dir: canonical(data_dir)? })),
            Ok(_) => Err(ClusterError::UnusablePath {
                path: data_dir.join("postgres"),
                why: "it is there and is no folder",
            }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ClusterError::io("reading the data folder", data_dir, source)),
        }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub(crate) fn gate(&self) -> PathBuf {
        self.file("gate")
    }

    pub(crate) fn users(&self) -> PathBuf {
        self.file("users")
    }

    pub(crate) fn password_file(&self) -> PathBuf {
        self.file("password")
    }

    fn format_file(&self) -> PathBuf {
        self.file("VERSION")
    }

    fn pointer(&self) -> PathBuf {
        self.file("home")
    }

    fn folder(&self) -> PathBuf {
        self.data_dir.join("postgres")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Refuses a folder of a newer program. No version file is fine: nothing was finished yet.
    pub(crate) fn check_format(&self) -> Result<Option<u32>, ClusterError> {
        let file = self.format_file();
        let Some(text) = read_if_there(&file)? else { return Ok(None) };
        let (found, written_by) = parse_format(&text).ok_or_else(|| ClusterError::Damaged {
            file: file.clone(),
            why: "its first line should be `format N`".to_owned(),
        })?;
        if found > FORMAT {
            return Err(ClusterError::NewerFolder { file, found, known: FORMAT, written_by });
        }
        Ok(Some(found))
    }

    /// Writes the version file unless it is there.
    pub(crate) fn write_format(&self) -> Result<(), ClusterError> {
        if self.check_format()?.is_some() {
            return Ok(());
        }
        let text = format!("format {FORMAT}\nwritten by spark {}\n", env!("CARGO_PKG_VERSION"));
        write_atomically(&self.format_file(), text.as_bytes(), 0o644)
    }

    /// Reads the password.
    pub(crate) fn read_password(&self) -> Result<Option<String>, ClusterError> {
        let file = self.password_file();
        let Some(text) = read_if_there(&file)? else { return Ok(None) };
        let password = text.trim();
        let is_ours = password.len() == 2 * PASSWORD_BYTES
            && password.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_ours {
            return Ok(Some(password.to_owned()));
        }
        Err(ClusterError::Damaged { file, why: "it holds no password of ours".to_owned() })
    }

    /// Makes a password of 256 random bits and stores it, readable by us alone.
    pub(crate) fn make_password(&self) -> Result<String, ClusterError> {
        let password = random_hex::<PASSWORD_BYTES>();
        write_atomically(&self.password_file(), format!("{password}\n").as_bytes(), 0o600)?;
        Ok(password)
    }

    /// Finds the home that was chosen earlier.
    pub(crate) fn find_home(&self) -> Result<Option<Home>, ClusterError> {
        let pointer = self.pointer();
        let Some(text) = read_if_there(&pointer)? else {
            let own = Home { folder: self.folder() };
            return Ok(own.is_finished().then_some(own));
        };
        let folder = PathBuf::from(text.trim_end_matches('\n'));
        if !folder.is_absolute() {
            let why = "it names no absolute folder".to_owned();
            return Err(ClusterError::Damaged { file: pointer, why });
        }
        if !folder.is_dir() {
            return Err(ClusterError::HomeGone { pointer, home: folder });
        }
        Ok(Some(Home { folder }))
    }

    /// Chooses the home of a new cluster: our own folder, or one under [`ROOT_HOMES`] when the
    /// server runs under another account than ours.
    pub(crate) fn choose_home(&self, account: Account) -> Result<Home, ClusterError> {
        if !account.is_other {
            return Ok(Home { folder: self.folder() });
        }
        let homes = Path::new(ROOT_HOMES);
        make_passage(homes)?;
        let folder = homes.join(random_hex::<HOME_NAME_BYTES>());
        make_passage(&folder)?;
        let home = Home { folder };
        home.claim(self)?;
        let text = [home.folder.as_os_str().as_bytes(), b"\n"].concat();
        write_atomically(&self.pointer(), &text, 0o644)?;
        Ok(home)
    }
}

impl Home {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The finished cluster; it gets this name by one rename, when it is whole.
    pub(crate) fn pgdata(&self) -> PathBuf {
        self.folder.join("pgdata")
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.pgdata().join("PG_VERSION").is_file()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.join("postgresql.conf")
    }

    pub(crate) fn access_rules(&self) -> PathBuf {
        self.folder.join("pg_hba.conf")
    }

    /// Name the server's processes bear in their titles.
    pub(crate) fn cluster_name(&self) -> String {
        format!("spark-{}", self.digest())
    }

    fn digest(&self) -> String {
        hex(&Sha256::digest(self.folder.as_os_str().as_bytes())[..HOME_NAME_BYTES])
    }

    /// Folders of unfinished creations, each with a name of its own: an `initdb` that outlived
    /// its spark cannot write into ours.
    pub(crate) fn unfinished(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().as_bytes().starts_with(b"making-"))
            .map(|entry| entry.path())
            .collect()
    }

    /// A fresh name for a creation.
    pub(crate) fn new_unfinished(&self) -> PathBuf {
        self.folder.join(format!("making-{}", random_hex::<HOME_NAME_BYTES>()))
    }

    /// Folder of the socket: in the home, or in `/tmp` when that path is too long for a socket.
    pub(crate) fn socket_folder(&self, account: Account) -> PathBuf {
        let own = self.folder.join("socket");
        if socket_path(&own).as_os_str().len() <= SOCKET_PATH_MAX {
            return own;
        }
        PathBuf::from(format!("/tmp/spark-{}-{}", account.uid, self.digest()))
    }

    /// Makes a folder that only the server's user enters, or checks that it is just that.
    pub(crate) fn make_private(folder: &Path, account: Account) -> Result<(), ClusterError> {
        match DirBuilder::new().mode(MODE_PRIVATE).create(folder) {
            Ok(()) => account.give(folder),
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
                let metadata = fs::symlink_metadata(folder)
                    .map_err(|source| ClusterError::io("reading a folder", folder, source))?;
                let is_private = metadata.is_dir() && metadata.mode() & MODE_OTHERS == 0;
                if is_private && metadata.uid() == account.uid {
                    return Ok(());
                }
                if is_private && metadata.uid() == rustix::process::geteuid().as_raw() {
                    // A kill came between making it and handing it over.
                    return account.give(folder);
                }
                Err(ClusterError::UnusablePath {
                    path: folder.to_path_buf(),
                    why: "somebody else made it, or others may enter it",
                })
            }
            Err(source) => Err(ClusterError::io("making a folder", folder, source)),
        }
    }

    /// Checks that this home belongs to `place`; takes it over when the data folder was moved,
    /// refuses when it was copied.
    pub(crate) fn claim(&self, place: &Place) -> Result<(), ClusterError> {
        if self.folder == place.folder() {
            return Ok(());
        }
        let file = self.folder.join("owner");
        let wanted = place.data_dir.as_os_str().as_bytes();
        let owner = match fs::read(&file) {
            Ok(bytes) => Some(bytes),
            Err(source) if source.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(ClusterError::io("reading the owner file", &file, source)),
        };
        let owner = owner.map(|bytes| {
            PathBuf::from(std::ffi::OsStr::from_bytes(bytes.strip_suffix(b"\n").unwrap_or(&bytes)))
        });
        if owner.as_deref() == Some(place.data_dir()) {
            return Ok(());
        }
        if let Some(owner) = owner.filter(|owner| self.is_pointed_at_by(owner)) {
            return Err(ClusterError::OwnedByOther {
                home: self.folder.clone(),
                owner,
                data_dir: place.data_dir.clone(),
            });
        }
        write_atomically(&file, &[wanted, b"\n"].concat(), 0o644)
    }

    fn is_pointed_at_by(&self, data_dir: &Path) -> bool {
        let pointer = Place { data_dir: data_dir.to_path_buf() }.pointer();
        fs::read(pointer).is_ok_and(|text| {
            text.strip_suffix(b"\n").unwrap_or(&text) == self.folder.as_os_str().as_bytes()
        })
    }

    /// Homes under [`ROOT_HOMES`] whose data folder is gone; for showing, never for deleting.
    pub(crate) fn abandoned() -> Vec<PathBuf> {
        let entries = fs::read_dir(ROOT_HOMES).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|folder| {
                let Ok(owner) = fs::read(folder.join("owner")) else { return false };
                let owner = owner.strip_suffix(b"\n").unwrap_or(&owner);
                let home = Self { folder: folder.clone() };
                !home.is_pointed_at_by(Path::new(std::ffi::OsStr::from_bytes(owner)))
            })
            .collect()
    }
}

/// Path of the socket in its folder.
pub(crate) fn socket_path(folder: &Path) -> PathBuf {
    folder.join(format!(".s.PGSQL.{PORT}"))
}

/// Writes a file whole or not at all: temporary, fsync, rename, fsync of the folder.
pub(crate) fn write_atomically(file: &Path, bytes: &[u8], mode: u32) -> Result<(), ClusterError> {
    let temporary = file.with_added_extension("tmp");
    let write = || -> io::Result<()> {
        remove_if_there(&temporary)?;
        let mut out =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        out.set_permissions(Permissions::from_mode(mode))?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&temporary, file)?;
        sync_folder(file.parent().unwrap_or(Path::new("/")))
    };
    write().map_err(|source| ClusterError::io("writing a file", file, source))
}

/// Makes the names in a folder survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(source),
        _ => Ok(()),
    }
}

fn read_if_there(file: &Path) -> Result<Option<String>, ClusterError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) if source.kind() == io::ErrorKind::InvalidData => {
            Err(ClusterError::Damaged { file: file.to_path_buf(), why: "not text".to_owned() })
        }
        Err(source) => Err(ClusterError::io("reading a file", file, source)),
    }
}

/// Makes a folder of root that the server's user may pass through. One that is there stays as
/// it is.
fn make_passage(folder: &Path) -> Result<(), ClusterError> {
    let made = DirBuilder::new().mode(MODE_PASSAGE).create(folder);
    match made {
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(MODE_PASSAGE)),
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(source),
    }
    .map_err(|source| ClusterError::io("making the cluster's folder", folder, source))
}

fn canonical(data_dir: &Path) -> Result<PathBuf, ClusterError> {
    let path = data_dir
        .canonicalize()
        .map_err(|source| ClusterError::io("finding the data folder", data_dir, source))?;
    // They would break the lines of PostgreSQL's own files.
    if path.as_os_str().as_bytes().iter().any(u8::is_ascii_control) {
        return Err(ClusterError::UnusablePath { path, why: "its name has control characters" });
    }
    if path.to_str().is_none() {
        return Err(ClusterError::UnusablePath { path, why: "its name is not UTF-8" });
    }
    Ok(path)
}

/// Reads `format 1\nwritten by spark 0.1.0`.
fn parse_format(text: &str) -> Option<(u32, String)> {
    let mut lines = text.lines();
    let found = lines.next()?.strip_prefix("format ")?.trim().parse().ok()?;
    let written_by = lines.next().and_then(|line| line.strip_prefix("written by "));
    Some((found, written_by.unwrap_or("an unknown program").to_owned()))
}

fn random_hex<const N: usize>() -> String {
    hex(&rand::random::<[u8; N]>())
}

/// Writes bytes in lowercase hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes every write");
        text
    })
}
