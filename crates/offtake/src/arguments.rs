//! The command line as messages repeat it: without what may be a secret.
//!
//! An operator may type a connection string at the wrong place. A message that repeats it puts the
//! password into the terminal's history and into the log of the job.

use std::borrow::Cow;
use std::ffi::OsString;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::command_line::CommandLine;

/// Stands in place of an argument that is not repeated.
const MASK: &str = "***";

/// Reads the command line. Where it is wrong, the process ends with the usage's exit code.
pub fn parse() -> CommandLine {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match CommandLine::try_parse_from(&arguments) {
        Ok(command_line) => command_line,
        Err(error) => {
            let texts: Vec<Cow<str>> = arguments.iter().map(|a| a.to_string_lossy()).collect();
            let told = error.render().to_string();
            match masked(&told, &texts) {
                Some(masked) if error.kind() != ErrorKind::DisplayHelp => {
                    eprint!("{masked}");
                    std::process::exit(error.exit_code());
                }
                _ => error.exit(),
            }
        }
    }
}

/// The message without the arguments that may be secrets; None where it repeats none.
fn masked(told: &str, arguments: &[Cow<str>]) -> Option<String> {
    let mut secret: Vec<&str> = arguments
        .iter()
        .map(|argument| match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => value,
            _ => argument,
        })
        .filter(|value| looks_secret(value))
        .collect();
    // The longest first: another may be a part of it.
    secret.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let mut masked = told.to_owned();
    for value in secret {
        masked = masked.replace(value, MASK);
    }
    (masked != told).then_some(masked)
}

/// The argument, or `***` where it may hold a password.
pub fn shown(argument: &str) -> Cow<'_, str> {
    if looks_secret(argument) { MASK.into() } else { offtake_mapping::foreign(argument) }
}

/// Whether the text looks like a connection string of any form. Ids and paths seldom do; one that
/// does is only not repeated.
fn looks_secret(text: &str) -> bool {
    // The signs at the end of a text in Base64 assign nothing.
    let assigns = text.trim_end_matches('=').contains('=');
    let colons = text.matches(':').count();
    assigns || text.contains(';') || colons > 1 || colons == 1 && text.contains(['@', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_a_connection_string_is_repeated() {
        let check = |arguments: &[&str]| {
            let line = [&["offtake"], arguments].concat();
            let error = CommandLine::try_parse_from(&line).unwrap_err();
            let texts: Vec<Cow<str>> = line.iter().map(|text| Cow::from(*text)).collect();
            let told = error.render().to_string();
            let told = masked(&told, &texts).unwrap_or(told);
            assert!(!told.contains("Canary") && told.contains("error:"), "{told}");
        };
        for form in [
            "postgres://u:Canary@h/d",
            "host=h password=Canary",
            "Server=h;Pwd=Canary",
            "jdbc:postgresql://h/d?password=Canary",
            "postgres:/u:Canary@h/d",
            "u:Canary@h/d",
            "h:5432:d:u:Canary",
            "PGPASSWORD=Canary",
        ] {
            check(&["run", form]);
            check(&[form]);
            check(&["check", "--conect", form]);
            check(&["check", &format!("--conect={form}")]);
            check(&["pause", "--tenant", "a", "--reason", "x", "--for", form]);
            check(&["pause", "--tenant", "a", "--reason", "x", &format!("--for={form}")]);
            assert_eq!(shown(form), MASK);
        }
        assert_eq!(shown("acme-7"), "acme-7");
        assert_eq!(shown("joe@example.com"), "joe@example.com");
        assert_eq!(shown("tenant:acme"), "tenant:acme");
        assert_eq!(shown("deploy/offtake.yaml"), "deploy/offtake.yaml");
    }
}
