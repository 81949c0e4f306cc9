//! Brings the tenants' ids into the source's own spelling: `A0EEBC99-…` becomes `a0eebc99-…` where
//! the tenant is a uuid, `007` becomes `7` where it is an integer.
//!
//! Rows are found by value, and changes by text: a tenant's changes stand in the log under the
//! text that its column prints. An id that is spelled otherwise would get its rows by the initial
//! copy and never a change. See [`offtake_mapping::equality`]. The id as it is configured stays the
//! name that people, the registry and `_offtake_state` use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use offtake_mapping::{MappingSet, ResolvedMapping, equality, literal};
use offtake_postgres::TEXT_FORMAT;
use offtake_sync::destinations::DestinationSpec;
use offtake_webhooks::WebhookSpec;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::destination_list::{DestinationList, RefusedDestination};
use super::webhook_list::RefusedWebhook;

/// Ids per statement, so that no statement grows with the number of tenants.
const IDS_AT_ONCE: usize = 1000;

/// Each id as a type prints it, or why the type does not read it.
type Spellings<'a> = BTreeMap<&'a str, Result<String, String>>;

/// Sets [`DestinationSpec::tenant_at_source`] of every usable destination. A destination whose id
/// the tenant's type of one of its mappings does not read, or two of its mappings print
/// differently, is refused with the reason.
///
/// `source` must not be in a transaction.
pub(crate) async fn spell(
    source: &Client,
    list: &mut DestinationList,
    set: &MappingSet,
) -> Result<(), tokio_postgres::Error> {
    spell_lists(source, vec![list], set).await
}

/// [`spell`] of many short lists, with few statements.
pub(crate) async fn spell_lists(
    source: &Client,
    lists: Vec<&mut DestinationList>,
    set: &MappingSet,
) -> Result<(), tokio_postgres::Error> {
    let mut together: Vec<&mut DestinationList> = Vec::new();
    let mut ids = 0;
    for list in lists {
        ids += list.usable.len();
        together.push(list);
        if ids >= IDS_AT_ONCE {
            spell_together(source, std::mem::take(&mut together), set).await?;
            ids = 0;
        }
    }
    spell_together(source, together, set).await
}

async fn spell_together(
    source: &Client,
    lists: Vec<&mut DestinationList>,
    set: &MappingSet,
) -> Result<(), tokio_postgres::Error> {
    let receivers: Vec<Receiver<'_>> = lists
        .iter()
        .flat_map(|list| &list.usable)
        .map(|spec| Receiver {
            what: "destination",
            tenant_id: &spec.tenant_id,
            mappings: named_by(set, |mapping| spec.receives(mapping)),
        })
        .collect();
    let mut spelt = spell_all(source, &receivers).await?.into_iter();
    for list in lists {
        let specs = std::mem::take(&mut list.usable);
        for (mut spec, spelt) in specs.into_iter().zip(spelt.by_ref()) {
            match spelt {
                Ok(tenant) => {
                    spec.tenant_at_source = tenant;
                    list.usable.push(spec);
                }
                Err(why) => {
                    let DestinationSpec { tenant_id, name, .. } = spec;
                    list.refused.push(RefusedDestination { tenant_id, name, why });
                }
            }
        }
    }
    Ok(())
}

/// The same for webhooks. Returns those that can be told, and those that cannot.
pub(crate) async fn spell_webhooks(
    source: &Client,
    specs: Vec<WebhookSpec>,
    set: &MappingSet,
) -> Result<(Vec<WebhookSpec>, Vec<RefusedWebhook>), tokio_postgres::Error> {
    let receivers: Vec<Receiver<'_>> = specs
        .iter()
        .map(|spec| Receiver {
            what: "webhook",
            tenant_id: &spec.tenant_id,
            mappings: named_by(set, |mapping| spec.receives(mapping)),
        })
        .collect();
    let spelt = spell_all(source, &receivers).await?;
    let (mut usable, mut refused) = (Vec::with_capacity(specs.len()), Vec::new());
    for (spec, spelt) in specs.into_iter().zip(spelt) {
        match spelt {
            Ok(tenant_at_source) => usable.push(WebhookSpec { tenant_at_source, ..spec }),
            Err(why) => {
                let WebhookSpec { tenant_id, name, .. } = spec;
                refused.push(RefusedWebhook { tenant_id, name, why });
            }
        }
    }
    Ok((usable, refused))
}

/// What receives rows of one tenant.
struct Receiver<'a> {
    /// As people call it.
    what: &'static str,
    tenant_id: &'a str,
    /// Those that name its tenant.
    mappings: Vec<&'a Arc<ResolvedMapping>>,
}

