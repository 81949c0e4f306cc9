//! Where a SQLite database may be, and what must hold of its place before it is opened.
//!
//! **Nothing in this process opens the file but SQLite.** A process that closes a descriptor of
//! a file gives up all of its locks on that file: another program could then write while a transaction
//! of ours is open, and a reader that closes last would delete our write-ahead log.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use offtake_mapping::foreign;
use offtake_postgres::Fault;
use tokio::sync::OwnedMutexGuard;

use super::Trouble;

/// A new file may be read by its owner's group, and written by the owner.
const MODE: u32 = 0o640;

/// What a URL of such a destination begins with.
const SCHEME: &str = "sqlite://";

/// The endings of files that SQLite keeps beside a database.
pub(super) const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// A database file below a folder that the operator allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFile {
    path: PathBuf,
    /// The allowed folder.
    below: PathBuf,
    /// Of a new file.
    mode: u32,
}

/// Why a URL or a mode cannot be used, and what to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPlace {
    pub why: String,
    pub remedy: String,
}

impl InvalidPlace {
    fn new(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { why: why.into(), remedy: remedy.into() }
    }
}

impl DatabaseFile {
    /// Whether a destination's URL is of this kind.
    pub fn is_meant_by(url: &str) -> bool {
        url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sqlite:"))
    }

