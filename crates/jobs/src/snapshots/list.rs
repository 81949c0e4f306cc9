//! Which snapshots a store has.

use std::collections::BTreeSet;
use std::time::Duration;

use super::card::CARD_BYTES_MAX;
use super::{ARCHIVE, CARD, Card, Error, FOLDER, archive_key, card_key, folder};
use crate::stores::{self, Store, Trouble};
use crate::{Kind, PublicId};

/// What one look at a store found.
#[derive(Debug, Default)]
pub struct Listing {
    /// The newest first.
    pub cards: Vec<Card>,
    pub incomplete: Vec<Incomplete>,
}

/// What has the name of a snapshot and is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomplete {
    pub id: PublicId,
    pub why: &'static str,
}

/// Lists a store once, and reads each card by itself. What vanishes meanwhile is passed over; what
/// cannot be read is incomplete.
pub async fn list(store: &Store) -> Result<Listing, Error> {
    let mut listing = Listing::default();
    let (mut archives, mut cards) = (BTreeSet::new(), BTreeSet::new());
    for object in store.list(&folder()).await? {
        let name = object.key.as_str().strip_prefix(FOLDER).and_then(|name| name.strip_prefix('/'));
        let Some(name) = name else { continue };
        let id = |end: &str| PublicId::parse(Kind::Snapshot, name.strip_suffix(end)?);
        if let Some(id) = id(ARCHIVE) {
            archives.insert(id);
        } else if let Some(id) = id(CARD) {
            cards.insert(id);
        }
    }
    for id in &cards {
        let why = match read(store, id).await {
            Ok(Some(card)) if archives.contains(id) => {
                listing.cards.push(card);
                continue;
            }
            Ok(Some(_)) => "its archive is gone",
            Ok(None) => "its card cannot be read",
            Err(Error::Store(error)) if error.trouble == Trouble::Missing => continue,
            Err(_) => "its card cannot be read",
        };
        listing.incomplete.push(Incomplete { id: id.clone(), why });
    }
    let without = archives.difference(&cards);
    let why = "it was not written to its end";
    listing.incomplete.extend(without.map(|id| Incomplete { id: id.clone(), why }));
    // Ids of one second are told apart by chance, as the snapshots themselves are.
    listing.cards.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    Ok(listing)
}

/// The card of one snapshot; None: there is none of that id.
pub async fn find(store: &Store, id: &PublicId) -> Result<Option<Card>, Error> {
    match read(store, id).await {
        Ok(card) => Ok(card),
        Err(Error::Store(error)) if error.trouble == Trouble::Missing => Ok(None),
        Err(error) => Err(error),
    }
}

async fn read(store: &Store, id: &PublicId) -> Result<Option<Card>, Error> {
    let bytes = store.get(&card_key(id), CARD_BYTES_MAX).await?;
    Ok(Card::parse(&bytes).filter(|card| card.id == id.as_str()))
}

/// Deletes a snapshot. Its card goes first, so that none is listed whose archive is gone.
pub async fn delete(store: &Store, id: &PublicId) -> Result<(), stores::Error> {
    store.delete(&card_key(id)).await?;
    store.delete(&archive_key(id)).await?;
    // It may have been completed meanwhile.
    store.delete(&card_key(id)).await?;
    Ok(())
}

/// Between the last write to an unfinished object and its end, a snapshot takes no longer than
/// `max_duration`.
const SWEEP_LATER: Duration = Duration::from_secs(3600);

/// Removes what snapshots of this user have left unfinished that died. None that takes at most
/// `max_duration` still writes to them.
pub async fn sweep(store: &Store, max_duration: Duration) -> Result<(), stores::Error> {
    store.remove_unfinished(&folder(), max_duration + SWEEP_LATER).await
}
