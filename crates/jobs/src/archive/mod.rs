//! The file of a snapshot: a tar of a fixed form in one zstd frame.
//!
//! **Purpose.** [`Writer`] makes such a file piece by piece, and [`Reader`] reads it back piece by
//! piece. Neither touches a disk, a network or a database, so a caller decides where the bytes
//! come from and go to.
//!
//! **The form.** ustar, regular files only, in this order: `snapshot.json` ([`Contents`]),
//! `data/<folder>/<number>.copy` for each table, `schema/<folder>.sql` for each table, and
//! `manifest.json` ([`Manifest`]). GNU tar and `zstd` list and unpack it. Between two data members
//! there may be a member `fill/<number>`: see [`Writer`].
//!
//! **What the reader refuses**: everything that the writer does not write. A header is compared
//! byte by byte with the one that Offtake writes for the same name and size. So links, devices,
//! absolute names, long names and extensions of PAX or GNU need no rule of their own. Each refusal
//! names the member and what is wrong about it.
//!
//! **What is never done**: nothing is unpacked to a disk, and no statement of an archive is run.
//! The files below `schema` are for people.
//!
//! **Bounds.** A member has at most 8 MiB, and the reader holds one. The window of the frame has at
//! most 8 MiB. Of a bomb it unpacks at most [`FREE_BYTES`] and a thousand times what it was given.

mod contents;
mod header;
mod name;
mod reader;
mod refused;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use contents::number_as_text;
pub use contents::{Column, Contents, Entry, FORMAT, Kind, Manifest, Table};
pub use name::{FOLDER_CHARS_MAX, Name};
pub use reader::{Member, Reader};
pub use refused::Refused;
pub use writer::{Rest, Writer, WriterError};

/// The most bytes a member has. One member is held in memory.
pub const MEMBER_BYTES_MAX: usize = 8 << 20;

/// A frame's window, as a power of two: 8 MiB, which a reader needs in memory.
const WINDOW_LOG_MAX: u32 = 23;

/// Rows of text compress to a third or a fifth; rows that are all alike to a thousandth.
const RATIO_MAX: u64 = 1000;

/// So many bytes are unpacked whatever the ratio: a small archive may have one compressible table.
pub const FREE_BYTES: u64 = 64 << 20;

/// Whether more comes out of the frame than a snapshot has.
fn exceeds_ratio(unpacked: u64, packed: u64) -> bool {
    unpacked > FREE_BYTES.saturating_add(packed.saturating_mul(RATIO_MAX))
}

/// As the manifest has it.
fn sha256(bytes: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
