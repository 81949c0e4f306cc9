//! Exports: a tenant's rows as files.
//!
//! **What an export is made of.** Parts of one key range each, as objects in a store, and a manifest
//! that is written last. A file is the concatenation of its parts.
//!
//! **How it is of one moment.** What is read within one snapshot is. A longer export is read in
//! several short snapshots, and then settles: parts in which something changed since are read again,
//! the last time all in one snapshot (`settle.rs`).
//!
//! **What a crash leaves behind**: parts that are recorded, which stand, and objects that nothing
//! names, which are deleted at the end.

mod copy;
mod encode;
mod engine;
mod error;
mod file;
mod finish;
mod hashes;
mod inserts;
mod joined;
mod manifest;
mod open_snapshot;
mod options;
mod parts;
mod record;
mod settle;
mod sql_file;
mod verify;
mod work;

pub use engine::{Engine, Parts};
pub use error::Error;
pub use file::{FetchError, Fetched, FileReader, fetch};
pub use finish::deliver;
pub use joined::fetch_joined;
pub use manifest::{Manifest, ManifestFile, ManifestPart};
pub use options::{
    Asked, CHUNK_ROWS, CHUNK_ROWS_MAX, Callback, Compression, Format, Options, ending,
};
pub use record::Far;
pub use verify::{Checked, Place, read_manifest, verify};
pub use work::{Ended, Settings, Told, Work};
