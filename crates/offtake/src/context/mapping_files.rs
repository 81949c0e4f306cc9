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

/// The texts of the folder's mapping files at one moment.
pub struct MappingFiles {
    files: Vec<(PathBuf, String)>,
}

/// Changes when the name or the content of a file changes. Modification times do not count: a
/// mounted Kubernetes ConfigMap replaces its files by swapping a symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl MappingFiles {
    /// Reads every `*.yaml` and `*.yml` of the folder, in the order of their names. Hidden files
    /// and subfolders are skipped.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let (mut files, mut bytes) = (Vec::new(), 0);
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let hidden =
                path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
            let yaml =
                path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
            // What is neither a file nor a folder is refused: a mapping whose file was replaced by
            // a pipe is not one that was removed.
            if yaml && !hidden && !path.is_dir() {
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
        Ok(Self { files })
    }

    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        for (path, text) in &self.files {
            for part in [path.as_os_str().as_encoded_bytes(), text.as_bytes()] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
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
        return Err(Failure::invalid(format!(
            "{}: there is no mapping file (*.yaml, *.yml)",
            folder.display()
        ))
        .remedy(remedy));
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
}
