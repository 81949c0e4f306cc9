//! `${…}` in a setting's value.

use std::collections::BTreeMap;
use std::path::Path;

use crate::arguments::shown;
use crate::context::text_file;

/// What `${…}` may stand for: variables, and the content of files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variables<'a> {
    pub(super) values: &'a BTreeMap<String, String>,
    /// Relative `${file:…}` paths begin here: the folder of the configuration file.
    pub(super) base: &'a Path,
}

/// systemd sets it to the folder of a unit's credentials.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// A `${…}` that has no value: what is wrong, and what to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unresolved {
    pub(super) message: String,
    pub(super) remedy: String,
}

impl Variables<'_> {
    /// The text with every `${…}` replaced and every `$$` written as `$`. A `$` before anything
    /// else stays as it is. A value is put in as it is, even if it contains `${…}`: a password may
    /// contain any character.
    pub(super) fn substitute(&self, text: &str) -> Result<String, Unresolved> {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            result.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                result.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let end = after.find('}').ok_or_else(|| Unresolved {
                    message: "a `${` is not closed".to_owned(),
                    remedy: "close it with `}`, or write `$$` for a plain dollar sign".to_owned(),
                })?;
                result.push_str(&self.value(&after[..end])?);
                rest = &after[end + 1..];
            } else {
                result.push('$');
            }
        }
        result.push_str(rest);
        Ok(result)
    }

    fn value(&self, expression: &str) -> Result<String, Unresolved> {
        if let Some(path) = expression.strip_prefix("file:") {
            return self.file(path);
        }
        if let Some(name) = expression.strip_prefix("credential:") {
            return self.credential(name);
        }
        let (name, otherwise) = match expression.find(':') {
            Some(at) => (&expression[..at], Some(&expression[at + 1..])),
            None => (expression, None),
        };
        if !variable_name(name) {
            return Err(Unresolved {
                message: "a `${…}` does not name a variable".to_owned(),
                remedy: "write ${VAR}, ${VAR:-default}, ${VAR:?message}, ${file:/path} or \
                         ${credential:name}"
                    .to_owned(),
            });
        }
        let value = self.values.get(name);
        let nonempty = value.filter(|v| !v.is_empty());
        let default = otherwise.and_then(|o| o.strip_prefix('-'));
        let complaint = otherwise.and_then(|o| o.strip_prefix('?'));
        match (otherwise, default, complaint) {
            (None, ..) => value.cloned().ok_or_else(|| Unresolved {
                message: format!("the environment variable {name} is not set"),
                remedy: format!("set {name}, or give a default with ${{{name}:-…}}"),
            }),
            (_, Some(default), _) => Ok(nonempty.cloned().unwrap_or_else(|| default.to_owned())),
            (_, _, Some(complaint)) => nonempty.cloned().ok_or_else(|| Unresolved {
                message: format!("{name} is not set: {complaint}"),
                remedy: format!("set {name}"),
            }),
            _ => Err(Unresolved {
                message: format!("what follows {name} in `${{{name}:…}}` is not understood"),
                remedy: format!("write ${{{name}:-default}} or ${{{name}:?message}}"),
            }),
        }
    }

    /// A credential that systemd gave to this process (`LoadCredential=` in its unit). A command
    /// that an operator types has none, and reads the same file where the unit says that it is: in
    /// the folder `credentials` beside the configuration.
    fn credential(&self, name: &str) -> Result<String, Unresolved> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(fits) {
            return Err(Unresolved {
                message: "a `${credential:…}` does not name a credential".to_owned(),
                remedy: "write ${credential:name}, with letters, digits, `_`, `-` and `.`"
                    .to_owned(),
            });
        }
        match self.values.get(CREDENTIALS_DIRECTORY) {
            Some(folder) => self.file(&format!("{folder}/{name}")),
            None => self.file(&format!("credentials/{name}")),
        }
    }

    /// A file's text without the line end at its end: editors add one, and it is not part of the
    /// secret.
    fn file(&self, path: &str) -> Result<String, Unresolved> {
        let full = self.base.join(path);
        let text = text_file::read(&full, text_file::SECRET_BYTES_MAX).map_err(|e| Unresolved {
            message: format!("cannot read {}: {e}", shown(&full.to_string_lossy())),
            remedy: "check that the file exists and that this user may read it".to_owned(),
        })?;
        Ok(text
            .strip_suffix('\n')
            .map(|t| t.strip_suffix('\r').unwrap_or(t))
            .unwrap_or(&text)
            .to_owned())
    }
}

fn variable_name(name: &str) -> bool {
    name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn check(input: &str, expect: Result<&str, &str>) {
        let values = BTreeMap::from([
            ("A".to_owned(), "one".to_owned()),
            ("EMPTY".to_owned(), String::new()),
            ("D".to_owned(), "${A}$$".to_owned()),
        ]);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), "s3cret\n").unwrap();
        let found = Variables { values: &values, base: folder.path() }.substitute(input);
        match (&found, expect) {
            (Ok(text), Ok(expect)) => assert_eq!(text, expect),
            (Err(e), Err(expect)) => assert!(e.message.contains(expect), "{e:?}"),
            _ => panic!("{input}: {found:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn every_form_of_reference() {
        check("x ${A} y", Ok("x one y"));
        check("${EMPTY}", Ok(""));
        check("${NONE}", Err("NONE is not set"));
        check("${NONE:-two}", Ok("two"));
        check("${EMPTY:-two}", Ok("two"));
        check("${NONE:-}", Ok(""));
        check("${A:-two}", Ok("one"));
        check("${NONE:?say where}", Err("say where"));
        check("${A:?say where}", Ok("one"));
        check("${file:secret}", Ok("s3cret"));
        check("${file:missing}", Err("cannot read"));
        check("${credential:missing}", Err("cannot read"));
        check("${credential:../secret}", Err("does not name a credential"));
        check("${credential:}", Err("does not name a credential"));
    }

    /// The unit and the commands that an operator types have one configuration file.
    #[test]
    fn a_credential_is_systemd_s_or_beside_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        for (place, text) in [("credentials", "typed\n"), ("given", "the unit's\n")] {
            fs::create_dir(folder.path().join(place)).unwrap();
            fs::write(folder.path().join(place).join("source_url"), text).unwrap();
        }
        let found = |values: BTreeMap<String, String>| {
            let variables = Variables { values: &values, base: folder.path() };
            variables.substitute("${credential:source_url}").unwrap()
        };
        assert_eq!(found(BTreeMap::new()), "typed");
        let given = folder.path().join("given").to_string_lossy().into_owned();
        assert_eq!(found([(CREDENTIALS_DIRECTORY.to_owned(), given)].into()), "the unit's");
    }

    #[test]
    fn dollars_that_are_not_references() {
        check("a$$b $1 $", Ok("a$b $1 $"));
        check("$${A}", Ok("${A}"));
        check("${D}", Ok("${A}$$"));
        check("${A", Err("not closed"));
        check("${}", Err("does not name a variable"));
        check("${A:=x}", Err("is not understood"));
    }
}
