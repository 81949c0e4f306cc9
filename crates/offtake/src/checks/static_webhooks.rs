//! Whether the webhooks of the configuration file fit the mapping files.

use offtake_mapping::{Diagnostic, Mapping};

use crate::configuration::{Configuration, StaticWebhook};
use crate::outcome::Failure;

/// A failure for every mapping that a webhook of the file names and that there is not. The webhooks
/// of the query are refused one by one when they are registered.
pub(super) fn find(configuration: &Configuration, mappings: &[Mapping]) -> Vec<Failure> {
    let static_ = &configuration.webhooks.static_;
    static_.iter().flat_map(|webhook| contradictions(webhook, mappings)).collect()
}

fn contradictions(webhook: &StaticWebhook, mappings: &[Mapping]) -> Vec<Failure> {
    let StaticWebhook { spec, mappings_at } = webhook;
    let mut failures = Vec::new();
    for (received, place) in spec.mappings.iter().flatten().zip(mappings_at) {
        if mappings.iter().any(|mapping| mapping.name == *received) {
            continue;
        }
        let known: Vec<_> = mappings.iter().map(|mapping| mapping.name.as_str()).collect();
        let label = spec.label();
        let message = format!("webhook {label}: there is no mapping named {received}");
        let told = Diagnostic { message, ..place.clone() };
        let remedy = format!("the mappings are {}", known.join(", "));
        failures.push(Failure::invalid(told.finding()).remedy(remedy));
    }
    failures
}
