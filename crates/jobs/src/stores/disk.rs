//! A folder as a store.
//!
//! An object is written to a hidden name beside its own, flushed, and renamed; then the folder is
//! flushed. Folders have the mode 0700 and files 0600, whatever the process's umask is. Every word
//! of a key is opened from the folder above it, and a link among them is refused.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rand::Rng as _;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{Error, Existing, Key, Object, Trouble};

const FOLDER_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Bytes that are read at a time.
const READ_BYTES: usize = 256 << 10;

/// Ends the hidden names of objects that are being written.
const UNFINISHED: &str = ".part";

#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: Arc<PathBuf>,
    /// Writing makes no folder right below this one, and not this one.
    pub(super) fenced: bool,
}

/// Which folders are made on the way to an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Make {
    None,
    /// All but this store's, and the first one in it.
    Below,
    All,
}

/// An object that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    open: Option<Open>,
    shown: String,
}

#[derive(Debug)]
struct Open {
    folder: OwnedFd,
    file: File,
    hidden: String,
    name: String,
}

/// The bytes of an object, piece by piece.
#[derive(Debug)]
pub(super) struct Reader {
    file: Option<File>,
    left: u64,
    shown: String,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: Arc::new(path.to_owned()), fenced: false }
    }

    pub(super) async fn make(&self, prefix: &Key) -> Result<(), Error> {
        let what = format!("cannot make {}", self.shown(prefix));
        let (folder, prefix) = (self.clone(), prefix.clone());
        let words = move || {
            let words: Vec<&str> = prefix.as_str().split('/').collect();
            folder.descend(&words, Make::All).map(drop)
        };
        apart(what, words).await
    }

    pub(super) async fn writer(&self, key: &Key) -> Result<Writer, Error> {
        let shown = self.shown(key);
        let (folder, key) = (self.clone(), key.clone());
        let open = apart(format!("cannot write {shown}"), move || folder.begin(&key)).await?;
        Ok(Writer { open: Some(open), shown })
    }

    fn begin(&self, key: &Key) -> io::Result<Open> {
        let (above, name) = key.split();
        let make = if self.fenced { Make::Below } else { Make::All };
        let folder = self.descend(&above, make)?;
        let hidden = format!(".{name}.{:016x}{UNFINISHED}", rand::rng().random::<u64>());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&folder, &hidden, flags | OFlags::CLOEXEC, FILE_MODE)?;
        // The umask may have taken more away, and must not.
        rustix::fs::fchmod(&file, FILE_MODE)?;
        Ok(Open { folder, file: File::from(file), hidden, name: name.to_owned() })
    }

    /// The folder of an object. Folders that were made are on the disk when this returns.
    fn descend(&self, above: &[&str], make: Make) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if make == Make::All && !self.path.exists() {
            use std::os::unix::fs::DirBuilderExt as _;
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&*self.path)?;
        }
        let mut folder = rustix::fs::open(&*self.path, flags, Mode::empty())?;
        for (at, word) in above.iter().enumerate() {
            let make = make == Make::All || make == Make::Below && at > 0;
            let open = |at: &OwnedFd| {
                rustix::fs::openat(at, *word, flags | OFlags::NOFOLLOW, Mode::empty())
            };
            folder = match open(&folder) {
                Err(Errno::NOENT) if make => {
                    match rustix::fs::mkdirat(&folder, *word, FOLDER_MODE) {
                        // Another writer was faster.
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    rustix::fs::fsync(&folder)?;
                    let made = open(&folder)?;
                    rustix::fs::fchmod(&made, FOLDER_MODE)?;
                    made
                }
                opened => opened?,
            };
        }
        Ok(folder)
    }

    fn open_file(&self, key: &Key) -> io::Result<File> {
        let (above, name) = key.split();
        let folder = self.descend(&above, Make::None)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&folder, name, flags, Mode::empty())?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(Errno::ISDIR.into()),
        }
    }

    pub(super) async fn read(
        &self,
        key: &Key,
        from: u64,
        length: Option<u64>,
    ) -> Result<Reader, Error> {
        let shown = self.shown(key);
        let (folder, key) = (self.clone(), key.clone());
        let open = move || {
            use std::io::Seek as _;
            let mut file = folder.open_file(&key)?;
            let rest = file.metadata()?.len().saturating_sub(from);
            file.seek(io::SeekFrom::Start(from))?;
            Ok((file, length.map_or(rest, |length| length.min(rest))))
        };
        let (file, left) = apart(format!("cannot read {shown}"), open).await?;
        Ok(Reader { file: Some(file), left, shown })
    }

    pub(super) async fn get(&self, key: &Key, bytes_max: u64) -> Result<Bytes, Error> {
        let what = format!("cannot read {}", self.shown(key));
        let (folder, key) = (self.clone(), key.clone());
        let read = move || {
            let mut content = Vec::new();
            folder.open_file(&key)?.take(bytes_max.saturating_add(1)).read_to_end(&mut content)?;
            Ok(content)
        };
        let content = apart(what.clone(), read).await?;
        match u64::try_from(content.len()).is_ok_and(|bytes| bytes <= bytes_max) {
            true => Ok(content.into()),
            false => {
                let why = format!("it has more than {bytes_max} bytes");
                Err(Error::new(Trouble::Denied, what, why))
            }
        }
    }

    pub(super) async fn size(&self, key: &Key) -> Result<Option<u64>, Error> {
        let what = format!("cannot look for {}", self.shown(key));
        let (folder, key) = (self.clone(), key.clone());
        let size = move || Ok(folder.open_file(&key)?.metadata()?.len());
        match apart(what, size).await {
            Err(error) if error.trouble == Trouble::Missing => Ok(None),
            size => size.map(Some),
        }
    }

    pub(super) async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>, Error> {
        let what = format!("cannot list {}", self.path.display());
        let (folder, prefix) = (self.clone(), prefix.cloned());
        let list = move || {
            let above: Vec<&str> =
                prefix.iter().flat_map(|prefix| prefix.as_str().split('/')).collect();
            let mut found = Vec::new();
            match folder.descend(&above, Make::None) {
                Ok(opened) => collect(&opened, prefix.as_ref(), &mut found)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            Ok(found)
        };
        apart(what, list).await
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<(), Error> {
        let what = format!("cannot delete {}", self.shown(key));
        let (folder, key) = (self.clone(), key.clone());
        let delete = move || {
            let (above, name) = key.split();
            let folder = folder.descend(&above, Make::None)?;
            rustix::fs::unlinkat(&folder, name, AtFlags::empty())?;
            Ok(rustix::fs::fsync(&folder)?)
        };
        missing_is_done(apart(what, delete).await)
    }

    pub(super) async fn delete_all(&self, prefix: &Key) -> Result<(), Error> {
        let what = format!("cannot delete {}", self.shown(prefix));
        let (folder, prefix) = (self.clone(), prefix.clone());
        let delete = move || {
            let (above, name) = prefix.split();
            let folder = folder.descend(&above, Make::None)?;
            remove_folder(&folder, name)?;
            Ok(rustix::fs::fsync(&folder)?)
        };
        missing_is_done(apart(what, delete).await)
    }

    pub(super) async fn rename(&self, from: &Key, to: &Key) -> Result<(), Error> {
        let what = format!("cannot write {}", self.shown(to));
        let (folder, from, to) = (self.clone(), from.clone(), to.clone());
        let rename = move || {
            let ((above_from, from), (above_to, to)) = (from.split(), to.split());
            let source = folder.descend(&above_from, Make::None)?;
            let target = folder.descend(&above_to, Make::None)?;
            rename_new((&source, from), (&target, to))?;
            Ok(rustix::fs::fsync(&target)?)
        };
        missing_is_done(apart(what, rename).await)
    }

    pub(super) async fn remove_unfinished(&self, prefix: &Key, age: Duration) -> Result<(), Error> {
        let what = format!("cannot remove what is unfinished in {}", self.shown(prefix));
        let (folder, prefix) = (self.clone(), prefix.clone());
        let remove = move || {
            let above: Vec<&str> = prefix.as_str().split('/').collect();
            remove_old_parts(&folder.descend(&above, Make::None)?, age)
        };
        missing_is_done(apart(what, remove).await)
    }

    pub(super) async fn free(&self) -> Result<u64, Error> {
        let folder = self.clone();
        let free = move || {
            // Of the nearest folder that is there.
            let there = folder.path.ancestors().find(|path| path.exists());
            let there = there.unwrap_or(Path::new("/"));
            let found = rustix::fs::statvfs(there)?;
            Ok(found.f_bavail.saturating_mul(found.f_frsize))
        };
        apart(format!("cannot look at {}", self.path.display()), free).await
    }

    fn shown(&self, key: &Key) -> String {
        self.path.join(key.as_str()).display().to_string()
    }
}

impl Writer {
    /// Appends to the object.
    pub(super) async fn write(&mut self, content: Bytes) -> Result<(), Error> {
        let Some(mut open) = self.open.take() else { return Err(self.gone()) };
        let write = move || {
            let written = open.file.write_all(&content);
            Ok((open, written))
        };
        let what = format!("cannot write {}", self.shown);
        let (open, written) = apart(what.clone(), write).await?;
        self.open = Some(open);
        written.map_err(|error| Error::io(what, &error))
    }

    /// Makes the object visible. When this returns, a power cut does not lose it.
    pub(super) async fn finish(mut self, existing: Existing) -> Result<(), Error> {
        let Some(open) = self.open.take() else { return Err(self.gone()) };
        let finish = move || {
            let named = open.name_it(existing);
            if named.is_err() {
                open.remove();
            }
            named
        };
        apart(format!("cannot write {}", self.shown), finish).await
    }

    /// A write was cancelled in the middle.
    fn gone(&self) -> Error {
        let what = format!("cannot write {}", self.shown);
        Error::new(Trouble::Unavailable, what, "an earlier write was interrupted")
    }
}

impl Open {
    fn name_it(&self, existing: Existing) -> io::Result<()> {
        self.file.sync_all()?;
        let (folder, hidden, name) = (&self.folder, &self.hidden, &self.name);
        match existing {
            Existing::Replace => rustix::fs::renameat(folder, hidden, folder, name)?,
            Existing::Keep => rename_new((folder, hidden), (folder, name))?,
        }
        Ok(rustix::fs::fsync(folder)?)
    }

    fn remove(&self) {
        // It may be renamed already. What stays is deleted with its prefix.
        let _ = rustix::fs::unlinkat(&self.folder, &self.hidden, AtFlags::empty());
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            open.remove();
        }
    }
}

