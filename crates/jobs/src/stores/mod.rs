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

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::disk::Folder;
pub use self::disk::{Reader, Writer};
pub use self::error::{Error, Trouble};
pub use self::key::Key;

/// One store; clones are the same one.
#[derive(Debug, Clone)]
pub struct Store {
    name: Arc<str>,
    folder: Folder,
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

impl Store {
    /// The store of a configuration. Its folder is made when something is first written.
    pub fn open(spec: &StoreSpec) -> Self {
        let Place::Disk(path) = &spec.place;
        Self::disk(&spec.name, path)
    }

    /// A folder as a store.
    pub fn disk(name: &str, path: &Path) -> Self {
        Self { name: name.into(), folder: Folder::new(path) }
    }

    /// The same store, in which an object is written only where [`Store::make`] was called for the
    /// first word of its key. So a process that does not know yet that it lost its claim writes
    /// nothing into what was deleted meanwhile.
    pub fn fenced(&self) -> Self {
        let mut store = self.clone();
        store.folder.fenced = true;
        store
    }

    /// Makes room for objects whose keys begin with `prefix`.
    pub async fn make(&self, prefix: &Key) -> Result<(), Error> {
        self.folder.make(prefix).await
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes a whole object: it appears under its key complete, or not at all.
    pub async fn put(&self, key: &Key, content: Bytes, existing: Existing) -> Result<(), Error> {
        let mut writer = self.writer(key).await?;
        writer.write(content).await?;
        writer.finish(existing).await
    }

    /// The same, of an object that is too large to hold. Nothing is visible before
    /// [`Writer::finish`]; a writer that is dropped removes what it wrote.
    pub async fn writer(&self, key: &Key) -> Result<Writer, Error> {
        self.folder.writer(key).await
    }

    /// The bytes of an object from `from` on; with `length`, so many of them at most.
    pub async fn read(&self, key: &Key, from: u64, length: Option<u64>) -> Result<Reader, Error> {
        self.folder.read(key, from, length).await
    }

    /// A whole object that is known to be small. One of more than `bytes_max` is refused.
    pub async fn get(&self, key: &Key, bytes_max: u64) -> Result<Bytes, Error> {
        self.folder.get(key, bytes_max).await
    }

    /// The size of an object; None: there is no such object.
    pub async fn size(&self, key: &Key) -> Result<Option<u64>, Error> {
        self.folder.size(key).await
    }

    /// The objects whose keys begin with `prefix` and a slash, in no order. What was being written
    /// when a process died is not listed.
    pub async fn list(&self, prefix: &Key) -> Result<Vec<Object>, Error> {
        self.folder.list(Some(prefix)).await
    }

    /// All objects.
    pub async fn list_all(&self) -> Result<Vec<Object>, Error> {
        self.folder.list(None).await
    }

    /// Gives an object another name. Nothing happens if it is not there; one that has the name is not
    /// replaced: [`Trouble::Exists`].
    pub async fn rename(&self, from: &Key, to: &Key) -> Result<(), Error> {
        self.folder.rename(from, to).await
    }

    /// Deletes an object, if it is there.
    pub async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.folder.delete(key).await
    }

    /// Deletes every object below a prefix, and what was left there by processes that died.
    pub async fn delete_all(&self, prefix: &Key) -> Result<(), Error> {
        self.folder.delete_all(prefix).await
    }

    /// Removes the objects right below a prefix that this user began to write and did not end, and
    /// that were last written to so long ago.
    pub async fn remove_unfinished(&self, prefix: &Key, age: Duration) -> Result<(), Error> {
        self.folder.remove_unfinished(prefix, age).await
    }

    /// How many bytes can still be written; None: the store does not say.
    pub async fn free(&self) -> Result<Option<u64>, Error> {
        self.folder.free().await.map(Some)
    }
}
