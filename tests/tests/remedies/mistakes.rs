//! A mistake in a file, and how what is printed of it is followed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use offtake_tests::printed::{between, remedy};

use super::{offtake_in, told};

pub(super) struct Mistake<'a> {
    pub(super) file: &'a str,
    /// The other files, by name and text.
    pub(super) beside: &'a [(&'a str, &'a str)],
    /// The file's text up to the mistake, and behind it.
    pub(super) before: &'a str,
    pub(super) behind: &'a str,
    /// The text with the mistake. A `§` stands before and behind what the message points at;
    /// without them it need not point at a place.
    pub(super) wrong: &'a str,
    /// A part of the message.
    pub(super) says: &'a str,
    pub(super) follow: &'a Follow,
}

/// How a remedy is followed.
pub(super) enum Follow {
    /// What is wrong is replaced by the text between these two in the remedy.
    Write(&'static str, &'static str),
    /// What is wrong is replaced by what the command prints that the remedy has in back quotes.
    Run,
    /// The variable that it names gets this value.
    Set(&'static str),
    /// The file of this name is made.
    Make(&'static str),
    /// The remedy has these words; a person who reads them writes this instead of `wrong`.
    Understand(&'static str, &'static str),
}

impl Mistake<'_> {
    fn whole(&self, middle: &str) -> String {
        format!("{}{middle}{}", self.before, self.behind)
    }

    /// What the message begins with: the file and, where it is marked, line and column.
    fn place(&self) -> String {
        let Some((before, _)) = self.wrong.split_once('§') else { return self.file.to_owned() };
        let before = format!("{}{before}", self.before);
        let line = 1 + before.matches('\n').count();
        let column = 1 + before.rsplit('\n').next().unwrap().chars().count();
        format!("{}:{line}:{column}: ", self.file)
    }

    /// Does what is said. The file's new text; a variable is set, or a file made, beside it.
    fn follow(
        &self,
        told: &str,
        folder: &Path,
        variables: &mut BTreeMap<String, String>,
    ) -> String {
        let remedy = remedy(told);
        let marked = self.wrong.split('§').nth(1).unwrap_or_default();
        let replaced = |by: &str| self.whole(&self.wrong.replace(&format!("§{marked}§"), by));
        match self.follow {
            Follow::Write(before, after) => replaced(between(remedy, before, after)),
            Follow::Run => {
                let words: Vec<&str> = between(remedy, "`", "`").split(' ').collect();
                let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
                replaced(String::from_utf8(output.stdout).unwrap().trim())
            }
            Follow::Set(value) => {
                variables.insert(between(remedy, "set ", ",").to_owned(), (*value).to_owned());
                replaced(marked)
            }
            Follow::Make(name) => {
                std::fs::write(folder.join(name), "3d\n").unwrap();
                replaced(marked)
            }
            Follow::Understand(words, instead) => {
                assert!(remedy.contains(words), "`{words}` is not in: {told}");
                self.whole(instead)
            }
        }
    }
}

/// The mistake is told, alone and at its place, and is gone once the remedy was followed.
pub(super) fn mend(mistake: &Mistake<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    };
    mistake.beside.iter().for_each(|(name, text)| write(name, text));
    let mut variables = BTreeMap::new();
    let check = |text: &str, variables: &BTreeMap<String, String>| {
        write(mistake.file, text);
        told(&offtake_in(folder.path(), variables, &["check"]))
    };
    let wrong = mistake.whole(&mistake.wrong.replace('§', ""));
    let (code, message) = check(&wrong, &variables);
    assert_eq!(code, 78, "{wrong}: {message}");
    let begins = format!("offtake: {}", mistake.place());
    assert!(message.starts_with(&begins), "{wrong}: {begins}: {message}");
    assert!(message.contains(mistake.says), "{wrong}: {message}");
    assert_eq!(message.matches("remedy: ").count(), 1, "one mistake: {message}");
    let mended = mistake.follow(&message, folder.path(), &mut variables);
    let (code, still) = check(&mended, &variables);
    assert_eq!((code, still.as_str()), (0, ""), "{message}\nfollowed: {mended}");
}
