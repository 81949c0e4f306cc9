//! Reading an archive, piece by piece, and refusing every other form.

use std::collections::VecDeque;

use bytes::Bytes;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::contents::{Contents, Entry, FORMAT, Manifest};
use super::header::{self, BLOCK};
use super::name::is_folder;
use super::{MEMBER_BYTES_MAX, Name, Refused, WINDOW_LOG_MAX, exceeds_ratio, sha256};

/// How every zstd frame begins, but not one that is skipped by readers.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What the decoder is asked for at once.
const STEP: usize = 128 << 10;

/// A name in a message.
const NAME_CHARS_MAX: usize = 100;

/// A member that was read as a whole.
#[derive(Debug)]
pub enum Member {
    Contents(Contents),
    /// Lines of the table at this place in [`Contents::tables`]. Only the last piece of a row that
    /// is larger than a member ends with a line.
    Data {
        table: usize,
        lines: Bytes,
    },
    Schema {
        table: usize,
        sql: Bytes,
    },
    Fill,
    Manifest(Manifest),
}

/// Reads one archive. The caller feeds bytes, takes members until there is none, and feeds again;
/// [`Reader::end`] says whether what was read is a whole snapshot.
///
/// Hashes are at the archive's end. So a caller that acts on what it reads reads twice, the second
/// time by [`Reader::again`], which compares each member before it is returned.
pub struct Reader {
    decoder: Decoder<'static>,
    begun: Vec<u8>,
    input: VecDeque<Bytes>,
    packed: u64,
    unpacked: u64,
    frame_ended: bool,
    /// Unpacked, and not part of a returned member yet.
    pending: Vec<u8>,
    place: Place,
    folders: Vec<String>,
    id: String,
    entries: Vec<Entry>,
    fills: u32,
    known: Option<Manifest>,
    manifest: Option<Manifest>,
    /// Both blocks of zeros were read.
    ended: bool,
}

/// What may follow, by the order of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Begin,
    /// Of this table, the data before this number was read.
    Data {
        table: usize,
        number: u32,
    },
    /// The schemas before this table were read.
    Schema {
        table: usize,
    },
    End,
}

impl Reader {
    pub fn new() -> Result<Self, Refused> {
        let mut decoder = Decoder::new().map_err(frame)?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(frame)?;
        Ok(Self {
            decoder,
            begun: Vec::with_capacity(MAGIC.len()),
            input: VecDeque::new(),
            packed: 0,
            unpacked: 0,
            frame_ended: false,
            pending: Vec::new(),
            place: Place::Begin,
            folders: Vec::new(),
            id: String::new(),
            entries: Vec::new(),
            fills: 0,
            known: None,
            manifest: None,
            ended: false,
        })
    }

    /// Reads an archive that was read before, when it had this manifest.
    pub fn again(known: Manifest) -> Result<Self, Refused> {
        Ok(Self { known: Some(known), ..Self::new()? })
    }

