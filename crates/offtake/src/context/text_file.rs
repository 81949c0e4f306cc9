//! Reading a file that a person wrote.

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Result};
use std::path::Path;

/// The remedy for a file that [`read`] refuses with [`ErrorKind::InvalidData`].
pub(crate) const SAVE_AS_UTF_8: &str = "save the file as UTF-8, as a plain file of a few kilobytes";

/// Room for `offtake.yaml` with some ten thousand static destinations. Parsing takes some 13 times
/// as much memory.
pub(crate) const CONFIGURATION_BYTES_MAX: u64 = 4 << 20;

/// Far more than any query needs.
pub(crate) const MAPPING_BYTES_MAX: u64 = 1 << 20;

/// A password or a token.
pub(crate) const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The file's text, of at most so many bytes. A byte order mark at its beginning, which some
/// editors write and YAML allows, is left out.
pub(crate) fn read(file: &Path, bytes_max: u64) -> Result<String> {
    let text = String::from_utf8(read_bytes(file, bytes_max)?).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Error::new(ErrorKind::InvalidData, format!("line {line} is not UTF-8"))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// A pipe or a device can be waited for without end, already when it is opened, so only a regular
/// file is read.
fn read_bytes(file: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let regular = |is_file: bool| {
        let refused = || Error::new(ErrorKind::InvalidData, "this is not a regular file");
        if is_file { Ok(()) } else { Err(refused()) }
    };
    regular(std::fs::metadata(file)?.is_file())?;
    let opened = File::open(file)?;
    // The name may mean something else by now.
    regular(opened.metadata()?.is_file())?;
    let mut bytes = Vec::new();
    opened.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let message = format!("the file is larger than {} KiB", bytes_max >> 10);
        return Err(Error::new(ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_no_text_and_what_is_not_utf_8_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, "\u{feff}name: a\r\n").unwrap();
        assert_eq!(read(&file, 100).unwrap(), "name: a\r\n");
        std::fs::write(&file, b"name: a\n# caf\xe9\n").unwrap();
        let error = read(&file, 100).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::InvalidData, "line 2 is not UTF-8")
        );
    }

    #[test]
    fn only_a_regular_file_of_some_size_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, "x".repeat(2049)).unwrap();
        assert!(read(&file, 2049).is_ok());
        assert!(read(&file, 2048).unwrap_err().to_string().contains("larger than 2 KiB"));
        let pipe = folder.path().join("b.yaml");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for other in
            [pipe.as_path(), folder.path(), Path::new("/dev/zero"), Path::new("/dev/stdin")]
        {
            assert!(read(other, 2048).is_err(), "{}", other.display());
        }
    }
}
