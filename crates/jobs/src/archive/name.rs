//! What a member may be called.

use std::fmt;

/// A folder's name fits ustar's 100 bytes together with what is around it.
pub const FOLDER_CHARS_MAX: usize = 63;

/// A name of a member. There is one spelling of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    Contents,
    /// A piece of a table's rows, as COPY prints them.
    Data {
        folder: String,
        number: u32,
    },
    /// Bytes that mean nothing.
    Fill {
        number: u32,
    },
    /// How the table can be made, for people.
    Schema {
        folder: String,
    },
    Manifest,
}

impl Name {
    /// None: no member is called so.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let name = match text.split('/').collect::<Vec<_>>()[..] {
            ["snapshot.json"] => Self::Contents,
            ["manifest.json"] => Self::Manifest,
            ["data", folder, file] => {
                let number = number(file.strip_suffix(".copy")?)?;
                Self::Data { folder: is_folder(folder).then(|| folder.to_owned())?, number }
            }
            ["fill", file] => Self::Fill { number: number(file)? },
            ["schema", file] => {
                let folder = file.strip_suffix(".sql")?;
                Self::Schema { folder: is_folder(folder).then(|| folder.to_owned())? }
            }
            _ => return None,
        };
        Some(name)
    }
}

/// Letters, digits, `_` and `-`: what a mapping's name has.
pub(super) fn is_folder(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !text.is_empty() && text.len() <= FOLDER_CHARS_MAX && text.bytes().all(plain)
}

/// Six digits.
fn number(text: &str) -> Option<u32> {
    let digits = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contents => f.write_str("snapshot.json"),
            Self::Data { folder, number } => write!(f, "data/{folder}/{number:06}.copy"),
            Self::Fill { number } => write!(f, "fill/{number:06}"),
            Self::Schema { folder } => write!(f, "schema/{folder}.sql"),
            Self::Manifest => f.write_str("manifest.json"),
        }
    }
}