    /// Gives the reader the next bytes of the file.
    pub fn feed(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.input.push_back(bytes);
        }
    }

    /// The next member; None: more bytes are needed, or there is no other one.
    pub fn take(&mut self) -> Result<Option<Member>, Refused> {
        loop {
            if let Some(member) = self.next_pending()? {
                return Ok(Some(member));
            }
            if !self.unpack()? {
                return Ok(None);
            }
        }
    }

    /// All bytes were fed, and every member was taken: is it a whole snapshot?
    pub fn end(self) -> Result<Manifest, Refused> {
        if self.packed < MAGIC.len() as u64 && self.input.is_empty() {
            return Err(Refused::NotZstd);
        }
        if !self.frame_ended || (!self.ended && self.manifest.is_some()) {
            return Err(Refused::Cut { unpacked: self.unpacked });
        }
        self.manifest.ok_or(Refused::NoManifest)
    }

    /// Unpacks some more. False: nothing came out, and more bytes are needed.
    fn unpack(&mut self) -> Result<bool, Refused> {
        loop {
            let Some(front) = self.input.front_mut() else { return Ok(false) };
            if self.frame_ended {
                return Err(Refused::Trailing);
            }
            for byte in front.iter().take(MAGIC.len() - self.begun.len()) {
                self.begun.push(*byte);
            }
            if !MAGIC.starts_with(&self.begun) {
                return Err(Refused::NotZstd);
            }
            let mut input = InBuffer::around(front);
            let before = self.pending.len();
            self.pending.resize(before + STEP, 0);
            let mut output = OutBuffer::around_pos(&mut self.pending, before);
            let hint = self.decoder.run(&mut input, &mut output).map_err(frame)?;
            let (read, end) = (input.pos(), output.pos());
            self.pending.truncate(end);
            let _ = front.split_to(read);
            if front.is_empty() {
                self.input.pop_front();
            }
            self.packed += read as u64;
            self.unpacked += (end - before) as u64;
            self.frame_ended = hint == 0;
            if exceeds_ratio(self.unpacked, self.packed) {
                return Err(Refused::Bomb { unpacked: self.unpacked, packed: self.packed });
            }
            if end > before {
                return Ok(true);
            }
        }
    }

    fn next_pending(&mut self) -> Result<Option<Member>, Refused> {
        if self.ended {
            return if self.pending.is_empty() { Ok(None) } else { Err(Refused::Trailing) };
        }
        let Some(head) = self.pending.first_chunk::<BLOCK>() else { return Ok(None) };
        if head.iter().all(|byte| *byte == 0) {
            return self.read_end();
        }
        let (name, size) = self.check_header(head)?;
        let whole = BLOCK + size + header::padding(size);
        if self.pending.len() < whole {
            return Ok(None);
        }
        let later = self.pending.split_off(whole);
        let mut member = Bytes::from(std::mem::replace(&mut self.pending, later));
        let _ = member.split_to(BLOCK);
        let padding = member.split_off(size);
        if padding.iter().any(|byte| *byte != 0) {
            return Err(Refused::Header { name: name.to_string() });
        }
        self.read_member(name, member).map(Some)
    }

    /// Two blocks of zeros, and the manifest before them.
    fn read_end(&mut self) -> Result<Option<Member>, Refused> {
        if self.pending.len() < 2 * BLOCK {
            return Ok(None);
        }
        if self.manifest.is_none() {
            return Err(Refused::NoManifest);
        }
        if self.pending[..2 * BLOCK].iter().any(|byte| *byte != 0) {
            return Err(Refused::Trailing);
        }
        self.pending.drain(..2 * BLOCK);
        self.ended = true;
        self.next_pending()
    }

    /// The name and the size of a member whose header is the one that Offtake writes.
    fn check_header(&self, head: &[u8; BLOCK]) -> Result<(Name, usize), Refused> {
        let told = |name: &str| name.chars().take(NAME_CHARS_MAX).collect::<String>();
        let raw = String::from_utf8_lossy(&head[..NAME_CHARS_MAX]);
        let shown = told(raw.split('\0').next().unwrap_or_default());
        if let Some(kind) = header::kind(head) {
            return Err(Refused::NotAFile { name: shown, kind });
        }
        let Some((text, size)) = header::name_and_size(head) else {
            return Err(Refused::Header { name: shown });
        };
        let name = Name::parse(text).ok_or(Refused::UnknownName { name: shown.clone() })?;
        let fits = usize::try_from(size).ok().filter(|size| *size <= MEMBER_BYTES_MAX);
        let size_fits = fits.ok_or(Refused::TooLarge { name: shown.clone(), size })?;
        if *head != header::of_file(text, size_fits) {
            return Err(Refused::Header { name: shown });
        }
        if self.manifest.is_some() {
            return Err(Refused::OutOfOrder { name: shown });
        }
        Ok((name, size_fits))
    }

    fn read_member(&mut self, name: Name, data: Bytes) -> Result<Member, Refused> {
        let (place, table) = self.follow(&name)?;
        self.place = place;
        if name == Name::Manifest {
            let manifest = self.read_manifest(&data)?;
            self.manifest = Some(manifest.clone());
            return Ok(Member::Manifest(manifest));
        }
        let is_data = matches!(name, Name::Data { .. });
        let rows = if is_data { memchr::memchr_iter(b'\n', &data).count() as u64 } else { 0 };
        let sha256 = sha256(&data);
        let entry = Entry { name: name.to_string(), size: data.len() as u64, rows, sha256 };
        if let Some(known) = &self.known
            && known.members.get(self.entries.len()) != Some(&entry)
        {
            return Err(Refused::Differs { name: entry.name });
        }
        self.entries.push(entry);
        Ok(match name {
            Name::Contents => Member::Contents(self.read_contents(&data)?),
            Name::Data { .. } => Member::Data { table, lines: data },
            Name::Schema { .. } => Member::Schema { table, sql: data },
            Name::Fill { .. } | Name::Manifest => Member::Fill,
        })
    }

    /// Where the archive is after this member, and which table's it is.
    fn follow(&mut self, name: &Name) -> Result<(Place, usize), Refused> {
        let of = |folder: &String| self.folders.iter().position(|known| known == folder);
        let next = match (name, self.place) {
            (Name::Contents, Place::Begin) => Some((Place::Data { table: 0, number: 0 }, 0)),
            (Name::Data { folder, number }, Place::Data { table, number: next }) => of(folder)
                .and_then(|at| {
                    let follows =
                        if at == table { *number == next } else { at > table && *number == 0 };
                    follows.then_some((Place::Data { table: at, number: number + 1 }, at))
                }),
            (Name::Fill { number }, place @ Place::Data { .. }) if *number == self.fills => {
                self.fills += 1;
                Some((place, 0))
            }
            (Name::Schema { folder }, Place::Data { .. }) => {
                of(folder).filter(|at| *at == 0).map(|at| (Place::Schema { table: 1 }, at))
            }
            (Name::Schema { folder }, Place::Schema { table }) => {
                of(folder).filter(|at| *at == table).map(|at| (Place::Schema { table: at + 1 }, at))
            }
            (Name::Manifest, Place::Schema { table }) if table == self.folders.len() => {
                Some((Place::End, 0))
            }
            (Name::Manifest, Place::Data { .. }) if self.folders.is_empty() => {
                Some((Place::End, 0))
            }
            _ => None,
        };
        next.ok_or_else(|| Refused::OutOfOrder { name: name.to_string() })
    }

    fn read_contents(&mut self, data: &[u8]) -> Result<Contents, Refused> {
        let name = "snapshot.json";
        let bad = |problem: String| Refused::Json { name, problem };
        let contents: Contents =
            serde_json::from_slice(data).map_err(|error| bad(position(&error)))?;
        if contents.offtake_snapshot != FORMAT {
            return Err(bad(format!("its form has the number {}", contents.offtake_snapshot)));
        }
        let folders: Vec<String> = contents.tables.iter().map(|t| t.folder.clone()).collect();
        let twice = (1..folders.len()).any(|at| folders[..at].contains(&folders[at]));
        if twice || !folders.iter().all(|folder| is_folder(folder)) {
            return Err(bad("two tables have one folder, or a folder has no plain name".into()));
        }
        self.folders = folders;
        self.id.clone_from(&contents.id);
        Ok(contents)
    }

    fn read_manifest(&self, data: &[u8]) -> Result<Manifest, Refused> {
        let name = "manifest.json";
        let bad = |problem: String| Refused::Json { name, problem };
        let manifest: Manifest =
            serde_json::from_slice(data).map_err(|error| bad(position(&error)))?;
        if manifest.offtake_snapshot != FORMAT || manifest.id != self.id {
            return Err(bad("it is of another snapshot".into()));
        }
        if let Some((_, read)) =
            manifest.members.iter().zip(&self.entries).find(|(listed, read)| listed != read)
        {
            return Err(Refused::Differs { name: read.name.clone() });
        }
        if let Some(missing) = manifest.members.get(self.entries.len()) {
            return Err(Refused::Missing { name: missing.name.clone() });
        }
        if let Some(unlisted) = self.entries.get(manifest.members.len()) {
            return Err(Refused::Differs { name: unlisted.name.clone() });
        }
        let rows: Vec<u64> = self.folders.iter().map(|folder| self.rows_of(folder)).collect();
        let bytes: u64 = self.entries.iter().map(|entry| entry.size).sum();
        if manifest.rows != rows || manifest.bytes != bytes {
            return Err(Refused::Sums);
        }
        if self.known.as_ref().is_some_and(|known| *known != manifest) {
            return Err(Refused::Differs { name: name.to_owned() });
        }
        Ok(manifest)
    }

    fn rows_of(&self, folder: &str) -> u64 {
        let prefix = format!("data/{folder}/");
        let of_folder = self.entries.iter().filter(|entry| entry.name.starts_with(&prefix));
        of_folder.map(|entry| entry.rows).sum()
    }
}

/// zstd's errors say what is wrong about the frame and nothing of what is in it.
fn frame(error: std::io::Error) -> Refused {
    Refused::Frame(error.to_string())
}

/// Where a JSON text is not as it should be; its values are not repeated.
fn position(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}
