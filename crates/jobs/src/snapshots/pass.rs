//! Reading a snapshot from its first byte to its last.

use ring::digest::{Context, SHA256};

use super::{Card, Error, archive_key};
use crate::PublicId;
use crate::archive::{Contents, Manifest, Member, Reader};
use crate::stores::{self, Store};

/// One pass over an archive. What is read must not be acted on in the first one: whether the
/// archive is whole and unchanged is known at its end.
pub struct Pass {
    id: String,
    file: stores::Reader,
    reader: Reader,
    hash: Context,
    size: u64,
}

impl Pass {
    /// The first pass.
    pub async fn first(store: &Store, id: &PublicId) -> Result<Self, Error> {
        Self::begin(store, id, Reader::new()).await
    }

    /// Another pass over an archive that was checked and had this manifest: each member is compared
    /// before it is returned.
    pub async fn again(store: &Store, id: &PublicId, checked: Manifest) -> Result<Self, Error> {
        Self::begin(store, id, Reader::again(checked)).await
    }

    async fn begin(
        store: &Store,
        id: &PublicId,
        reader: Result<Reader, crate::archive::Refused>,
    ) -> Result<Self, Error> {
        let file = store.read(&archive_key(id), 0, None).await?;
        let id = id.to_string();
        let reader = reader.map_err(|refused| Error::Refused { id: id.clone(), refused })?;
        Ok(Self { id, file, reader, hash: Context::new(&SHA256), size: 0 })
    }

    /// The next member; None: there is no other one.
    pub async fn next(&mut self) -> Result<Option<Member>, Error> {
        loop {
            let taken = self.reader.take();
            let refused = |refused| Error::Refused { id: self.id.clone(), refused };
            if let Some(member) = taken.map_err(refused)? {
                return Ok(Some(member));
            }
            let Some(piece) = self.file.next().await? else { return Ok(None) };
            self.hash.update(&piece);
            self.size += piece.len() as u64;
            self.reader.feed(piece);
        }
    }

    /// After the last member: is it a whole snapshot, and the one that the card is of?
    pub fn end(self, card: &Card) -> Result<Manifest, Error> {
        let id = self.id;
        let manifest = self.reader.end();
        let manifest = manifest.map_err(|refused| Error::Refused { id: id.clone(), refused })?;
        let changed = |what| Error::Changed { id: id.clone(), what };
        if self.size != card.size || hexadecimal(self.hash) != card.sha256 {
            return Err(changed("its size or its SHA-256 is not the one on its card"));
        }
        let rows = card.tables.iter().map(|table| table.rows);
        if manifest.id != card.id || !manifest.rows.iter().copied().eq(rows) {
            return Err(changed("its id or its counts of rows are not those on its card"));
        }
        Ok(manifest)
    }
}

/// Reads a whole archive and acts on nothing of it.
pub async fn check(
    store: &Store,
    id: &PublicId,
    card: &Card,
) -> Result<(Contents, Manifest), Error> {
    let mut found = None;
    let mut pass = Pass::first(store, id).await?;
    while let Some(member) = pass.next().await? {
        let Member::Contents(contents) = member else { continue };
        if contents.tenant != card.tenant || contents.sequence_id != card.sequence_id {
            let what = "its tenant or its sequence id is not the one on its card";
            return Err(Error::Changed { id: id.to_string(), what });
        }
        found = Some(contents);
    }
    let manifest = pass.end(card)?;
    let what = "it has no contents";
    let contents = found.ok_or_else(|| Error::Changed { id: id.to_string(), what })?;
    Ok((contents, manifest))
}

pub(super) fn hexadecimal(hash: Context) -> String {
    hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
