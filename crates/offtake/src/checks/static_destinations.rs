//! Whether the destinations of the configuration file fit the mapping files.

use offtake_mapping::{Diagnostic, Mapping};

use crate::configuration::{Configuration, StaticDestination};
use crate::outcome::Failure;

/// A failure for everything that the mappings contradict in the destinations of the file. The
/// destinations of the query are refused one by one when they are registered.
pub(super) fn find(configuration: &Configuration, mappings: &[Mapping]) -> Vec<Failure> {
    let static_ = &configuration.destinations.static_;
    static_.iter().flat_map(|d| contradictions(d, mappings)).collect()
}

fn contradictions(destination: &StaticDestination, mappings: &[Mapping]) -> Vec<Failure> {
    let StaticDestination { tenant, name, mappings_at, .. } = destination;
    let mut failures = Vec::new();
    for (received, place) in destination.mappings.iter().flatten().zip(mappings_at) {
        if mappings.iter().any(|mapping| mapping.name == *received) {
            continue;
        }
        let known: Vec<_> = mappings.iter().map(|mapping| mapping.name.as_str()).collect();
        let message = format!("destination {tenant}/{name}: there is no mapping named {received}");
        let told = Diagnostic { message, ..place.clone() };
        let remedy = format!("the mappings are {}", known.join(", "));
        failures.push(Failure::invalid(told.finding()).remedy(remedy));
    }
    failures
}