impl Reader {
    /// How many bytes are still to come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The next piece; None at the end. An object that became shorter is an error.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        let what = format!("cannot read {}", self.shown);
        let Some(mut file) = self.file.take() else {
            let why = "an earlier read was interrupted";
            return Err(Error::new(Trouble::Unavailable, what, why));
        };
        let most = usize::try_from(self.left).map_or(READ_BYTES, |left| left.min(READ_BYTES));
        let read = move || {
            let mut piece = vec![0; most];
            let bytes = file.read(&mut piece)?;
            piece.truncate(bytes);
            Ok((file, piece))
        };
        let (file, piece) = apart(what.clone(), read).await?;
        if piece.is_empty() {
            return Err(Error::new(Trouble::Unavailable, what, "it is shorter than it was"));
        }
        self.file = Some(file);
        self.left -= piece.len() as u64;
        Ok(Some(piece.into()))
    }
}

/// The objects of an open folder and of the folders in it. An entry that vanishes meanwhile, and
/// one that is no object, is passed over.
fn collect(folder: &OwnedFd, prefix: Option<&Key>, found: &mut Vec<Object>) -> io::Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        let key = match prefix {
            Some(prefix) => prefix.below(name),
            None => Key::new(name),
        };
        let Some(key) = key else { continue };
        let Ok(stat) = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                found.push(Object { key, size: u64::try_from(stat.st_size).unwrap_or(0) });
            }
            FileType::Directory => match open_below(folder, name) {
                Ok(below) => collect(&below, Some(&key), found)?,
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            },
            _ => {}
        }
    }
    Ok(())
}

