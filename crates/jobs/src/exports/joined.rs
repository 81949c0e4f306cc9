//! The parts of a zstd file as one frame: many readers stop behind the first frame, without a word.

use std::io::{self, Write as _};
use std::path::Path;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use zstd::stream::write::{Decoder, Encoder};

use super::encode::{ZSTD_LEVEL, hex};
use super::file::{FetchError, FileReader};
use super::{Compression, Error, ManifestFile};
use crate::Store;
use crate::stores::{Existing, Key};

/// Takes frames and makes one of them.
pub(super) struct Joined {
    through: Decoder<'static, Encoder<'static, Vec<u8>>>,
    hash: Sha256,
    size: u64,
}

impl Joined {
    pub(super) fn new() -> io::Result<Self> {
        let mut encoder = Encoder::new(Vec::new(), ZSTD_LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Self { through: Decoder::new(encoder)?, hash: Sha256::new(), size: 0 })
    }

    /// What is to be written after these bytes; often nothing.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> io::Result<Bytes> {
        self.through.write_all(bytes)?;
        let done = std::mem::take(self.through.get_mut().get_mut());
        Ok(self.counted(done))
    }

    /// The end of the frame, and the size and SHA-256 of all of it.
    pub(super) fn end(mut self) -> io::Result<(Bytes, u64, String)> {
        self.through.flush()?;
        let encoder =
            std::mem::replace(&mut self.through, Decoder::new(Encoder::new(Vec::new(), 0)?)?);
        let rest = encoder.into_inner().finish()?;
        let rest = self.counted(rest);
        Ok((rest, self.size, hex(&self.hash.finalize())))
    }

    fn counted(&mut self, bytes: Vec<u8>) -> Bytes {
        self.hash.update(&bytes);
        self.size += bytes.len() as u64;
        bytes.into()
    }
}

/// Writes a file's parts as one object. Where that is a joined frame, the file's entry is changed to
/// its size and SHA-256.
pub(super) async fn write_whole(
    store: &Store,
    key: &Key,
    file: &mut ManifestFile,
    compression: Compression,
) -> Result<(), Error> {
    let mut writer = store.writer(key).await?;
    let mut joined = match compression {
        Compression::Zstd => Some(Joined::new().map_err(Error::Encoding)?),
        Compression::Gzip | Compression::None => None,
    };
    for part in &file.parts {
        let Some(object) = Key::new(part.object.as_str()) else { continue };
        let mut reader = store.read(&object, 0, None).await?;
        while let Some(mut bytes) = reader.next().await? {
            if let Some(joined) = &mut joined {
                bytes = joined.feed(&bytes).map_err(Error::Encoding)?;
            }
            writer.write(bytes).await?;
        }
    }
    if let Some(joined) = joined {
        let (rest, size, sha256) = joined.end().map_err(Error::Encoding)?;
        writer.write(rest).await?;
        (file.size, file.sha256) = (size, sha256);
    }
    Ok(writer.finish(Existing::Replace).await?)
}

/// Fetches a zstd file into a folder, as one frame. Returns its entry for a manifest of the folder:
/// its size and SHA-256 are not those of its parts. After an interruption, all of it is fetched again.
pub async fn fetch_joined(
    store: &Store,
    file: &ManifestFile,
    folder: &Path,
) -> Result<ManifestFile, FetchError> {
    // The name is the manifest's; it must not lead elsewhere.
    let name = Key::new(file.name.as_str()).filter(|name| !name.as_str().contains('/'));
    let name = name.ok_or_else(|| FetchError::Different(file.name.clone()))?;
    let (whole, partial) = (folder.join(name.as_str()), folder.join(format!("{name}.part")));
    let of = |path: &Path| {
        let path = path.display().to_string();
        move |error| FetchError::Folder { path, error }
    };
    let mut options = File::options();
    options.create(true).write(true).truncate(true).mode(0o600);
    let mut output = options.open(&partial).await.map_err(of(&partial))?;
    let reader = FileReader::new(store, file, 0, file.size);
    let mut reader = reader.ok_or_else(|| FetchError::Different(file.name.clone()))?;
    let (mut joined, mut hash) = (Joined::new().map_err(of(&partial))?, Sha256::new());
    while let Some(bytes) = reader.next().await? {
        hash.update(&bytes);
        let out = joined.feed(&bytes).map_err(|_| FetchError::Different(file.name.clone()))?;
        output.write_all(&out).await.map_err(of(&partial))?;
    }
    let (rest, size, sha256) = joined.end().map_err(of(&partial))?;
    output.write_all(&rest).await.map_err(of(&partial))?;
    output.sync_all().await.map_err(of(&partial))?;
    if hex(&hash.finalize()) != file.sha256 {
        tokio::fs::remove_file(&partial).await.map_err(of(&partial))?;
        return Err(FetchError::Different(file.name.clone()));
    }
    tokio::fs::rename(&partial, &whole).await.map_err(of(&whole))?;
    Ok(ManifestFile { size, sha256, ..file.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exports::encode::encoded;

    #[test]
    fn frames_become_one_frame() {
        let parts = ["one\n".repeat(10_000), String::new(), "two\n".to_owned()];
        let mut joined = Joined::new().unwrap();
        let mut file = Vec::new();
        for part in &parts {
            let frame = encoded(part.as_bytes().to_vec(), Compression::Zstd).unwrap().bytes;
            for piece in frame.chunks(7) {
                file.extend_from_slice(&joined.feed(piece).unwrap());
            }
        }
        let (rest, size, sha256) = joined.end().unwrap();
        file.extend_from_slice(&rest);
        assert_eq!((size, sha256), (file.len() as u64, hex(&Sha256::digest(&file))));
        let mut first = zstd::stream::read::Decoder::new(&file[..]).unwrap().single_frame();
        let mut text = String::new();
        io::Read::read_to_string(&mut first, &mut text).unwrap();
        assert_eq!(text, parts.concat());
    }
}
