//! Stores: named places for the files of jobs.
//!
//! **What a store promises.** An object is there as a whole or not at all, also after a crash. Only
//! the user that wrote it can read it. Its key is checked before anything is opened, and no link is
//! followed on the way to it.
//!
//! **What it does not know**: jobs, tenants and formats. Which keys belong together is the caller's.

mod disk;
mod error;
mod key;
mod s3;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
pub use offtake_http::Endpoint;

use self::disk::Folder;
pub use self::error::{Error, Trouble};
pub use self::key::Key;
use self::s3::Bucket;
pub use self::s3::BucketPlace;

/// One store; clones are the same one.
#[derive(Debug, Clone)]
pub struct Store {
    name: Arc<str>,
    medium: Medium,
}

#[derive(Debug, Clone)]
enum Medium {
    Disk(Folder),
    S3(Bucket),
}

/// Where a store of the configuration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSpec {
    pub name: String,
    pub place: Place,
}

/// The kinds of stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder of this machine, or one that all daemons have mounted.
    Disk(PathBuf),
    /// A bucket of an object store.
    S3(BucketPlace),
}

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub key: Key,
    pub size: u64,
}

/// What becomes of an object that has the key already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// The new one takes its place.
    Replace,
    /// It stays, and the new one is refused with [`Trouble::Exists`].
    Keep,
}

/// An object that is being written. It is dropped without a trace where it is not finished.
#[derive(Debug)]
pub struct Writer(Writing);

#[derive(Debug)]
enum Writing {
    Disk(disk::Writer),
    S3(Box<s3::Writer>),
}

/// The bytes of an object, piece by piece.
#[derive(Debug)]
pub struct Reader(Reading);

#[derive(Debug)]
enum Reading {
    Disk(disk::Reader),
    S3(Box<s3::Reader>),
}

impl Store {
    /// The store of a configuration. Nothing is opened or made before it is used.
    pub fn open(spec: &StoreSpec) -> Self {
        match &spec.place {
            Place::Disk(path) => Self::disk(&spec.name, path),
            Place::S3(place) => {
                let medium = Medium::S3(Bucket::new(place.clone()));
                Self { name: spec.name.as_str().into(), medium }
            }
        }
    }

    /// A folder as a store.
    pub fn disk(name: &str, path: &Path) -> Self {
        Self { name: name.into(), medium: Medium::Disk(Folder::new(path)) }
    }

    /// The same store, in which an object is written only where [`Store::make`] was called for the
    /// first word of its key. So a process that does not know yet that it lost its claim writes
    /// nothing into what was deleted meanwhile. A bucket has no such thing.
    pub fn fenced(&self) -> Self {
        let mut store = self.clone();
        if let Medium::Disk(folder) = &mut store.medium {
            folder.fenced = true;
        }
        store
    }

