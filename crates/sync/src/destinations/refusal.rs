//! Which destinations must not be written to, and why.
//!
//! Two destinations at one place (a schema of a database) would write to the same tables. Only a
//! newcomer is refused: the destination that the registry has served at that place stays. Otherwise
//! a tenant that can add an entry of the destinations query could stop another one by naming its
//! database. Where no destination of several was served yet, it is not known whose the place is,
//! and all of them are refused.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use offtake_mapping::{Identifier, MappingSet, foreign};

use super::DestinationSpec;
use super::registry::Waiting;

/// A message names at most this many destinations.
const NAMED_MAX: usize = 3;

/// What the registry knew of a destination before this refresh.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) destination_id: i64,
    pub(super) host: String,
    pub(super) port: i32,
    pub(super) database: String,
    pub(super) schema: String,
    pub(super) shared: bool,
    pub(super) active: bool,
    /// It was not refused.
    pub(super) accepted: bool,
    /// Its last attempts failed.
    pub(super) failing: bool,
    /// Rows were written at this place.
    pub(super) mirrored: bool,
}

/// From tenant and name.
pub(super) type Standings = HashMap<(String, String), Standing>;

/// How good a claim to its place a destination has; the smallest is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// It is served there.
    Served,
    /// It is served there, and its entry now says something else about sharing.
    ServedOtherwise,
    /// It was served there, and was not named for a while.
    ServedBefore,
    /// It was accepted there, and nothing has failed so far.
    Accepted,
    New,
    /// It was never served there, and its attempts fail: perhaps it has no access to the place.
    Failing,
}

impl Claim {
    fn of(spec: &DestinationSpec, standings: &Standings) -> (Self, i64) {
        let Some(known) = standings.get(&(spec.tenant_id.clone(), spec.name.clone())) else {
            return (Self::New, i64::MAX);
        };
        let place = spec.place.registration();
        let there = (place.host, place.port, place.database, place.schema)
            == (&*known.host, known.port, &*known.database, &*known.schema);
        let same = spec.shared == known.shared;
        let claim = match known {
            _ if !there => Self::New,
            Standing { mirrored: true, active: true, .. } if same => Self::Served,
            Standing { mirrored: true, active: true, .. } => Self::ServedOtherwise,
            Standing { mirrored: true, .. } => Self::ServedBefore,
            Standing { failing: true, .. } => Self::Failing,
            Standing { accepted: true, active: true, .. } if same => Self::Accepted,
            _ => Self::New,
        };
        (claim, known.destination_id)
    }
}

/// Destinations that write to one place, by their positions in `specs`.
pub(super) type Group = Vec<usize>;

/// The places that several destinations write to, as far as not all of them may stay there whatever
/// the registry knows of them.
pub(super) fn contested(specs: &[Arc<DestinationSpec>], set: &MappingSet) -> Vec<Group> {
    let mut by_place: HashMap<_, Group> = HashMap::new();
    for (index, spec) in specs.iter().enumerate() {
        let place = spec.place.registration();
        let place = (place.host, place.port, place.database, place.schema);
        by_place.entry(place).or_default().push(index);
    }
    let groups = by_place.into_values().filter(|group| group.len() > 1);
    groups.filter(|group| !may_share(specs, group) || writes_twice(specs, group, set)).collect()
}

/// The refused destinations, by their position in `specs`, with the reason that status tells. The
/// first `of_file` are of the configuration file, which counts before the query.
pub(super) fn refusals(
    (specs, of_file): (&[Arc<DestinationSpec>], usize),
    contested: Vec<Group>,
    (set, waiting): (&MappingSet, &Waiting),
    standings: &Standings,
) -> HashMap<usize, String> {
    let mut refused = HashMap::new();
    // Destinations with the same list of mappings fit the set, or do not, for the same reason.
    let mut unfits = HashMap::new();
    for (index, spec) in specs.iter().enumerate() {
        let unfit = unfits
            .entry((&spec.mappings, spec.shared))
            .or_insert_with(|| unfit(spec, set, waiting));
        if let Some(why) = unfit {
            refused.insert(index, why.clone());
        }
    }
    for mut group in contested {
        let place = &specs[group[0]].place;
        let claims: HashMap<usize, (Claim, i64)> =
            group.iter().map(|index| (*index, Claim::of(&specs[*index], standings))).collect();
        // The same order in every daemon.
        let rank = |index: &usize| {
            let spec = &specs[*index];
            (claims[index], *index >= of_file, &spec.tenant_id, &spec.name)
        };
        group.sort_by(|one, other| rank(one).cmp(&rank(other)));
        let (schema, database) = (place.schema(), place.database());
        let place = format!("schema {} of {}", foreign(schema), foreign(&database));
        refuse_newcomers(specs, &group, &claims, &place, &mut refused);
        refuse_second_writers(specs, &group, set, &place, &mut refused);
    }
    refused
}

