//! A file of an export, read out of its parts; and a file that is fetched into a folder.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::ManifestFile;
use super::encode::hex;
use crate::Store;
use crate::stores::{self, Key, Reader};

/// The bytes of a file from some place on, piece by piece.
pub struct FileReader {
    store: Store,
    /// What is still to be read: keys, from where on, and how many bytes.
    parts: std::vec::IntoIter<(Key, u64, u64)>,
    current: Option<Reader>,
}

impl FileReader {
    /// The `length` bytes of a file from `from` on. None: a part has no usable name.
    pub fn new(store: &Store, file: &ManifestFile, from: u64, length: u64) -> Option<Self> {
        let (mut parts, mut begin, end) = (Vec::new(), 0, from.saturating_add(length));
        for part in &file.parts {
            let (first, last) = (from.max(begin), end.min(begin + part.size));
            if first < last {
                let key = Key::new(part.object.as_str())?;
                parts.push((key, first - begin, last - first));
            }
            begin += part.size;
        }
        Some(Self { store: store.clone(), parts: parts.into_iter(), current: None })
    }

    /// The next piece; None at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, stores::Error> {
        loop {
            if let Some(reader) = &mut self.current {
                if let Some(bytes) = reader.next().await? {
                    return Ok(Some(bytes));
                }
                self.current = None;
            }
            let Some((key, from, length)) = self.parts.next() else { return Ok(None) };
            let reader = self.store.read(&key, from, Some(length)).await?;
            if reader.left() != length {
                return Err(stores::Error::unusable(format!("the object {key} is shorter")));
            }
            self.current = Some(reader);
        }
    }
}

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Store(#[from] stores::Error),
    #[error("cannot write {path}: {error}")]
    Folder { path: String, error: io::Error },
    #[error("{0} is not what the manifest says: fetch it again, and look at the store")]
    Different(String),
}

/// What became of a file that was to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// It was there already.
    Kept,
    /// So many bytes were fetched now; the others were there.
    Bytes(u64),
}

/// Fetches a file into a folder. What an interrupted call has fetched stays beside it, as
/// `NAME.part`, and the next one goes on there. The file appears when all of it is what the manifest
/// says.
pub async fn fetch(
    store: &Store,
    file: &ManifestFile,
    folder: &Path,
) -> Result<Fetched, FetchError> {
    // The name is the manifest's; it must not lead elsewhere.
    let name = Key::new(file.name.as_str()).filter(|name| !name.as_str().contains('/'));
    let name = name.ok_or_else(|| FetchError::Different(file.name.clone()))?;
    let whole = folder.join(name.as_str());
    let partial = folder.join(format!("{name}.part"));
    let of = |path: &PathBuf| {
        let path = path.display().to_string();
        move |error| FetchError::Folder { path, error }
    };
    if let Some((size, sha256)) = hashed(&whole, file.size).await.map_err(of(&whole))?
        && (size, hex(&sha256.finalize()).as_str()) == (file.size, file.sha256.as_str())
    {
        return Ok(Fetched::Kept);
    }
    let (from, mut sha256) = match hashed(&partial, file.size).await.map_err(of(&partial))? {
        Some((size, sha256)) => (size, sha256),
        None => (0, Sha256::new()),
    };
    let mut options = File::options();
    options.create(true).append(true).mode(0o600);
    let mut output = options.open(&partial).await.map_err(of(&partial))?;
    let reader = FileReader::new(store, file, from, file.size - from);
    let mut reader = reader.ok_or_else(|| FetchError::Different(file.name.clone()))?;
    while let Some(bytes) = reader.next().await? {
        sha256.update(&bytes);
        output.write_all(&bytes).await.map_err(of(&partial))?;
    }
    output.sync_all().await.map_err(of(&partial))?;
    if hex(&sha256.finalize()) != file.sha256 {
        // Nothing can go on from here.
        tokio::fs::remove_file(&partial).await.map_err(of(&partial))?;
        return Err(FetchError::Different(file.name.clone()));
    }
    tokio::fs::rename(&partial, &whole).await.map_err(of(&whole))?;
    Ok(Fetched::Bytes(file.size - from))
}

/// The size and hash of a file that is there. One that is longer than `bytes_max` counts as not
/// there, and is removed.
async fn hashed(path: &Path, bytes_max: u64) -> io::Result<Option<(u64, Sha256)>> {
    let mut file = match File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata().await?.len() > bytes_max {
        tokio::fs::remove_file(path).await?;
        return Ok(None);
    }
    let (mut sha256, mut size, mut piece) = (Sha256::new(), 0, vec![0; 256 << 10]);
    loop {
        let bytes = file.read(&mut piece).await?;
        if bytes == 0 {
            return Ok(Some((size, sha256)));
        }
        sha256.update(&piece[..bytes]);
        size += bytes as u64;
    }
}
