//! Where PostgreSQL's server programs are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The folder with `initdb` and `postgres`.
#[derive(Debug, Clone)]
pub struct Binaries(PathBuf);

/// No server programs were found.
#[derive(Debug, thiserror::Error)]
#[error(
    "no PostgreSQL server programs (initdb, postgres) found{}\n  looked in: {}\n  install PostgreSQL 14 or newer: Debian and \
     Ubuntu `apt-get install postgresql`, Fedora `dnf install postgresql-server`, macOS `brew install postgresql@17`; or set \
     {VARIABLE} to the folder that holds initdb",
    chosen.as_ref().map(|c| format!(" in {VARIABLE}={}", c.display())).unwrap_or_default(), places.join(", ")
)]
pub struct NotInstalled {
    chosen: Option<PathBuf>,
    places: Vec<String>,
}

/// Names the folder to use, and then no other is looked at.
const VARIABLE: &str = "OFFTAKE_PG_BIN";

/// Folders with one folder per version, and what follows the version.
const VERSIONED: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

impl Binaries {
    /// `OFFTAKE_PG_BIN`, PATH, then the usual places of Debian, Homebrew and the official packages,
    /// newest first.
    pub fn find() -> Result<Self, NotInstalled> {
        Self::find_among(std::env::var_os(VARIABLE).as_deref(), std::env::var_os("PATH").as_deref())
    }

    fn find_among(chosen: Option<&OsStr>, path: Option<&OsStr>) -> Result<Self, NotInstalled> {
        if let Some(chosen) = chosen.filter(|c| !c.is_empty()) {
            let folder = PathBuf::from(chosen);
            let missing = || NotInstalled {
                chosen: Some(folder.clone()),
                places: vec![folder.display().to_string()],
            };
            return complete(&folder).then(|| Self(folder.clone())).ok_or_else(missing);
        }
        let on_path = path.into_iter().flat_map(std::env::split_paths);
        let usual = VERSIONED
            .iter()
            .flat_map(|(parent, prefix, rest)| newest_first(Path::new(parent), prefix, rest));
        let fixed = ["/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin"].map(PathBuf::from);
        on_path.chain(usual).chain(fixed).find(|folder| complete(folder)).map(Self).ok_or_else(
            || {
                let places = VERSIONED
                    .iter()
                    .map(|(parent, prefix, rest)| format!("{parent}/{prefix}*/{rest}"));
                NotInstalled {
                    chosen: None,
                    places: std::iter::once("PATH".to_owned()).chain(places).collect(),
                }
            },
        )
    }

    /// The full path of one of the programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// Debian's PATH has client programs only, so a folder counts when it has both.
fn complete(folder: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file())
}

fn newest_first(parent: &Path, prefix: &str, rest: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.trim_start_matches('@');
            let major = version.split('.').next().and_then(|v| v.parse().ok()).unwrap_or(0);
            Some((major, entry.path().join(rest)))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_installation_says_what_to_install() {
        let error = Binaries::find_among(Some(OsStr::new("/nowhere")), None)
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        assert!(
            error.contains("OFFTAKE_PG_BIN=/nowhere")
                && error.contains("apt-get install postgresql"),
            "{error}"
        );
    }
}