/// Whether two mappings of different destinations of a group write to one table.
fn writes_twice(specs: &[Arc<DestinationSpec>], group: &[usize], set: &MappingSet) -> bool {
    let lists: HashMap<_, _> =
        group.iter().map(|index| (&specs[*index].mappings, &specs[*index])).collect();
    let mut writers: HashMap<&Identifier, &str> = HashMap::new();
    let mut received = lists.into_values().flat_map(|spec| spec.received(set));
    received.any(|mapping| {
        let writer = writers.entry(&mapping.definition.target.table).or_insert(mapping.name());
        *writer != mapping.name()
    })
}

/// What speaks against the destination by itself.
fn unfit(spec: &DestinationSpec, set: &MappingSet, waiting: &Waiting) -> Option<String> {
    let unknown = |name: &&String| set.get(name).is_none() && !waiting.contains_key(*name);
    if let Some(unknown) = spec.mappings.iter().flatten().find(unknown) {
        return Some(format!("there is no mapping named {}", foreign(unknown)));
    }
    contradiction(spec, set)
}

/// Two mappings of the set that the destination would receive into one table, as the status tells
/// them.
pub fn contradiction(spec: &DestinationSpec, set: &MappingSet) -> Option<String> {
    let mut targets = BTreeMap::new();
    let twice = spec.received(set).find_map(|mapping| {
        let table = &mapping.definition.target.table;
        Some((table, targets.insert(table, mapping)?.name(), mapping.name()))
    });
    twice.map(|(table, first, second)| {
        format!(
            "it receives the mappings {first} and {second}, and both write to the table {table}; \
             list in `mappings` of this destination only one of them"
        )
    })
}

/// Refuses those of a place, the best claim first, that may not be there together with the others.
fn refuse_newcomers(
    specs: &[Arc<DestinationSpec>],
    group: &[usize],
    claims: &HashMap<usize, (Claim, i64)>,
    place: &str,
    refused: &mut HashMap<usize, String>,
) {
    let first = group[0];
    let equals = group.iter().filter(|index| claims[*index].0 == Claim::New).count();
    let label = |index: usize| specs[index].label();
    let remedy =
        "give each its own schema, or mark all of them shared (one destination per tenant)";
    let undecided = claims[&first].0 == Claim::New && equals > 1;
    if undecided && !may_share(specs, group) {
        let named: Vec<String> = group.iter().take(NAMED_MAX + 1).map(|i| label(*i)).collect();
        for index in group {
            let own = label(*index);
            let others: Vec<&str> =
                named.iter().map(String::as_str).filter(|n| *n != own).take(NAMED_MAX).collect();
            let more = match group.len() - 1 - others.len().min(group.len() - 1) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let why = format!("{own} and {}{more} write into {place}; {remedy}", others.join(", "));
            refused.insert(*index, why);
        }
        return;
    }
    let mut tenants = HashSet::from([specs[first].tenant_at_source.as_str()]);
    let holder = label(first);
    for index in &group[1..] {
        let spec = &specs[*index];
        let shares = specs[first].shared && spec.shared;
        if !(shares && tenants.insert(&spec.tenant_at_source)) {
            let why = format!(
                "{} and {holder} write into {place}, and {holder} was there first and stays; {remedy}",
                label(*index)
            );
            refused.insert(*index, why);
        }
    }
}

/// Refuses those of a place, the best claim first, that have a mapping of their own for a table
/// which another mapping fills there already.
fn refuse_second_writers(
    specs: &[Arc<DestinationSpec>],
    group: &[usize],
    set: &MappingSet,
    place: &str,
    refused: &mut HashMap<usize, String>,
) {
    let mut writers: BTreeMap<&Identifier, (&str, usize)> = BTreeMap::new();
    for index in group {
        if refused.contains_key(index) {
            continue;
        }
        let tables = || specs[*index].received(set).map(|m| (&m.definition.target.table, m.name()));
        let other = tables().find_map(|(table, mapping)| {
            let (first, holder) = writers.get(table).filter(|(first, _)| *first != mapping)?;
            Some(format!(
                "mapping {mapping} of {} and mapping {first} of {} write to the table {table} in \
                 {place}; give both the same one in `mappings`, or each a schema of its own",
                specs[*index].label(),
                specs[*holder].label()
            ))
        });
        match other {
            Some(why) => drop(refused.insert(*index, why)),
            None => writers.extend(tables().map(|(table, mapping)| (table, (mapping, *index)))),
        }
    }
}

/// Whether all of them say that they share, one destination per tenant.
fn may_share(specs: &[Arc<DestinationSpec>], group: &[usize]) -> bool {
    let mut tenants = HashSet::new();
    group
        .iter()
        .all(|index| specs[*index].shared && tenants.insert(&specs[*index].tenant_at_source))
}
