//! All destinations at once: those that must be looked at one by one, and the counts of all others.
//!
//! Most destinations of a large fleet are in sync, and nothing is known of them that could say
//! otherwise. Which ones the source can tell by its indexes (`choose_unsettled.sql`); the others
//! are *settled* and only counted, so a status costs what is unsettled, however many there are.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::destination::{self, MappingFacts};
use super::judgement::{Facts, judge};
use super::{Destination, Long, Mapping, destinations_after, destinations_containing};
use crate::{Error, State, sql};

/// So many settled destinations are read at a time where only some are wanted.
const PAGE: usize = 1000;

/// Every active destination, at one moment.
pub(crate) struct Overview {
    pub(crate) unsettled: Vec<Destination>,
    settled: Vec<Settled>,
    base: Base,
}

/// Settled destinations with the same mappings.
struct Settled {
    group: Group,
    state: State,
}

#[derive(Deserialize)]
struct Group {
    mappings: Vec<String>,
    source_tables: Vec<String>,
    destinations: usize,
    /// The reason of each mapping whose fuse is blown.
    fuses: BTreeMap<String, Option<String>>,
    /// Mappings whose copies wait to be made again.
    overlooked: Vec<String>,
}

/// What holds for all settled destinations.
#[derive(Default, Deserialize)]
struct Base {
    /// Pending changes that may concern every tenant.
    pending_rows: i64,
    pending_uncounted: bool,
    /// Any destination may be concerned by changes that the poller has not seen.
    doubted: bool,
    /// By source table.
    newest: BTreeMap<String, i64>,
}

impl Group {
    /// The state of a destination of which nothing is known beyond this.
    fn judge(&self, base: &Base) -> State {
        let facts = Facts {
            mirrored_state: State::InSync.as_str().to_owned(),
            pending_rows: base.pending_rows,
            pending_uncounted: base.pending_uncounted,
            ..Facts::default()
        };
        let mapping = |name: &String| {
            let fuse = self.fuses.get(name);
            MappingFacts::settled(name, fuse, self.overlooked.contains(name))
        };
        let mappings: Vec<MappingFacts> = self.mappings.iter().map(mapping).collect();
        judge(&facts, &mappings).0
    }
}

impl Overview {
    pub(crate) async fn read(source: &Client) -> Result<Self, Error> {
        Self::read_by(source, &sql::LIST_UNSETTLED).await
    }

    /// The same for who wants those in one state only (None: in any). Of the others, not all are
    /// unsettled here that are; so this overview counts nothing.
    pub(crate) async fn read_in(source: &Client, state: Option<State>) -> Result<Self, Error> {
        match state {
            Some(state) => Self::read_by(source, sql::list_unsettled_in(state)).await,
            None => Self::read(source).await,
        }
    }

    async fn read_by(source: &Client, statement: &str) -> Result<Self, Error> {
        let overview = Self::of(&source.query(statement, &[]).await?)?;
        if !overview.base.doubted {
            return Ok(overview);
        }
        let (any, no_limit) = (None::<&str>, None::<i64>);
        let parameters: [&(dyn ToSql + Sync); 5] = [&any, &any, &any, &any, &no_limit];
        Self::of(&source.query(&*sql::LIST_DOUBTED, &parameters).await?)
    }

    fn of(rows: &[Row]) -> Result<Self, Error> {
        let (mut settled, mut base) = (Vec::new(), Base::default());
        let mut unsettled = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some(told) = row.get::<_, Option<serde_json::Value>>("settled") {
                let groups: Vec<Group> = serde_json::from_value(told)?;
                let told: Base = serde_json::from_value(row.get("base"))?;
                let state = |group: Group| Settled { state: group.judge(&told), group };
                settled = groups.into_iter().map(state).collect();
                base = told;
            }
            if row.get::<_, Option<&str>>("tenant_id").is_some() {
                unsettled.push(destination::read(row)?);
            }
        }
        Ok(Self { unsettled, settled, base })
    }

    /// Takes back that destinations are in sync where changes of one of their mappings may go by
    /// unseen.
    pub(super) fn doubt(&mut self, uncaptured: &BTreeMap<String, String>) {
        self.unsettled.iter_mut().for_each(|destination| destination.doubt(uncaptured));
        for Settled { group, state } in &mut self.settled {
            let unseen = group.mappings.iter().any(|name| uncaptured.contains_key(name));
            if *state == State::InSync && unseen {
                *state = State::Blocked;
            }
        }
    }

    /// How many are in each state; every state is listed.
    pub(super) fn states(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = super::count_states(&self.unsettled);
        for Settled { group, state } in &self.settled {
            *counts.entry(state.as_str()).or_default() += group.destinations;
        }
        counts
    }

    pub(super) fn mappings(&self) -> Vec<Mapping> {
        let mut mappings = super::summarise_mappings(&self.unsettled);
        for Settled { group, .. } in &self.settled {
            let paired = group.mappings.len() == group.source_tables.len();
            for (at, name) in group.mappings.iter().enumerate() {
                let table = group.source_tables.get(at).filter(|_| paired);
                let newest = table.and_then(|table| self.base.newest.get(table)).copied();
                let of_name = |mapping: &Mapping| mapping.name.as_str().cmp(name);
                let at = mappings.binary_search_by(of_name).unwrap_or_else(|at| {
                    mappings.insert(at, Mapping::new(name, table));
                    at
                });
                let mapping = &mut mappings[at];
                mapping.max_sequence_id = mapping.max_sequence_id.max(newest.map(Long));
                mapping.destinations += group.destinations;
                if group.overlooked.contains(name) {
                    mapping.destinations_behind += group.destinations;
                }
            }
        }
        mappings
    }

    /// The states that settled destinations are in.
    pub(crate) fn settled_states(&self) -> BTreeSet<State> {
        self.settled.iter().map(|settled| settled.state).collect()
    }

    /// What each settled destination lags behind.
    pub(crate) fn settled_lag_rows(&self) -> i64 {
        self.base.pending_rows
    }

    /// The next `limit` settled destinations, by tenant and name, after this tenant and name, that
    /// are in this state, and of which something contains this text (None: all). Without a state, or
    /// in a state that most are in, it costs a page.
    pub(crate) async fn settled_after(
        &self,
        source: &Client,
        (state, text): (Option<State>, Option<&str>),
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<Destination>, Error> {
        let is_wanted = |of: State| state.is_none_or(|state| of == state);
        let mut found = Vec::new();
        if !self.settled.iter().any(|settled| is_wanted(settled.state)) {
            return Ok(found);
        }
        let unsettled: HashSet<_> = self.unsettled.iter().map(|d| (&d.tenant, &d.name)).collect();
        let mut after = after.map(|(tenant, name)| (tenant.to_owned(), name.to_owned()));
        while found.len() < limit {
            let place = after.as_ref().map(|(tenant, name)| (tenant.as_str(), name.as_str()));
            let rows = PAGE.min(limit + 1);
            let page = match text {
                None => destinations_after(source, None, place, rows).await?,
                Some(text) => destinations_containing(source, text, place, rows).await?,
            };
            let Some(last) = page.last() else { break };
            after = Some((last.tenant.clone(), last.name.clone()));
            let settled = |d: &Destination| !unsettled.contains(&(&d.tenant, &d.name));
            found.extend(page.into_iter().filter(|d| settled(d) && is_wanted(d.state)));
        }
        found.truncate(limit);
        Ok(found)
    }
}
