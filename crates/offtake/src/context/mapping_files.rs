//! The folder of mapping files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use offtake_mapping::Mapping;
use sha2::{Digest, Sha256};

use super::text_file;
use crate::outcome::Failure;

/// All files of the folder together.
const FOLDER_BYTES_MAX: u64 = 32 << 20;

/// At most so many files are told as overlooked, and so many entries of a subfolder are looked at.
const OVERLOOKED_MAX: usize = 20;
const ENTRIES_MAX: usize = 1_000;

/// The texts of the folder's mapping files at one moment.
pub struct MappingFiles {
    files: Vec<(PathBuf, String)>,
    overlooked: Vec<PathBuf>,
}

/// Changes when the name or the content of a file changes. Modification times do not count: a
/// mounted Kubernetes ConfigMap replaces its files by swapping a symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl MappingFiles {
    /// Reads every `*.yaml` and `*.yml` of the folder, in the order of their names. Hidden files
    /// and subfolders are skipped; what looks like a mapping file all the same is
    /// [overlooked](Self::overlooked).
    pub fn read(folder: &Path) -> io::Result<Self> {
        let (mut files, mut bytes) = (Vec::new(), 0);
        let mut overlooked = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if hidden(&path) {
                continue;
            }
            if path.is_dir() {
                overlooked.extend(files_in_subfolder(&path));
                continue;
            }
            let yaml = has_extension(&path);
            if !yaml && looks_like_yaml(&path) {
                overlooked.push(path.clone());
            }
            // What is neither a file nor a folder is refused: a mapping whose file was replaced by
            // a pipe is not one that was removed.
            if yaml {
                let text = text_file::read(&path, text_file::MAPPING_BYTES_MAX)
                    .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
                bytes += text.len() as u64;
                if bytes > FOLDER_BYTES_MAX {
                    let message =
                        format!("the files have more than {} MiB", FOLDER_BYTES_MAX >> 20);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
                files.push((path, text));
            }
        }
        files.sort();
        overlooked.sort();
        overlooked.truncate(OVERLOOKED_MAX);
        Ok(Self { files, overlooked })
    }

    /// A warning for each file that looks like a mapping file and is none, because of its name or
    /// its folder.
    pub fn overlooked(&self) -> Vec<String> {
        let told = self.overlooked.iter().map(|path| {
            let shown = path.display();
            let remedy = if looks_like_yaml(path) && !has_extension(path) {
                format!("rename it to {}", path.with_extension("yaml").display())
            } else {
                "move it into the folder that `mappings` in offtake.yaml names".to_owned()
            };
            format!("{shown}: this file is not read as a mapping: only *.yaml and *.yml of the folder itself are; {remedy}")
        });
        told.collect()
    }

    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        for (path, text) in &self.files {
            for part in [path.as_os_str().as_encoded_bytes(), text.as_bytes()] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        // So that a daemon that runs tells of a new one.
        for path in &self.overlooked {
            hash.update(path.as_os_str().as_encoded_bytes());
            hash.update([0]);
        }
        Fingerprint(hash.finalize().into())
    }

    /// The name of each mapping and its file. A file that cannot be read has its stem as name.
    pub fn names(&self) -> Vec<(String, PathBuf)> {
        let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into();
        let named =
            self.files.iter().map(|(path, text)| match offtake_mapping::parse(path, text) {
                Ok(mapping) => (mapping.name, path.clone()),
                Err(_) => (stem(path), path.clone()),
            });
        named.collect()
    }

    /// Parses all files. If any cannot be used, the failure lists the mistakes of all of them.
    pub fn parse(&self) -> Result<Vec<Mapping>, Failure> {
        let (mut mappings, mut failures) = (Vec::new(), Vec::new());
        for (path, text) in &self.files {
            match offtake_mapping::parse(path, text) {
                Ok(mapping) => mappings.push(mapping),
                Err(error) => failures.push(Failure::from(error)),
            }
        }
        if failures.is_empty() { Ok(mappings) } else { Err(Failure::all(failures)) }
    }
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'))
}

fn has_extension(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Whether people take the file for YAML: `.YAML`, `.Yml`.
fn looks_like_yaml(path: &Path) -> bool {
    let alike = |known: &str| {
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(known))
    };
    alike("yaml") || alike("yml")
}

