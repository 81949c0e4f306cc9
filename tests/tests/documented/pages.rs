//! The documents, their blocks of commands, and the words of a command.

use std::path::PathBuf;

use crate::{read, root};

/// What a fence may say of the block in it. Commands are in blocks of the kind `sh`.
const KINDS: [&str; 9] = ["", "ini", "js", "json", "python", "sh", "sql", "text", "yaml"];

/// One block of commands.
pub(crate) struct Block {
    pub(crate) page: String,
    pub(crate) text: String,
}

/// The pages that tell people what to type.
pub(crate) fn pages() -> Vec<String> {
    let mut pages: Vec<String> =
        ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "tests/load/README.md"]
            .map(Into::into)
            .into();
    let files = std::fs::read_dir(root().join("docs")).unwrap();
    let files = files.map(|file| PathBuf::from(file.unwrap().file_name()));
    let files = files.filter(|file| file.extension().is_some_and(|ending| ending == "md"));
    pages.extend(files.map(|file| format!("docs/{}", file.display())));
    pages.sort();
    pages
}

/// The blocks of commands of a page, in its order.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let (text, mut blocks) = (read(page), Vec::new());
    let mut inside: Option<(String, String)> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), inside.take()) {
            (Some(_), Some((kind, text))) => {
                if kind == "sh" {
                    blocks.push(Block { page: page.to_owned(), text });
                }
            }
            (Some(info), None) => {
                let kind = info.split(' ').next().unwrap_or_default();
                assert!(KINDS.contains(&kind), "{page}: commands are in blocks of `sh`: {line}");
                inside = Some((kind.to_owned(), String::new()));
            }
            (None, Some((kind, text))) => inside = Some((kind, format!("{text}{line}\n"))),
            (None, None) => {}
        }
    }
    blocks
}

/// The page without its blocks.
pub(crate) fn prose(page: &str) -> String {
    let (text, mut inside, mut kept) = (read(page), false, String::new());
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        if !inside && !fence {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// The commands of a block as words: comments are left out, lines that end with a backslash are
/// joined, and a pipeline is several commands. The text of a here-document belongs to no command.
pub(crate) fn commands(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    let (mut lines, mut commands) = (joined.lines(), Vec::new());
    while let Some(line) = lines.next() {
        let words = words(line);
        if let Some(end) = words.iter().find_map(|word| word.strip_prefix("<<")) {
            let _ = lines.by_ref().find(|line| *line == end);
        }
        let parts = words.split(|word| word == "|");
        commands.extend(parts.filter(|part| !part.is_empty()).map(<[String]>::to_vec));
    }
    commands
}

/// The words of one line, as a shell reads them: without quotes, with what is substituted as it
/// stands there.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    let mut depth = 0;
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) if depth == 0 => (quote, begun) = (Some(c), true),
            ('#', None) if !begun && depth == 0 => break,
            (' ', None) if depth == 0 => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (c, _) => {
                depth += i32::from(c == '(') - i32::from(c == ')');
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

#[test]
fn lines_are_read_as_a_shell_reads_them() {
    let text = "# about it\n\
                install /dev/stdin x <<'END'\nnot a command\nEND\n\
                a --b \"c d\" \\\n  --e='f g' # comment\n\
                make X=\"--list\" | k \"$(openssl rand 1)\" 'q'\n";
    let found: Vec<String> = commands(text).iter().map(|words| words.join("|")).collect();
    let expected = [
        "install|/dev/stdin|x|<<END",
        "a|--b|c d|--e=f g",
        "make|X=--list",
        "k|$(openssl rand 1)|q",
    ];
    assert_eq!(found, expected);
}
