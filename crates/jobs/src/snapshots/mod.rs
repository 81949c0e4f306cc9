//! Snapshots: a tenant's rows of one moment, as one file that is listed, checked and restored.
//!
//! **Purpose.** [`create`] reads a tenant's rows in one snapshot of the source and writes them as
//! one [archive](crate::archive) into a store. [`list`] tells which snapshots there are, [`Pass`]
//! reads one from its first byte to its last, and [`chosen_by`] says which are old.
//!
//! An [`Engine`] makes those that are due or were asked for, in a daemon.
//!
//! **What makes it one.** An archive is a snapshot once its card is there: a small file beside it
//! that is written last. A list reads only the cards.
//!
//! **What it does not know**: destinations. A restore takes the rows of a [`Pass`].
//!
//! **What a crash leaves behind**: an unfinished object that its store does not list, or an archive
//! without a card, which is listed as incomplete and deleted as such.

mod card;
mod create;
mod engine;
mod error;
mod keep;
mod list;
mod made;
mod pass;
mod schedule;
pub mod source;
mod turn;

pub use card::{Card, CardTable};
pub use create::{Asked, OfJob, create, epoch};
pub use engine::{Engine, Parts};
pub use error::Error;
pub use keep::{Keep, chosen_by};
pub use list::{Incomplete, Listing, delete, find, list, sweep};
pub use made::{Made, note_deleted, record};
pub use pass::{Pass, check};
pub use schedule::Schedule;
pub use turn::Options;

use crate::PublicId;
use crate::stores::Key;

/// The folder of a store that has the snapshots.
const FOLDER: &str = "snapshots";

/// What the names of the two objects end with.
const ARCHIVE: &str = ".tar.zst";
const CARD: &str = ".json";

/// The archive of a snapshot.
pub fn archive_key(id: &PublicId) -> Key {
    key(id, ARCHIVE)
}

fn card_key(id: &PublicId) -> Key {
    key(id, CARD)
}

fn folder() -> Key {
    Key::new(FOLDER).unwrap_or_else(|| unreachable!("it is a key"))
}

/// An id has the characters of a key.
fn key(id: &PublicId, end: &str) -> Key {
    let key = folder().below(&format!("{id}{end}"));
    key.unwrap_or_else(|| unreachable!("an id fits a key"))
}