/// The YAML files of one subfolder. Only names are read, and a subfolder that cannot be listed has
/// none: it is no part of the configuration.
fn files_in_subfolder(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().take(ENTRIES_MAX).flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| !hidden(path) && looks_like_yaml(path))
        .collect()
}

/// The same as [`load`], and logs what is overlooked.
pub(crate) fn load_and_tell(folder: &Path) -> Result<(Vec<Mapping>, Fingerprint), Failure> {
    if let Ok(files) = MappingFiles::read(folder) {
        for told in files.overlooked() {
            tracing::warn!(event = "mapping_file_overlooked", "{told}");
        }
    }
    load(folder)
}

/// The mappings of a folder and its fingerprint. A folder without a mapping file is a failure.
pub fn load(folder: &Path) -> Result<(Vec<Mapping>, Fingerprint), Failure> {
    let remedy = "name the folder with the mapping files in `mappings`; \
                  it is relative to the configuration file";
    let files = MappingFiles::read(folder).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => {
            Failure::invalid(error.to_string()).remedy(text_file::SAVE_AS_UTF_8)
        }
        _ => Failure::invalid(format!("{}: cannot read the mappings", folder.display()))
            .because(error.to_string())
            .remedy(remedy),
    })?;
    if files.files.is_empty() {
        let message = format!("{}: there is no mapping file (*.yaml, *.yml)", folder.display());
        let failure = Failure::invalid(message);
        let overlooked = files.overlooked().into_iter();
        return Err(overlooked.fold(failure, Failure::because).remedy(remedy));
    }
    Ok((files.parse()?, files.fingerprint()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_told_and_content_makes_the_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            load(folder.path()).err().unwrap().to_string().contains("there is no mapping file")
        );
        let good =
            "source: { table: t, tenant: tenant_id }\nquery: select 1\ntarget: { table: t }\n";
        fs::write(folder.path().join("a.yaml"), good).unwrap();
        fs::write(folder.path().join(".b.yaml"), "junk").unwrap();
        fs::write(folder.path().join("c.txt"), "junk").unwrap();
        let (mappings, before) = load(folder.path()).unwrap();
        assert_eq!(mappings.len(), 1);
        assert_eq!(load(folder.path()).unwrap().1, before);
        fs::write(folder.path().join("d.yaml"), "x: 1").unwrap();
        fs::write(folder.path().join("e.yaml"), "y: 1").unwrap();
        let told = load(folder.path()).err().unwrap().to_string();
        assert!(told.contains("d.yaml") && told.contains("e.yaml"), "{told}");
        fs::write(folder.path().join("e.yaml"), b"# \xff").unwrap();
        let told = load(folder.path()).err().unwrap().to_string();
        assert!(
            told.contains("e.yaml: line 1 is not UTF-8") && told.contains("save the file"),
            "{told}"
        );
    }

    /// Fails where such files are skipped silently.
    #[test]
    fn what_looks_like_a_mapping_file_and_is_not_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("team/deep")).unwrap();
        fs::create_dir_all(path("..2026_11_28")).unwrap();
        for name in
            ["A.YAML", "b.Yml", "c.yml", "team/d.yaml", "..2026_11_28/e.yaml", ".f.YAML", "g.md"]
        {
            fs::write(path(name), "x: 1").unwrap();
        }
        let files = MappingFiles::read(folder.path()).unwrap();
        let told = files.overlooked();
        let expect = [
            ("A.YAML: this file is not read as a mapping", "rename it to ", "A.yaml"),
            ("b.Yml: this file is not read as a mapping", "rename it to ", "b.yaml"),
            ("team/d.yaml: this file is not read as a mapping", "move it into the folder", ""),
        ];
        assert_eq!(told.len(), expect.len(), "{told:?}");
        for (line, (begins, remedy, ends)) in told.iter().zip(expect) {
            assert!(line.contains(begins) && line.contains(remedy), "{line}");
            assert!(line.ends_with(ends), "{line}");
        }
        // A daemon that runs looks again when such a file comes.
        let before = files.fingerprint();
        fs::write(path("h.YML"), "x: 1").unwrap();
        assert_ne!(MappingFiles::read(folder.path()).unwrap().fingerprint(), before);
        fs::remove_file(path("c.yml")).unwrap();
        let none = load(folder.path()).err().unwrap().to_string();
        assert!(none.contains("A.YAML: this file is not read"), "{none}");
    }
}