/// Removes a folder and everything in it, hidden files too. A link is removed, not followed.
fn remove_folder(above: &OwnedFd, name: &str) -> io::Result<()> {
    let folder = open_below(above, name)?;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            // Linux says the first of a folder, POSIX the second.
            Err(Errno::ISDIR | Errno::PERM) => {
                let name = name.to_str().map_err(|_| io::Error::from(Errno::ILSEQ))?;
                remove_folder(&folder, name)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR)?)
}

/// By name, owner and age. What is no file is left alone, and so is what vanishes meanwhile.
fn remove_old_parts(folder: &OwnedFd, age: Duration) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let before = i64::try_from(now.saturating_sub(age).as_secs()).unwrap_or(0);
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if !(name.starts_with('.') && name.ends_with(UNFINISHED)) {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        let file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if file && stat.st_uid == user && stat.st_mtime < before {
            match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn open_below(folder: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// Renames a file to a name that is free.
fn rename_new((folder, from): (&OwnedFd, &str), (target, to): (&OwnedFd, &str)) -> io::Result<()> {
    match rustix::fs::renameat_with(folder, from, target, to, RenameFlags::NOREPLACE) {
        // A file system without it has links, or neither.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            rustix::fs::linkat(folder, from, target, to, AtFlags::empty())?;
            Ok(rustix::fs::unlinkat(folder, from, AtFlags::empty())?)
        }
        renamed => Ok(renamed?),
    }
}

fn missing_is_done(done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Err(error) if error.trouble == Trouble::Missing => Ok(()),
        done => done,
    }
}

/// Runs work with files on a thread that may wait for the disk.
async fn apart<T: Send + 'static>(
    what: String,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| Error::io(what, &error)),
        Err(_) => Err(Error::new(Trouble::Unavailable, what, "the work with the file panicked")),
    }
}

#[cfg(test)]
mod tests;
