//! `offtake snapshot download`: a file beside the given one grows, and gets its name at the end.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use offtake_jobs::snapshots::{Card, archive_key};
use offtake_jobs::{PublicId, Store};
use ring::digest::{Context as Hash, SHA256};

use super::super::printing::say;
use super::{store, told};
use crate::command_line::Download;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// Bytes of the file that are hashed at a time.
const READ_BYTES: usize = 1 << 20;

pub(super) async fn execute(context: &Context, arguments: &Download) -> Result<Exit, Failure> {
    let (store, id, card) = store::named(context, &arguments.snapshot).await?;
    let to = &arguments.to;
    let shown = to.display();
    if to.exists() {
        return Err(Failure::new(Exit::Usage, format!("{shown} is there already"))
            .remedy("name another file, or move this one away"));
    }
    let part = beside(to);
    // A file that is being hashed or written keeps this thread busy, and nothing else runs in it.
    let fetched = fetch(&store, &id, &card, &part).await?;
    if hash(&part).map_err(|error| unusable(&part, &error))? != card.sha256 {
        let _ = std::fs::remove_file(&part);
        return Err(Failure::new(
            Exit::Failed,
            format!("the bytes of {id} are not those that were written"),
        )
        .because("their SHA-256 is not the one on the snapshot's card, so they were removed again")
        .remedy(format!("run it again; if that fails too, see `offtake snapshot validate {id}`")));
    }
    std::fs::hard_link(&part, to).map_err(|error| unusable(to, &error))?;
    std::fs::remove_file(&part).map_err(|error| unusable(&part, &error))?;
    let again = match card.size - fetched {
        0 => String::new(),
        there => format!("; {} of them were there already", told::size(there)),
    };
    say(format!("{shown} has {} of {id}, checked by its SHA-256{again}", told::size(card.size)));
    Ok(Exit::Done)
}

/// `acme.tar.zst.part`.
fn beside(to: &Path) -> PathBuf {
    let mut name = OsString::from(to);
    name.push(".part");
    name.into()
}

/// Appends what the file lacks. Returns how many bytes that was.
async fn fetch(store: &Store, id: &PublicId, card: &Card, part: &Path) -> Result<u64, Failure> {
    let mut options = std::fs::OpenOptions::new();
    let opened = options.append(true).create(true).mode(0o600).open(part);
    let mut file = opened.map_err(|error| unusable(part, &error))?;
    let mut there = file.metadata().map_err(|error| unusable(part, &error))?.len();
    if there > card.size {
        file.set_len(0).map_err(|error| unusable(part, &error))?;
        there = 0;
    }
    let unreadable = |error: offtake_jobs::stores::Error| {
        told::failure(format!("cannot download {id}"), &error.into())
    };
    let mut from = store.read(&archive_key(id), there, None).await.map_err(unreadable)?;
    while let Some(piece) = from.next().await.map_err(unreadable)? {
        write(&mut file, &piece).map_err(|error| unusable(part, &error))?;
    }
    file.sync_all().map_err(|error| unusable(part, &error))?;
    Ok(card.size - there)
}

fn write(file: &mut std::fs::File, piece: &Bytes) -> std::io::Result<()> {
    file.write_all(piece)
}

fn hash(part: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(part)?;
    let (mut hash, mut buffer) = (Hash::new(&SHA256), vec![0; READ_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            bytes => hash.update(&buffer[..bytes]),
        }
    }
    Ok(hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot write {}", path.display()))
        .because(error.to_string())
        .remedy("name a file in a folder that this user may write to, with room for it")
}