    /// Makes room for objects whose keys begin with `prefix`.
    pub async fn make(&self, prefix: &Key) -> Result<(), Error> {
        match &self.medium {
            Medium::Disk(folder) => folder.make(prefix).await,
            Medium::S3(_) => Ok(()),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a folder, which only this machine and those that mount it have.
    pub fn is_folder(&self) -> bool {
        matches!(self.medium, Medium::Disk(_))
    }

    /// Writes a whole object: it appears under its key complete, or not at all.
    pub async fn put(&self, key: &Key, content: Bytes, existing: Existing) -> Result<(), Error> {
        if let Medium::S3(bucket) = &self.medium {
            return Box::pin(bucket.put(key, content, existing)).await;
        }
        let mut writer = self.writer(key).await?;
        writer.write(content).await?;
        writer.finish(existing).await
    }

    /// The same, of an object that is too large to hold. Nothing is visible before
    /// [`Writer::finish`]; a writer that is dropped removes what it wrote.
    pub async fn writer(&self, key: &Key) -> Result<Writer, Error> {
        Ok(Writer(match &self.medium {
            Medium::Disk(folder) => Writing::Disk(folder.writer(key).await?),
            Medium::S3(bucket) => Writing::S3(Box::new(bucket.writer(key))),
        }))
    }

    /// The bytes of an object from `from` on; with `length`, so many of them at most.
    pub async fn read(&self, key: &Key, from: u64, length: Option<u64>) -> Result<Reader, Error> {
        Ok(Reader(match &self.medium {
            Medium::Disk(folder) => Reading::Disk(folder.read(key, from, length).await?),
            Medium::S3(bucket) => {
                Reading::S3(Box::new(Box::pin(bucket.read(key, from, length)).await?))
            }
        }))
    }

    /// A whole object that is known to be small. One of more than `bytes_max` is refused.
    pub async fn get(&self, key: &Key, bytes_max: u64) -> Result<Bytes, Error> {
        match &self.medium {
            Medium::Disk(folder) => folder.get(key, bytes_max).await,
            Medium::S3(bucket) => Box::pin(bucket.get(key, bytes_max)).await,
        }
    }

    /// The size of an object; None: there is no such object.
    pub async fn size(&self, key: &Key) -> Result<Option<u64>, Error> {
        match &self.medium {
            Medium::Disk(folder) => folder.size(key).await,
            Medium::S3(bucket) => Box::pin(bucket.size(key)).await,
        }
    }

    /// The objects whose keys begin with `prefix` and a slash, in no order. What was being written
    /// when a process died is not listed.
    pub async fn list(&self, prefix: &Key) -> Result<Vec<Object>, Error> {
        match &self.medium {
            Medium::Disk(folder) => folder.list(Some(prefix)).await,
            Medium::S3(bucket) => Box::pin(bucket.list(Some(prefix))).await,
        }
    }

    /// All objects.
    pub async fn list_all(&self) -> Result<Vec<Object>, Error> {
        match &self.medium {
            Medium::Disk(folder) => folder.list(None).await,
            Medium::S3(bucket) => Box::pin(bucket.list(None)).await,
        }
    }

    /// Gives an object another name. Nothing happens if it is not there; one that has the name is not
    /// replaced: [`Trouble::Exists`].
    pub async fn rename(&self, from: &Key, to: &Key) -> Result<(), Error> {
        match &self.medium {
            Medium::Disk(folder) => folder.rename(from, to).await,
            Medium::S3(bucket) => Box::pin(bucket.rename(from, to)).await,
        }
    }

    /// Deletes an object, if it is there.
    pub async fn delete(&self, key: &Key) -> Result<(), Error> {
        match &self.medium {
            Medium::Disk(folder) => folder.delete(key).await,
            Medium::S3(bucket) => Box::pin(bucket.delete(key)).await,
        }
    }

    /// Deletes every object below a prefix, and what was left there by processes that died.
    pub async fn delete_all(&self, prefix: &Key) -> Result<(), Error> {
        match &self.medium {
            Medium::Disk(folder) => folder.delete_all(prefix).await,
            Medium::S3(bucket) => Box::pin(bucket.delete_all(prefix)).await,
        }
    }

    /// Removes the objects right below a prefix that this user began to write and did not end, and
    /// that were last written to so long ago. In a bucket, these are the uploads that were begun so
    /// long ago, at any depth: no listing of objects shows them, and they cost money.
    pub async fn remove_unfinished(&self, prefix: &Key, age: Duration) -> Result<(), Error> {
        match &self.medium {
            Medium::Disk(folder) => folder.remove_unfinished(prefix, age).await,
            Medium::S3(bucket) => Box::pin(bucket.remove_unfinished(prefix, age)).await,
        }
    }

    /// How many bytes can still be written; None: the store does not say.
    pub async fn free(&self) -> Result<Option<u64>, Error> {
        match &self.medium {
            Medium::Disk(folder) => folder.free().await.map(Some),
            Medium::S3(_) => Ok(None),
        }
    }

    /// A URL with which anybody may read an object for that long, seven days at most; `name` is what
    /// a browser calls the file. None: the store has no such URLs.
    pub fn link(&self, key: &Key, valid: Duration, name: Option<&Key>) -> Option<String> {
        match &self.medium {
            Medium::Disk(_) => None,
            Medium::S3(bucket) => Some(bucket.link(key, valid, name)),
        }
    }

    /// Tries what an export needs of an object store, with a small object: to write, not to replace,
    /// to read, list and delete it. Returns what an operator should know. A folder is not tried: it
    /// may be another machine's, or not be made yet.
    pub async fn try_out(&self) -> Result<Vec<&'static str>, Error> {
        let Medium::S3(bucket) = &self.medium else { return Ok(Vec::new()) };
        Box::pin(s3::try_out(bucket)).await
    }
}

impl Writer {
    /// Appends to the object.
    pub async fn write(&mut self, content: Bytes) -> Result<(), Error> {
        match &mut self.0 {
            Writing::Disk(writer) => writer.write(content).await,
            Writing::S3(writer) => Box::pin(writer.write(content)).await,
        }
    }

    /// Makes the object visible. When this returns, a power cut does not lose it.
    pub async fn finish(self, existing: Existing) -> Result<(), Error> {
        match self.0 {
            Writing::Disk(writer) => writer.finish(existing).await,
            Writing::S3(writer) => Box::pin(writer.finish(existing)).await,
        }
    }
}

impl Reader {
    /// How many bytes are still to come.
    pub fn left(&self) -> u64 {
        match &self.0 {
            Reading::Disk(reader) => reader.left(),
            Reading::S3(reader) => reader.left(),
        }
    }

    /// The next piece; None at the end. An object that became shorter is an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match &mut self.0 {
            Reading::Disk(reader) => reader.next().await,
            Reading::S3(reader) => Box::pin(reader.next()).await,
        }
    }
}
