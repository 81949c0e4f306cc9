//! What people and programs call a job.

use std::fmt;

use jiff::Timestamp;
use rand::Rng as _;

/// `exp_20261128-031300_k7f3a2`: the kind, when it was asked for (UTC), and six random characters.
/// Nothing of the tenant is in it. It is the first word of the keys of the job's objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicId(String);

/// The kinds of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Export,
    Snapshot,
    Restore,
}

/// Base32, of which no two characters are easily taken for each other.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

const RANDOM_CHARS: usize = 6;

impl Kind {
    /// As the column `kind` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Snapshot => "snapshot",
            Self::Restore => "restore",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Export => "exp",
            Self::Snapshot => "snap",
            Self::Restore => "rest",
        }
    }
}

impl PublicId {
    /// A new one. One that is taken already is refused by the table; then another is made.
    pub fn fresh(kind: Kind, now: Timestamp) -> Self {
        let mut rng = rand::rng();
        let random: String = (0..RANDOM_CHARS)
            .map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]))
            .collect();
        Self(format!("{}_{}_{random}", kind.prefix(), now.strftime("%Y%m%d-%H%M%S")))
    }

    /// What a person typed; None where no job of this kind can be called so. What is not an id does
    /// not reach a path, a key or a statement.
    pub fn parse(kind: Kind, text: &str) -> Option<Self> {
        let (prefix, rest) = text.split_once('_')?;
        let (moment, random) = rest.split_once('_')?;
        let (day, time) = moment.split_once('-')?;
        let digits = |text: &str, count| {
            text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        let fits = prefix == kind.prefix()
            && digits(day, 8)
            && digits(time, 6)
            && random.len() == RANDOM_CHARS
            && random.bytes().all(|byte| ALPHABET.contains(&byte));
        fits.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_nothing_else_does() {
        let moment: Timestamp = "2026-11-28T03:13:00Z".parse().unwrap();
        for kind in [Kind::Export, Kind::Snapshot, Kind::Restore] {
            let id = PublicId::fresh(kind, moment);
            assert!(id.as_str().contains("_20261128-031300_"), "{id}");
            assert_eq!(PublicId::parse(kind, id.as_str()), Some(id));
        }
        assert!(PublicId::parse(Kind::Export, "snap_20261128-031300_k7f3a2").is_none());
        for wrong in [
            "",
            "exp",
            "exp_20261128-031300_k7f3a",
            "exp_20261128-031300_k7f3a1",
            "exp_20261128-031300_K7F3A2",
            "exp_20261128-031300_../../",
            "exp_2026112-8031300_k7f3a2",
            "exp_20261128-031300_k7f3a2\n",
            "../exp_20261128-031300_k7f3a2",
        ] {
            assert!(PublicId::parse(Kind::Export, wrong).is_none(), "{wrong:?}");
        }
    }
}
