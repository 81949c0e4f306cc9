//! One webhook as configuration file or webhooks query name it.

use std::sync::Arc;
use std::time::Duration;

use offtake_mapping::compose::Accepted;
use offtake_mapping::{MappingSet, ResolvedMapping, foreign, foreign_within, suggestion};
use sha2::{Digest, Sha256};

use crate::{Endpoint, Payload, type_name};

/// Of the names that no mapping has, so many are shown, and of each so much: tenants may write them.
const NAMES_SHOWN_MAX: usize = 5;
const NAME_SHOWN_CHARS_MAX: usize = 64;

/// What a webhook is and how it is to be told. It has secrets, which `Debug` does not print.
#[derive(Debug, Clone)]
pub struct WebhookSpec {
    pub tenant_id: String,
    /// The tenant as the source prints it, and so as the change log has it.
    pub tenant_at_source: String,
    pub name: String,
    pub endpoint: Arc<Endpoint>,
    /// None: all.
    pub mappings: Option<Vec<String>>,
    pub upserted: bool,
    pub deleted: bool,
    /// Which rows it is told of.
    pub accepted: Arc<Accepted>,
    /// Rows that were there before it was registered, or that a resync may have lost, are told too.
    pub backfill: bool,
    pub payload: Payload,
    /// Events in one request, at most.
    pub batch_events: usize,
    /// How long a request waits for more events.
    pub batch_wait: Duration,
    /// Requests in flight.
    pub concurrency: usize,
    pub on_event_error: OnEventError,
}

/// What follows from an event that the receiver refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnEventError {
    /// It is set aside, and the others go on.
    #[default]
    Quarantine,
    /// The webhook waits at it.
    Halt,
}

impl WebhookSpec {
    /// `tenant/name`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.tenant_id, self.name)
    }

    /// Whether it is told of the mapping with this name.
    pub fn receives(&self, mapping: &str) -> bool {
        self.mappings.as_ref().is_none_or(|names| names.iter().any(|name| name == mapping))
    }

    /// The mappings of the set that it is told of.
    pub fn received<'a>(
        &'a self,
        set: &'a MappingSet,
    ) -> impl Iterator<Item = &'a Arc<ResolvedMapping>> {
        set.mappings().iter().filter(|mapping| self.receives(mapping.name()))
    }

    /// Decides which rows of the mapping the webhook has been told: with another one, it is told a
    /// resync.
    pub fn version(&self, mapping: &ResolvedMapping) -> String {
        if *self.accepted == Accepted::default() {
            return mapping.version.as_str().to_owned();
        }
        let digest = Sha256::digest(self.accepted.fingerprint());
        let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{} {digest}", mapping.version)
    }

    /// Everything that decides how it is told, as far as a worker must begin again when it changes.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let settings = |spec: &Self| {
            (
                spec.tenant_at_source.clone(),
                spec.mappings.clone(),
                (spec.upserted, spec.deleted, spec.backfill),
                spec.payload,
                (spec.batch_events, spec.batch_wait, spec.concurrency),
                spec.on_event_error,
            )
        };
        self.endpoint.fingerprint() == other.endpoint.fingerprint()
            && self.endpoint.timeout() == other.endpoint.timeout()
            && self.accepted == other.accepted
            && settings(self) == settings(other)
    }

    /// Why it is told of less than its `mappings` list. It is told of the others all the same:
    /// another daemon may have the files of those mappings.
    pub fn shortfall(&self, set: &MappingSet) -> Option<String> {
        let known = || set.mappings().iter().map(|mapping| mapping.name());
        let is_known = |name: &str| known().any(|known| known == name);
        let listed = self.mappings.iter().flatten().map(String::as_str);
        let unknown: Vec<&str> = listed.filter(|name| !is_known(name)).collect();
        let names: Vec<_> = unknown
            .iter()
            .take(NAMES_SHOWN_MAX)
            .map(|name| foreign_within(name, NAME_SHOWN_CHARS_MAX))
            .collect();
        let remedy = suggestion(unknown.first()?, "mappings", known().collect::<Vec<_>>());
        let names = names.join(", ");
        Some(format!(
            "it is told of the others only: `mappings` lists {names}, which no mapping is named; \
             {remedy}"
        ))
    }

    /// Why nothing can be told of these mappings.
    pub fn refusal(&self, mappings: &[Arc<ResolvedMapping>]) -> Option<String> {
        // Where some are known it is told of those: another daemon may have the files of the others.
        if let (Some(wanted), []) = (&self.mappings, mappings) {
            let wanted: Vec<_> = wanted.iter().map(|name| foreign(name)).collect();
            return Some(format!(
                "no mapping has a name that its `mappings` list ({}); correct it",
                wanted.join(", ")
            ));
        }
        let mut names: Vec<(String, &str)> = Vec::with_capacity(mappings.len());
        for mapping in mappings {
            let (told_as, name) = (type_name(mapping.name()), mapping.name());
            if told_as == "offtake" {
                return Some(
                    "the mapping offtake would have events of the type offtake.…, which are \
                     Offtake's own; give it another name, or leave it out of `mappings`"
                        .to_owned(),
                );
            }
            if let Some((_, other)) = names.iter().find(|(known, _)| *known == told_as) {
                return Some(format!(
                    "the mappings {other} and {name} would both have events of the type \
                     {told_as}.…; rename one, or leave one out of `mappings`"
                ));
            }
            if let Some(column) = self.accepted.missing_in(mapping) {
                return Some(format!(
                    "its filter names the column {column}, which the mapping {name} does not have; \
                     correct it, or list in `mappings` only those that have the column"
                ));
            }
            names.push((told_as, name));
        }
        None
    }
}
