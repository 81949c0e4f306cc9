//! Reading a file that a person wrote.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;

/// The remedy for a file that [`read`] refuses with [`ErrorKind::InvalidData`].
pub(crate) const SAVE_AS_UTF_8: &str = "save the file as UTF-8";

/// The file's text. A byte order mark at its beginning, which some editors write and YAML allows,
/// is left out.
pub(crate) fn read(file: &Path) -> Result<String> {
    let text = String::from_utf8(std::fs::read(file)?).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Error::new(ErrorKind::InvalidData, format!("line {line} is not UTF-8"))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_no_text_and_what_is_not_utf_8_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, "\u{feff}name: a\r\n").unwrap();
        assert_eq!(read(&file).unwrap(), "name: a\r\n");
        std::fs::write(&file, b"name: a\n# caf\xe9\n").unwrap();
        let error = read(&file).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::InvalidData, "line 2 is not UTF-8")
        );
    }
}
