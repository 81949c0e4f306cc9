//! Writing an archive, piece by piece.

use std::io::Write as _;

use ring::digest::{SHA256, digest};
use zstd::stream::write::Encoder;

use super::contents::{Contents, Entry, FORMAT, Manifest};
use super::header::{self, BLOCK};
use super::name::is_folder;
use super::{FREE_BYTES, MEMBER_BYTES_MAX, Name, RATIO_MAX, WINDOW_LOG_MAX, sha256};

/// A member counts from 0 to this; its name has six digits.
const NUMBER_MAX: u32 = 999_999;

/// The writer compresses a third of what the reader lets through, because some of what went in has
/// not come out of the encoder yet.
const FILL_ABOVE: u64 = RATIO_MAX / 3;

/// So many bytes that cannot be compressed pay for 16 MiB of members.
const FILL_BYTES: usize = 64 << 10;

/// zstd's default: more makes 500 MB/s to 100 MB/s for a tenth of the size.
const LEVEL: i32 = 3;

/// What an archive cannot hold.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    #[error("`{0}` cannot be the name of a folder in a snapshot")]
    Folder(String),
    #[error("the snapshot would have more members than an archive can list")]
    TooManyMembers,
    #[error("the compressor failed")]
    Compressor(#[from] std::io::Error),
    #[error("the description of the snapshot cannot be written")]
    Json(#[from] serde_json::Error),
}

/// Makes one archive. What is ready to be stored is taken with [`Writer::take`].
///
/// The reader refuses a frame of which too much comes out. Rows that are all alike compress further
/// than that, so this writer then adds members `fill/<number>` that cannot be compressed.
pub struct Writer {
    encoder: Encoder<'static, Vec<u8>>,
    id: String,
    folders: Vec<String>,
    entries: Vec<Entry>,
    rows: Vec<u64>,
    /// The table that is written, the rest of its rows that is no member yet, and the next number.
    table: usize,
    rest: Vec<u8>,
    number: u32,
    fills: u32,
    bytes: u64,
    /// Bytes that went into the encoder, and that were taken out of it.
    unpacked: u64,
    packed: u64,
}

/// The last bytes of an archive, and what it is.
pub struct Rest {
    pub bytes: Vec<u8>,
    pub manifest: Manifest,
}

impl Writer {
    /// Begins with `snapshot.json`. The rows of its tables follow in their order.
    pub fn new(contents: &Contents) -> Result<Self, WriterError> {
        let folders: Vec<String> = contents.tables.iter().map(|t| t.folder.clone()).collect();
        if let Some(bad) = folders.iter().find(|folder| !is_folder(folder)) {
            return Err(WriterError::Folder(bad.clone()));
        }
        let mut encoder = Encoder::new(Vec::new(), LEVEL)?;
        encoder.include_checksum(true)?;
        encoder.window_log(WINDOW_LOG_MAX)?;
        let mut writer = Self {
            encoder,
            id: contents.id.clone(),
            rows: vec![0; folders.len()],
            folders,
            entries: Vec::new(),
            table: 0,
            rest: Vec::new(),
            number: 0,
            fills: 0,
            bytes: 0,
            unpacked: 0,
            packed: 0,
        };
        writer.member(&Name::Contents, &serde_json::to_vec_pretty(contents)?, 0)?;
        Ok(writer)
    }

    /// Adds lines of COPY text to the table that is written. A piece may end within a line.
    pub fn lines(&mut self, mut piece: &[u8]) -> Result<(), WriterError> {
        while !piece.is_empty() {
            let room = MEMBER_BYTES_MAX - self.rest.len();
            let (fits, later) = piece.split_at(room.min(piece.len()));
            self.rest.extend_from_slice(fits);
            piece = later;
            if self.rest.len() == MEMBER_BYTES_MAX {
                // Whole lines, unless one line is larger than a member.
                let end = memchr::memrchr(b'\n', &self.rest).map_or(MEMBER_BYTES_MAX, |at| at + 1);
                let later = self.rest.split_off(end);
                let data = std::mem::replace(&mut self.rest, later);
                self.data(&data)?;
            }
        }
        Ok(())
    }

    /// The table that is written is complete; the next one follows. Returns its rows.
    pub fn end_table(&mut self) -> Result<u64, WriterError> {
        let data = std::mem::take(&mut self.rest);
        if !data.is_empty() {
            self.data(&data)?;
        }
        let rows = self.rows[self.table];
        self.table += 1;
        self.number = 0;
        Ok(rows)
    }

    fn data(&mut self, data: &[u8]) -> Result<(), WriterError> {
        if self.number > NUMBER_MAX {
            return Err(WriterError::TooManyMembers);
        }
        let rows = memchr::memchr_iter(b'\n', data).count() as u64;
        let folder = self.folders[self.table].clone();
        let name = Name::Data { folder, number: self.number };
        self.number += 1;
        self.rows[self.table] += rows;
        self.member(&name, data, rows)?;
        while self.unpacked > FREE_BYTES / 2 + self.packed() * FILL_ABOVE {
            self.fill()?;
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<(), WriterError> {
        if self.fills > NUMBER_MAX {
            return Err(WriterError::TooManyMembers);
        }
        let bytes: Vec<u8> = (0..FILL_BYTES / 32)
            .map(|at| digest(&SHA256, format!("{} {} {at}", self.id, self.fills).as_bytes()))
            .flat_map(|hash| hash.as_ref().to_vec())
            .collect();
        let name = Name::Fill { number: self.fills };
        self.fills += 1;
        self.member(&name, &bytes, 0)?;
        self.encoder.flush()?;
        Ok(())
    }

    fn packed(&self) -> u64 {
        self.packed + self.encoder.get_ref().len() as u64
    }

    fn member(&mut self, name: &Name, data: &[u8], rows: u64) -> Result<(), WriterError> {
        if data.len() > MEMBER_BYTES_MAX {
            return Err(WriterError::TooManyMembers);
        }
        let name = name.to_string();
        self.put(&header::of_file(&name, data.len()))?;
        self.put(data)?;
        self.put(&[0; BLOCK][..header::padding(data.len())])?;
        self.bytes += data.len() as u64;
        let sha256 = sha256(data);
        self.entries.push(Entry { name, size: data.len() as u64, rows, sha256 });
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriterError> {
        self.unpacked += bytes.len() as u64;
        Ok(self.encoder.write_all(bytes)?)
    }

    /// What is compressed and was not taken yet.
    pub fn take(&mut self) -> Vec<u8> {
        let bytes = std::mem::take(self.encoder.get_mut());
        self.packed += bytes.len() as u64;
        bytes
    }

    /// Ends the archive. `schemas`: how each table can be made, in the tables' order.
    pub fn end(mut self, schemas: &[String]) -> Result<Rest, WriterError> {
        for (folder, sql) in self.folders.clone().into_iter().zip(schemas) {
            self.member(&Name::Schema { folder }, sql.as_bytes(), 0)?;
        }
        let manifest = Manifest {
            offtake_snapshot: FORMAT,
            id: self.id.clone(),
            members: std::mem::take(&mut self.entries),
            rows: std::mem::take(&mut self.rows),
            bytes: self.bytes,
        };
        self.member(&Name::Manifest, &serde_json::to_vec(&manifest)?, 0)?;
        self.put(&[0; 2 * BLOCK])?;
        Ok(Rest { bytes: self.encoder.finish()?, manifest })
    }
}
