//! `offtake completions` and `offtake manual`: made from the definition of the command line, so
//! they never differ from `--help`. And `offtake alerts`: the rules of this version.

use std::io;

use clap::CommandFactory as _;

use super::printing::{say, say_exact};
use crate::command_line::{Alerts, CommandLine, Completions, Manual};
use crate::outcome::{Exit, Failure};

const RULES: &str = include_str!("../../../../deploy/prometheus/rules.yml");

/// Where the links in [`RULES`] lead to.
const RUNBOOKS: &str = "https://offtake.example/docs/alerts.md";

const PROMETHEUS_RULE: &str = "\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: offtake
  labels:
    app.kubernetes.io/name: offtake
spec:
";

pub(super) fn alerts(arguments: &Alerts) -> Exit {
    let (version, runbooks) = (env!("CARGO_PKG_VERSION"), &arguments.runbooks);
    say_exact(format!("# The alerts of Offtake {version}, printed by `offtake alerts`."));
    let groups = RULES.find("\ngroups:").map_or(RULES, |at| &RULES[at + 1..]).trim_end();
    let groups = groups.replace(RUNBOOKS, runbooks);
    if !arguments.kubernetes {
        say_exact(groups);
        return Exit::Done;
    }
    let indented = groups.lines().map(|line| match line {
        "" => "\n".to_owned(),
        line => format!("  {line}\n"),
    });
    say_exact(format!("{PROMETHEUS_RULE}{}", indented.collect::<String>().trim_end()));
    Exit::Done
}

pub(super) fn completions(arguments: &Completions) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut CommandLine::command(), "offtake", &mut script);
    say_exact(String::from_utf8_lossy(&script).trim_end());
    Exit::Done
}

pub(super) fn manual(arguments: &Manual) -> Result<Exit, Failure> {
    let folder = &arguments.folder;
    let written = if folder.is_dir() {
        clap_mangen::generate_to(CommandLine::command(), folder)
    } else {
        Err(io::Error::from(io::ErrorKind::NotADirectory))
    };
    written.map_err(|error| {
        let shown = folder.to_string_lossy();
        let shown = crate::arguments::shown(&shown);
        Failure::new(Exit::Failed, format!("cannot write the manual into {shown}"))
            .because(error.to_string())
            .remedy("name an existing folder that this user may write to")
    })?;
    say(format!("wrote offtake.1 and a page for each command into {}", folder.display()));
    Ok(Exit::Done)
}