/// For each receiver the spelling that all of its mappings have for its tenant.
async fn spell_all(
    source: &Client,
    receivers: &[Receiver<'_>],
) -> Result<Vec<Result<String, String>>, tokio_postgres::Error> {
    let mut ids: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for receiver in receivers {
        for mapping in &receiver.mappings {
            ids.entry(&mapping.tenant_type).or_default().insert(receiver.tenant_id);
        }
    }
    let mut spellings: BTreeMap<&str, Spellings<'_>> = BTreeMap::new();
    for (tenant_type, ids) in ids {
        spellings.insert(tenant_type, spell_as(source, tenant_type, ids).await?);
    }
    Ok(receivers.iter().map(|receiver| of_one(receiver, &spellings)).collect())
}

/// One id as each type prints it by which a mapping of the set names its tenants. `source` must not
/// be in a transaction.
pub(crate) async fn spellings_of(
    source: &Client,
    set: &MappingSet,
    id: &str,
) -> Result<BTreeSet<String>, tokio_postgres::Error> {
    let mappings = set.mappings().iter().filter(|mapping| !mapping.for_everyone());
    let types: BTreeSet<&str> = mappings.map(|mapping| mapping.tenant_type.as_str()).collect();
    let mut spellings = BTreeSet::new();
    for tenant_type in types {
        let spelt = spell_as(source, tenant_type, BTreeSet::from([id])).await?;
        spellings.extend(spelt.into_values().flatten());
    }
    Ok(spellings)
}

/// The mappings that are received and that name their tenants.
fn named_by(set: &MappingSet, receives: impl Fn(&str) -> bool) -> Vec<&Arc<ResolvedMapping>> {
    set.mappings().iter().filter(|m| !m.for_everyone() && receives(m.name())).collect()
}

/// The one spelling that all mappings of a receiver have for its tenant.
fn of_one(
    receiver: &Receiver<'_>,
    spellings: &BTreeMap<&str, Spellings<'_>>,
) -> Result<String, String> {
    let (id, what) = (receiver.tenant_id, receiver.what);
    let mut first: Option<(&str, &str, &str)> = None;
    for mapping in &receiver.mappings {
        let (name, tenant_type) = (mapping.name(), mapping.tenant_type.as_str());
        let found = spellings.get(tenant_type).and_then(|ids| ids.get(id));
        match (found, first) {
            (Some(Err(why)), _) => {
                return Err(format!(
                    "{id} cannot be a tenant of mapping {name}, which names its tenants by \
                     {tenant_type}: {why}; correct the id, or list in `mappings` of this \
                     {what} only those that have this tenant"
                ));
            }
            (Some(Ok(spelt)), None) => first = Some((spelt, name, tenant_type)),
            (Some(Ok(spelt)), Some((other, other_name, other_type))) if spelt != other => {
                return Err(format!(
                    "mapping {other_name} prints this tenant as `{other}` ({other_type}) and \
                     mapping {name} as `{spelt}` ({tenant_type}), so that one id cannot name the \
                     changes of both; give `tenant` and tenant_id of the two the same type, or \
                     give each mapping a {what} of its own"
                ));
            }
            _ => {}
        }
    }
    Ok(first.map_or(id, |(spelt, ..)| spelt).to_owned())
}

/// Every id as `tenant_type` prints it.
async fn spell_as<'a>(
    source: &Client,
    tenant_type: &str,
    ids: BTreeSet<&'a str>,
) -> Result<Spellings<'a>, tokio_postgres::Error> {
    let mut spellings = Spellings::new();
    let ids: Vec<&str> = ids.into_iter().collect();
    // One id that the type does not read fails the whole statement; its half is asked again.
    let mut open: Vec<&[&str]> = ids.chunks(IDS_AT_ONCE).collect();
    while let Some(some) = open.pop() {
        match read(source, tenant_type, some).await {
            Ok(found) => {
                for (id, found) in some.iter().zip(found) {
                    let unlike = || "no value of that type is spelled so".to_owned();
                    spellings.insert(id, found.ok_or_else(unlike));
                }
            }
            Err(error) if !refuses_value(&error) => return Err(error),
            Err(error) => match some {
                [id] => {
                    let message = offtake_postgres::Error::from(error).message();
                    spellings.insert(id, Err(message));
                }
                _ => {
                    let (one, other) = some.split_at(some.len() / 2);
                    open.extend([one, other]);
                }
            },
        }
    }
    Ok(spellings)
}

/// Reads some ids as the type and prints them; None for one that the type would have to cut.
async fn read(
    source: &Client,
    tenant_type: &str,
    ids: &[&str],
) -> Result<Vec<Option<String>>, tokio_postgres::Error> {
    let (spelt, same) = equality::spelling("given.id", tenant_type);
    let ids: Vec<String> = ids.iter().map(|id| literal(id)).collect();
    // Several statements in one message are one transaction, and the settings end with it.
    let statements = format!(
        "{TEXT_FORMAT} select case when {same} then {spelt} end \
           from unnest(array[{}]::text[]) with ordinality given (id, at) order by given.at",
        ids.join(", ")
    );
    let answer = source.simple_query(&statements).await?;
    let rows = answer.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
        _ => None,
    });
    Ok(rows.collect())
}

/// Whether the error is about a value (class 22: data exceptions; 54: it is too long).
fn refuses_value(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        code.code().get(..2).is_some_and(|class| ["22", "23", "54"].contains(&class))
    })
}
