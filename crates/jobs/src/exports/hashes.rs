//! The hash of a file, from its parts: while they are stored, or from the store, where it is also
//! seen that each is what was written.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::ManifestPart;
use super::encode::{Encoded, hex};
use crate::Store;
use crate::stores::{self, Key};

/// So many pieces of a part wait for the hash of the file.
const PIECES_MAX: usize = 8;

/// So many whole parts do.
const PARTS_MAX: usize = 1;

/// The SHA-256 of a file. A thread of its own works it out, because the hash of each part is worked
/// out at the same time.
pub(super) struct FileHash {
    pieces: mpsc::Sender<Bytes>,
    hash: JoinHandle<String>,
}

impl FileHash {
    pub(super) fn begin() -> Self {
        Self::waiting(PIECES_MAX)
    }

    fn waiting(pieces_max: usize) -> Self {
        let (pieces, mut next) = mpsc::channel::<Bytes>(pieces_max);
        let hash = tokio::task::spawn_blocking(move || {
            let mut hash = Sha256::new();
            while let Some(piece) = next.blocking_recv() {
                hash.update(&piece);
            }
            hex(&hash.finalize())
        });
        Self { pieces, hash }
    }

    /// Reads a part to its end. False: it is not what the manifest says.
    pub(super) async fn read_part(
        &self,
        store: &Store,
        part: &ManifestPart,
    ) -> Result<bool, stores::Error> {
        let Some(key) = Key::new(part.object.as_str()) else { return Ok(false) };
        let mut reader = store.read(&key, 0, None).await?;
        if reader.left() != part.size {
            return Ok(false);
        }
        let mut hash = Sha256::new();
        while let Some(piece) = reader.next().await? {
            // It fails only where the thread has panicked, which `end` tells.
            let _ = self.pieces.send(piece.clone()).await;
            hash.update(&piece);
        }
        Ok(hex(&hash.finalize()) == part.sha256)
    }

    /// The hash of all parts that were read, in their order.
    pub(super) async fn end(self) -> Result<String, stores::Error> {
        drop(self.pieces);
        let failed = |error| stores::Error::unusable(format!("a file cannot be hashed: {error}"));
        self.hash.await.map_err(failed)
    }
}

/// The SHA-256 of a file whose parts are being stored, in their order: then they need not be read
/// again for it, which took a sixth of an export's time. The store has confirmed each object by then,
/// and no other attempt writes under its name.
pub(super) struct EarlyHash {
    hash: FileHash,
    /// The hashes of the parts.
    parts: Vec<String>,
}

impl EarlyHash {
    pub(super) fn begin() -> Self {
        Self { hash: FileHash::waiting(PARTS_MAX), parts: Vec::new() }
    }

    pub(super) async fn feed(&mut self, encoded: Encoded) {
        // It fails only where the thread has panicked, which `end` tells.
        let _ = self.hash.pieces.send(encoded.bytes).await;
        self.parts.push(encoded.sha256);
    }

    /// The hash, if the file has just these parts. Parts that were read again, or before an
    /// interruption, are others.
    pub(super) async fn end(self, parts: &[ManifestPart]) -> Option<String> {
        let fed = self.parts.iter();
        match fed.eq(parts.iter().map(|part| &part.sha256)) {
            true => self.hash.end().await.ok(),
            false => None,
        }
    }
}
