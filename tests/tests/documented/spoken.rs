//! Commands in sentences, and in the examples of `--help`.

use clap::CommandFactory as _;
use clap::Parser as _;
use clap::error::ErrorKind;
use offtake::command_line::CommandLine;

use crate::checked::problem_of;
use crate::pages::{blocks, commands, pages, prose};

/// What is wrong with the words behind `offtake`. A sentence may name a command without what it
/// needs.
pub(crate) fn wrong(words: &[String], whole: bool) -> Option<String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let error = CommandLine::try_parse_from([&["offtake"], &words[..]].concat()).err()?;
    let incomplete = [
        ErrorKind::MissingRequiredArgument,
        ErrorKind::MissingSubcommand,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
        ErrorKind::InvalidValue,
        // `--tenants N`.
        ErrorKind::ValueValidation,
    ];
    let fine = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion].contains(&error.kind())
        || !whole && incomplete.contains(&error.kind()) && !unknown_value(&error);
    (!fine).then(|| format!("offtake {}: {error}", words.join(" ")))
}

/// `InvalidValue` stands for an option without its value, which a sentence may leave out, and for
/// a value that is none of those that there are.
fn unknown_value(error: &clap::Error) -> bool {
    error.kind() == ErrorKind::InvalidValue
        && error.get(clap::error::ContextKind::InvalidValue).is_some_and(
            |value| !matches!(value, clap::error::ContextValue::String(text) if text.is_empty()),
        )
}

/// With all that is in brackets, and without it.
fn both_forms(span: &str) -> [String; 2] {
    let with = span.replace(['[', ']'], "");
    let mut without = String::new();
    let mut depth = 0;
    for c in span.chars() {
        depth += i32::from(c == '[');
        if depth == 0 {
            without.push(c);
        }
        depth -= i32::from(c == ']');
    }
    [with, without]
}

#[test]
fn every_command_in_a_sentence_exists_with_its_options() {
    let (mut looked_at, mut refused) = (0, Vec::new());
    for page in pages() {
        for span in prose(&page).split('`').skip(1).step_by(2) {
            let span = span.split_whitespace().collect::<Vec<_>>().join(" ");
            if !span.starts_with("offtake ") {
                continue;
            }
            looked_at += 1;
            for form in both_forms(span.trim_end_matches(" …")) {
                let words = &commands(&form).remove(0)[1..];
                let words: Vec<String> =
                    words.iter().take_while(|word| *word != ">").cloned().collect();
                refused.extend(wrong(&words, false).map(|error| format!("{page}: {error}")));
            }
        }
    }
    assert!(looked_at > 150, "only {looked_at} commands were found");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn every_target_and_package_in_a_sentence_exists() {
    let (mut looked_at, mut refused) = (0, Vec::new());
    for page in pages() {
        for span in prose(&page).split('`').skip(1).step_by(2) {
            let span = span.split_whitespace().collect::<Vec<_>>().join(" ");
            // A placeholder for any row of the benchmark.
            let typed = span.replace("--only NAME", "--only update");
            let words = commands(&typed).into_iter().next().unwrap_or_default();
            // Variables of the shell go before the command.
            let words: Vec<String> =
                words.into_iter().skip_while(|word| word.starts_with("OFFTAKE_")).collect();
            if words.len() > 1 && ["make", "cargo"].contains(&words[0].as_str()) {
                looked_at += 1;
                let problem = problem_of(&words, &page);
                refused.extend(problem.map(|problem| format!("{page}: {span}: {problem}")));
            }
        }
    }
    assert!(looked_at > 15, "only {looked_at} commands were found");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn every_example_of_the_help_can_be_typed() {
    fn examples(command: &clap::Command, all: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.lines().map(str::trim).filter(|line| line.starts_with("offtake "));
        all.extend(lines.map(str::to_owned));
        command.get_subcommands().for_each(|one| examples(one, all));
    }
    let mut all = Vec::new();
    examples(&CommandLine::command(), &mut all);
    assert!(all.len() > 40, "only {} examples were found", all.len());
    for line in all {
        let words = &commands(&line).remove(0)[1..];
        let words: Vec<String> = words.iter().take_while(|word| *word != ">").cloned().collect();
        assert_eq!(wrong(&words, true), None, "{line}");
    }
}

/// Without a verb, the verbs are told; and each of them has an example.
#[test]
fn every_verb_has_an_example() {
    let command = CommandLine::command();
    let mut without = Vec::new();
    for one in command.get_subcommands().filter(|one| one.has_subcommands()) {
        let told = CommandLine::try_parse_from(["offtake", one.get_name()]).err().unwrap();
        assert_eq!(told.kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, "{told}");
        for verb in one.get_subcommands() {
            let line = format!("offtake {} {}", one.get_name(), verb.get_name());
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            if !help.contains(&line) {
                without.push(line);
            }
        }
    }
    assert_eq!(without, [""; 0]);
}

/// The check can fail: at a command, an option and a value that do not exist.
#[test]
fn what_does_not_exist_is_found() {
    for line in ["statsu", "status --tenants T", "fuse stop sync", "webhook list --name x --colour"]
    {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        assert!(wrong(&words, false).is_some(), "{line}");
    }
    assert!(wrong(&["pause".to_owned()], true).is_some());
    let blocks: usize = pages().iter().map(|page| blocks(page).len()).sum();
    assert!(blocks > 8, "only {blocks} blocks of commands were found");
}
