//! Parts are read again: to see that each is what was written, and for the hash of their file.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::ManifestPart;
use super::encode::hex;
use crate::Store;
use crate::stores::{self, Key};

/// So many pieces of a part wait for the hash of the file.
const PIECES_MAX: usize = 8;

/// The SHA-256 of a file. A thread of its own works it out, because the hash of each part is worked
/// out at the same time.
pub(super) struct FileHash {
    pieces: mpsc::Sender<Bytes>,
    hash: JoinHandle<String>,
}

impl FileHash {
    pub(super) fn begin() -> Self {
        let (pieces, mut next) = mpsc::channel::<Bytes>(PIECES_MAX);
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
