//! Why a file is not read as a snapshot.

/// Each names what was found, and where. The caller bounds and escapes the names before it prints them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it does not begin as a zstd frame does")]
    NotZstd,
    #[error("its zstd frame cannot be read: {0}")]
    Frame(String),
    #[error(
        "{unpacked} bytes come out of its first {packed} bytes, which is more than a snapshot has"
    )]
    Bomb { unpacked: u64, packed: u64 },
    #[error("it ends in the middle, after {unpacked} bytes of members")]
    Cut { unpacked: u64 },
    #[error("something follows the end of the archive")]
    Trailing,
    #[error("the member `{name}` is {kind}; a snapshot has regular files only")]
    NotAFile { name: String, kind: &'static str },
    #[error("no member of a snapshot is called `{name}`")]
    UnknownName { name: String },
    #[error("the header of the member `{name}` is not of the form that Offtake writes")]
    Header { name: String },
    #[error("the member `{name}` says that it has {size} bytes; a member has at most 8 MiB")]
    TooLarge { name: String, size: u64 },
    #[error("the member `{name}` is not where it belongs, or is there twice")]
    OutOfOrder { name: String },
    #[error("`{name}` is not as this version of Offtake writes it: {problem}")]
    Json { name: &'static str, problem: String },
    #[error("the archive ends without `manifest.json`")]
    NoManifest,
    #[error("the member `{name}` is not the one that `manifest.json` lists")]
    Differs { name: String },
    #[error("`manifest.json` lists a member `{name}` that the archive does not have")]
    Missing { name: String },
    #[error("the rows or bytes of `manifest.json` are not the sums of its members")]
    Sums,
}
