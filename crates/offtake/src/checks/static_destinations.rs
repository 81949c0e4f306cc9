//! Whether the destinations of the configuration file fit the mapping files.

use offtake_mapping::Mapping;

use crate::configuration::{Configuration, StaticDestination};
use crate::outcome::Failure;

/// A failure for everything that the mappings contradict in the destinations of the file. The
/// destinations of the query are refused one by one when they are registered.
pub(super) fn find(configuration: &Configuration, mappings: &[Mapping]) -> Vec<Failure> {
    let static_ = &configuration.destinations.static_;
    static_.iter().flat_map(|d| contradictions(configuration, d, mappings)).collect()
}

fn contradictions(
    configuration: &Configuration,
    destination: &StaticDestination,
    mappings: &[Mapping],
) -> Vec<Failure> {
    let StaticDestination { tenant, name, .. } = destination;
    let label = format!("{}: destination {tenant}/{name}", configuration.file.display());
    let mut failures = Vec::new();
    for name in destination.mappings.iter().flatten() {
        if !mappings.iter().any(|mapping| mapping.name == *name) {
            let known: Vec<_> = mappings.iter().map(|mapping| mapping.name.as_str()).collect();
            let message = format!("{label}: there is no mapping named {name}");
            let remedy = format!("the mappings are {}", known.join(", "));
            failures.push(Failure::invalid(message).remedy(remedy));
        }
    }
    failures
}