    /// Reads `sqlite:///folder/name.db`. `allowed`: `security.allow_files`; `mode`: octal digits.
    pub fn parse(url: &str, mode: Option<&str>, allowed: &[PathBuf]) -> Result<Self, InvalidPlace> {
        let like = "write it like sqlite:///srv/copies/acme.db";
        let path = url.strip_prefix(SCHEME).filter(|path| path.starts_with('/'));
        let path = path.ok_or_else(|| {
            InvalidPlace::new("this is not the URL of a file with its whole path", like)
        })?;
        if path.contains(['?', '#', '%']) || path.chars().any(char::is_control) {
            return Err(InvalidPlace::new(
                "a path with ?, #, % or a control character cannot be told from options",
                like,
            ));
        }
        // As it is written: a parsed path has lost what does not change where it leads.
        let plain = path.split('/').skip(1).all(|part| !["", ".", ".."].contains(&part));
        let path = Path::new(path);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !plain {
            return Err(InvalidPlace::new("the path is not the plain one of a file", like));
        }
        if let Some(ending) = BESIDE.iter().find(|ending| name.ends_with(**ending)) {
            let why = format!("a name that ends in {ending} is that of a file beside a database");
            return Err(InvalidPlace::new(why, like));
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        let Some(below) = allowed.iter().find(|allowed| folder.starts_with(allowed)) else {
            let folder = folder.display();
            return Err(InvalidPlace::new(
                format!("security.allow_files does not allow files in {folder}"),
                format!("write security: {{ allow_files: [{folder}] }} in offtake.yaml"),
            ));
        };
        let mode = mode.map(octal).transpose()?.unwrap_or(MODE);
        Ok(Self { path: path.to_owned(), below: below.clone(), mode })
    }

    /// As it is written in the configuration.
    pub fn url(&self) -> String {
        format!("{SCHEME}{}", self.as_str())
    }

    /// The mode of a new file, in octal digits.
    pub fn mode(&self) -> String {
        format!("{:04o}", self.mode)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path as text, which it was read from.
    pub fn as_str(&self) -> &str {
        self.path.to_str().unwrap_or_default()
    }

    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Looks at the place without opening anything. None: there is no file, and one may be made.
    pub(super) fn look(&self) -> Result<Option<FileIdentity>, Trouble> {
        let folder = self.folder();
        let real = |path: &Path| path.canonicalize();
        let (found, below) = match (real(folder), real(&self.below)) {
            (Ok(found), Ok(below)) => (found, below),
            (Err(error), _) | (_, Err(error)) => return Err(self.unreachable(&error)),
        };
        let within = folder.strip_prefix(&self.below).unwrap_or(Path::new(""));
        if found != below.join(within) {
            return Err(self.refused("a folder on its path is a link", "name the folder itself"));
        }
        if let Some(kind) = network(&found) {
            return Err(self.refused(
                &format!("it is on a network file system ({kind}), whose locks SQLite cannot use"),
                "keep it on a disk of this machine",
            ));
        }
        match std::fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_file() => Ok(Some(FileIdentity::of(&found))),
            Ok(_) => Err(self.refused("it is a link or no file", "name a file")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    /// The write-ahead log beside the file.
    pub(super) fn log(&self) -> Option<FileIdentity> {
        let log = format!("{}-wal", self.as_str());
        std::fs::symlink_metadata(log).ok().map(|found| FileIdentity::of(&found))
    }

    /// The length of the write-ahead log beside the file.
    pub(super) fn log_bytes(&self) -> u64 {
        let log = format!("{}-wal", self.as_str());
        std::fs::symlink_metadata(log).map(|found| found.len()).unwrap_or_default()
    }

    /// The device that the folder is on.
    pub(super) fn device(&self) -> Option<u64> {
        std::fs::metadata(self.folder()).ok().map(|folder| folder.dev())
    }

    /// How much may be written where it is; None: that is not known.
    pub fn free_bytes(&self) -> Option<u64> {
        let there = rustix::fs::statvfs(self.folder()).ok()?;
        Some(there.f_bavail.saturating_mul(there.f_frsize))
    }

    /// Gives a new file its mode, which the files beside it take over.
    pub(super) fn set_mode(&self) -> Result<(), Trouble> {
        let mode = std::fs::Permissions::from_mode(self.mode);
        std::fs::set_permissions(&self.path, mode).map_err(|error| self.unreachable(&error))
    }

    fn refused(&self, why: &str, remedy: &str) -> Trouble {
        let message = format!("{}: {why}", foreign(self.as_str()));
        let mut trouble = Trouble::new(Fault::Schema, None, message);
        trouble.reason = format!("{}; {remedy}", trouble.message);
        trouble
    }

    fn unreachable(&self, error: &std::io::Error) -> Trouble {
        let message = format!("{}: {}", foreign(self.as_str()), error.kind());
        let mut trouble = Trouble::new(Fault::Unreachable, None, message);
        if error.kind() == ErrorKind::NotFound {
            trouble.fault = Fault::Schema;
            trouble.reason = format!(
                "{}: its folder is not there; mount the file system that holds it, or make the folder",
                foreign(self.as_str())
            );
        }
        trouble
    }

    /// Waits until no other session of this process writes to the file, and holds it.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = WRITERS.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            let known = locks.entry(self.path.clone()).or_default();
            known.upgrade().unwrap_or_else(|| {
                let lock = Arc::default();
                *known = Arc::downgrade(&lock);
                lock
            })
        };
        lock.lock_owned().await
    }
}

/// The writers of this process, by file: two tenants that share one file take turns without asking
/// the file system for its lock again and again.
static WRITERS: LazyLock<Mutex<HashMap<PathBuf, Weak<tokio::sync::Mutex<()>>>>> =
    LazyLock::new(Mutex::default);

/// Which file it is: another one is another copy, whatever it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    fn of(found: &Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }

    /// A table's identity: of its mark and of the file that it is in.
    pub(super) fn of_table(self, nonce: &str) -> String {
        format!("{nonce}:{}:{}", self.device, self.inode)
    }
}

/// The device in [`FileIdentity::of_table`].
pub(super) fn device_of(identity: &str) -> Option<u64> {
    identity.split(':').nth(1)?.parse().ok()
}

fn octal(digits: &str) -> Result<u32, InvalidPlace> {
    let mode = u32::from_str_radix(digits, 8).ok();
    mode.filter(|mode| mode & !0o666 == 0 && mode & 0o600 == 0o600).ok_or_else(|| {
        InvalidPlace::new(
            "this is not the mode of a file that its owner reads and writes",
            "write it like mode: \"0640\", with the quotes",
        )
    })
}

/// Why the folder is none for a write-ahead log: its file system is another machine's, or another
/// program's.
fn network(folder: &Path) -> Option<&'static str> {
    // Of linux/magic.h.
    const KINDS: [(i64, &str); 5] = [
        (0x6969, "NFS"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB2"),
        (0x517b, "SMB"),
        (0x6573_5546, "FUSE"),
    ];
    let found = rustix::fs::statfs(folder).ok()?;
    #[allow(clippy::unnecessary_cast)]
    let magic = found.f_type as i64;
    KINDS.iter().find(|(kind, _)| *kind == magic).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<DatabaseFile, InvalidPlace> {
        DatabaseFile::parse(url, None, &["/srv/copies".into(), "/data".into()])
    }

    #[test]
    fn only_plain_paths_in_allowed_folders_are_taken() {
        let file = read("sqlite:///srv/copies/eu/acme.db").expect("it is allowed");
        assert_eq!((file.as_str(), file.mode), ("/srv/copies/eu/acme.db", 0o640));
        for refused in [
            "sqlite:acme.db",
            "sqlite://acme.db",
            "sqlite://",
            "sqlite:///",
            "sqlite:///srv/copies",
            "sqlite:///srv/copies/",
            "sqlite:///srv/copies/../etc/x.db",
            "sqlite:///srv/copies/./x.db",
            "sqlite:///srv/copies//x.db",
            "sqlite:///srv/copies/x.db?mode=memory",
            "sqlite:///srv/copies/x.db-wal",
            "sqlite:///srv/copies/x%00.db",
            "sqlite://:memory:",
            "sqlite://file:/srv/copies/x.db",
            "sqlite:///srv/copiesx/x.db",
            "sqlite:///etc/x.db",
        ] {
            assert!(read(refused).is_err(), "{refused}");
        }
        let refused = read("sqlite:///etc/x.db").expect_err("it is not allowed");
        assert_eq!(refused.remedy, "write security: { allow_files: [/etc] } in offtake.yaml");
    }

    #[test]
    fn a_mode_is_one_of_a_file() {
        assert_eq!(octal("0600"), Ok(0o600));
        assert_eq!(octal("664"), Ok(0o664));
        for refused in ["0400", "0755", "4640", "rw", ""] {
            assert!(octal(refused).is_err(), "{refused}");
        }
    }
}
