//! Mappings that write to one target table.
//!
//! They may stand beside each other, for example one for customers with a database of their own and
//! one for those who share a database, as long as no destination receives both.

use std::collections::BTreeMap;

use offtake_mapping::{Identifier, Mapping, Step, scan};

use crate::configuration::{Configuration, StaticDestination};
use crate::outcome::Failure;

/// A failure for every mapping whose table another one fills, where both would meet. Of the
/// destinations query only the text is known: where it may say which mappings a destination
/// receives, its destinations are judged one by one when they are registered.
pub(super) fn find(configuration: &Configuration, mappings: &[Mapping]) -> Vec<Failure> {
    let mut targets: BTreeMap<&Identifier, Vec<&Mapping>> = BTreeMap::new();
    let mut failures = Vec::new();
    for mapping in mappings {
        let table = &mapping.target.table;
        let others = targets.entry(table).or_default();
        // Two of one name are told as such.
        let met = others.iter().filter(|other| other.name != mapping.name).find_map(|other| {
            Some((*other, meeting(configuration, [&other.name, &mapping.name])?))
        });
        if let Some((other, where_)) = met {
            let (name, file) = (&other.name, other.file.display());
            let message = format!(
                "the mapping `{name}` ({file}) also writes to the table `{table}`, and {where_}"
            );
            let remedy = "give each mapping a `target.table` of its own, or list in `mappings` of \
                          each destination only one of them";
            let told = mapping.mistake(&Step::keys(&["target", "table"]), message, remedy);
            failures.push(Failure::invalid(told.finding()).remedy(told.remedy));
        }
        others.push(mapping);
    }
    failures
}

/// Where the rows of two mappings would meet; None: nowhere, as far as the file tells.
fn meeting(configuration: &Configuration, [first, second]: [&str; 2]) -> Option<String> {
    let destinations = &configuration.destinations;
    let label = |d: &StaticDestination| format!("{}/{}", d.tenant, d.name);
    let static_ = &destinations.static_;
    if let Some(both) = static_.iter().find(|d| d.receives(first) && d.receives(second)) {
        return Some(format!("destination {} receives both", label(both)));
    }
    let place = |d: &StaticDestination| (d.place.database(), d.place.schema().to_owned());
    for one in static_.iter().filter(|d| d.receives(first)) {
        let other = static_.iter().find(|d| d.receives(second) && place(d) == place(one));
        if let Some(other) = other {
            return Some(format!(
                "destinations {} and {} receive one each in the same schema",
                label(one),
                label(other)
            ));
        }
    }
    match &destinations.query {
        Some(query) if !may_list_mappings(query) => Some(
            "every destination of destinations.query receives both, because the query has no \
             column `mappings`"
                .to_owned(),
        ),
        None if static_.is_empty() => {
            Some("a destination receives both unless it lists its `mappings`".to_owned())
        }
        _ => None,
    }
}

/// Whether the query may return a column `mappings`.
fn may_list_mappings(query: &str) -> bool {
    let tokens = scan::tokens(query);
    tokens.iter().any(|token| token.symbol('*') || token.text == "mappings")
}
