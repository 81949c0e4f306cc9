//! How `check --connect` prints what it found: one line for each mapping that is fine, then what
//! needs attention, then the warnings.

use offtake_mapping::foreign;
use serde_json::json;

use super::Answer;
use super::stores::StoreAnswer;
use super::webhooks::WebhookAnswer;
use crate::checks::mapping_report::MappingReport;
use crate::command_line;
use crate::commands::printing::{say, say_json};
use crate::context::Context;

/// Of several destinations that have the same to tell, so many are named.
const NAMED_MAX: usize = 3;

pub(super) fn print(
    context: &Context,
    arguments: &command_line::Check,
    reports: &[MappingReport],
    warnings: &[String],
    (answers, webhooks, stores): (&[Answer], &[WebhookAnswer], &[StoreAnswer]),
) {
    if arguments.json {
        let list: Vec<_> = answers
            .iter()
            .map(|a| json!({ "tenant": a.tenant_id, "name": a.name, "error": a.obstacle }))
            .collect();
        let told: Vec<_> = webhooks
            .iter()
            .map(|w| json!({ "tenant": w.tenant_id, "name": w.name, "error": w.obstacle }))
            .collect();
        let tried: Vec<_> = stores
            .iter()
            .map(
                |s| json!({ "name": s.name, "error": s.failure.as_ref().map(ToString::to_string) }),
            )
            .collect();
        say_json(json!({
            "mappings": reports, "warnings": warnings, "destinations": list, "webhooks": told,
            "stores": tried,
        }));
        return;
    }
    if arguments.verbose {
        reports.iter().for_each(|report| say(format!("{report}\n")));
    } else {
        let (fine, others): (Vec<_>, Vec<_>) = reports.iter().partition(|report| report.fine());
        fine.iter().for_each(|report| say(format!("fine     {}", report.line())));
        for report in others {
            say(format!("look at  {}", report.line()));
            for (what, which) in together(differences(report)) {
                say(format!("           in {which}: {what}"));
            }
        }
    }
    let place = context.configuration.source.url.place();
    say(format!("{} mapping(s) can run on {place}", reports.len()));
    let reached = answers.iter().filter(|a| a.obstacle.is_none()).count();
    say(format!("{reached} of {} destination(s) answer", answers.len()));
    if !webhooks.is_empty() {
        let fine = webhooks.iter().filter(|webhook| webhook.obstacle.is_none()).count();
        say(format!("{fine} of {} webhook(s) can be told; nothing was sent", webhooks.len()));
    }
    if !stores.is_empty() {
        let fine = stores.iter().filter(|store| store.failure.is_none()).count();
        say(format!("{fine} of {} object store(s) can be written, read and listed", stores.len()));
    }
    say_warnings(warnings);
}

/// The warnings, and how many there are.
pub(super) fn say_warnings(warnings: &[String]) {
    warnings.iter().for_each(|warning| say(format!("warning: {warning}")));
    if !warnings.is_empty() {
        say(format!("{} warning(s)", warnings.len()));
    }
}

/// What the destinations have to tell of the mapping's table, each with its destination.
fn differences(report: &MappingReport) -> impl Iterator<Item = (String, String)> {
    let tables = report.destinations.iter().filter(|table| !table.differences.is_empty());
    tables
        .map(|t| (t.differences.join("; "), format!("{}/{}", foreign(&t.tenant), foreign(&t.name))))
}

/// (what, destination) pairs, with the destinations that have the same to tell in one text.
pub(in crate::commands) fn together(
    pairs: impl Iterator<Item = (String, String)>,
) -> Vec<(String, String)> {
    let mut causes: Vec<(String, Vec<String>)> = Vec::new();
    for (what, destination) in pairs {
        match causes.iter_mut().find(|(known, _)| *known == what) {
            Some((_, destinations)) => destinations.push(destination),
            None => causes.push((what, vec![destination])),
        }
    }
    causes.into_iter().map(|(what, destinations)| (what, named(&destinations))).collect()
}

fn named(destinations: &[String]) -> String {
    match destinations {
        [one] => format!("destination {one}"),
        few if few.len() <= NAMED_MAX => format!("destinations {}", few.join(", ")),
        many => format!("{} destinations ({}, …)", many.len(), many[..NAMED_MAX].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cause_is_one_line_however_many_destinations_have_it() {
        let pairs = (1..=83).map(|n| ("refused".to_owned(), format!("t{n}/main")));
        let told = together(pairs.chain([("closed".to_owned(), "u/main".to_owned())]));
        let expect = [
            ("refused", "83 destinations (t1/main, t2/main, t3/main, …)"),
            ("closed", "destination u/main"),
        ];
        let found: Vec<_> = told.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(found, expect);
    }
}
