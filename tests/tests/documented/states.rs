//! Every state, cause and finding that a person is shown has a row that says what to do.

use std::collections::BTreeSet;

use offtake_admin::State;
use offtake_admin::webhooks::WebhookState;

use crate::{read, root};

/// The names in the first cells of the table under a heading; a cell may have several.
fn named(page: &str, heading: &str, columns: &str) -> BTreeSet<String> {
    let text = read(page);
    let (_, section) = text.split_once(&format!("\n{heading}\n")).expect("the heading is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let (_, table) = section.split_once(&format!("\n| {columns} |")).expect("the table is there");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn every_state_says_what_to_do() {
    let columns = "state | what it means | what to do";
    let states: BTreeSet<String> = State::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(named("docs/operations.md", "## States of a destination", columns), states);
    let states: BTreeSet<String> = WebhookState::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(named("docs/webhooks.md", "### States of a webhook", columns), states);
}

#[test]
fn every_cause_of_why_says_what_to_do() {
    let text = read("crates/admin/src/why/cause.rs");
    let (_, variants) = text.split_once("pub enum Cause {").expect("it is there");
    let variants = variants.split("\n}").next().unwrap_or_default().lines().map(str::trim);
    let variants = variants.filter(|line| !line.is_empty() && !line.starts_with("//"));
    let snake = |name: &str| {
        let mut snake = String::new();
        for c in name.trim_end_matches(',').chars() {
            if c.is_uppercase() && !snake.is_empty() {
                snake.push('_');
            }
            snake.extend(c.to_lowercase());
        }
        snake
    };
    let causes: BTreeSet<String> = variants.map(snake).collect();
    assert!(causes.len() > 15, "{causes:?}");
    let columns = "cause | what it waits for | what to do";
    assert_eq!(named("docs/operations.md", "## Why a customer is not up to date", columns), causes);
}

#[test]
fn every_finding_of_doctor_is_explained() {
    let mut sources = read("crates/offtake/src/commands/doctor.rs");
    for file in std::fs::read_dir(root().join("crates/offtake/src/commands/doctor")).unwrap() {
        sources.push_str(&std::fs::read_to_string(file.unwrap().path()).unwrap());
    }
    let found = ["critical", "warning", "note"].into_iter().flat_map(|severity| {
        let call = format!("Finding::{severity}(");
        let calls = sources.split(&call).skip(1);
        let calls = calls.filter_map(|call| call.trim_start().strip_prefix('"'));
        calls.filter_map(|call| call.split('"').next()).collect::<Vec<_>>()
    });
    let found: BTreeSet<String> = found.map(str::to_owned).collect();
    assert!(found.len() > 15, "{found:?}");
    let explained = named("docs/operations.md", "## What hurts, or will", "code | what was found");
    let missing: Vec<_> = found.difference(&explained).collect();
    assert!(missing.is_empty(), "docs/operations.md does not explain {missing:?}");
    let gone: Vec<_> =
        explained.iter().filter(|code| !sources.contains(&format!("\"{code}\""))).collect();
    assert!(gone.is_empty(), "docs/operations.md explains {gone:?}, and doctor has none");
}
