//! Beginning copies in a file: what is missing is made, and cursors are set.

use std::sync::Arc;

use offtake_mapping::ResolvedMapping;

use super::connection::{Handle, LOCK_WAIT, Open};
use super::take_up::identities;
use super::{Session, rolled_back, state, tables};
use crate::cursors::{Cursors, Identities};
use crate::destinations::{Beginning, Begun};
use crate::{Error, Settings};

/// What is needed of a [`Beginning`] in another thread.
struct Given {
    tenant_id: String,
    destination: String,
    shared: bool,
    mappings: Vec<Arc<ResolvedMapping>>,
    found: (Cursors, Identities),
    other_tenants: Vec<String>,
    to_make: bool,
    set: Cursors,
    /// The source's name and its identity.
    visit: Option<(String, String)>,
}

impl Session {
    pub(in crate::destinations) async fn begin(
        &mut self,
        beginning: &Beginning<'_>,
        settings: &Settings,
    ) -> Result<Begun, Error> {
        let Beginning { spec, mappings, found, cursors, visit } = beginning;
        let visit = visit
            .map(|visit| (visit.source.clone(), serde_json::json!(visit.identity).to_string()));
        let given = Given {
            tenant_id: spec.tenant_id.clone(),
            destination: spec.name.clone(),
            shared: spec.shared,
            mappings: mappings.to_vec(),
            found: (found.cursors.clone(), found.identities.clone()),
            other_tenants: found.other_tenants.clone(),
            to_make: found.to_make,
            set: (*cursors).clone(),
            visit,
        };
        let turn = Arc::new(self.file.turn().await);
        let lock_timeout = settings.lock_timeout;
        let work = move |handle: &mut Handle| {
            let open = match given.to_make {
                true => handle.made()?,
                false => handle.opened()?.ok_or(Error::Stale)?,
            };
            let begun = given.begin(open, lock_timeout);
            if begun.is_ok() && handle.is_moved() {
                return rolled_back(handle, Err(Error::Stale));
            }
            let begun = begun.and_then(|begun| {
                let open = handle.in_transaction()?;
                open.connection.execute_batch("commit").map_err(Error::destination)?;
                Ok(begun)
            });
            rolled_back(handle, begun)
        };
        self.caller.run(settings.statement_timeout, Some(&turn), work).await
    }
}

impl Given {
    fn begin(&self, open: &mut Open, lock_timeout: std::time::Duration) -> Result<Begun, Error> {
        open.connection.busy_timeout(lock_timeout.min(LOCK_WAIT)).map_err(Error::destination)?;
        if self.to_make {
            // Cannot be changed inside a transaction.
            let wal = "pragma journal_mode = wal";
            let mode = open.connection.query_row(wal, [], |row| row.get::<_, String>(0));
            mode.map_err(Error::destination)?;
        }
        open.connection.execute_batch("begin immediate").map_err(Error::destination)?;
        let schema = open.schema().map_err(Error::destination)?;
        let (mut cursors, mut others) = (Cursors::new(), Vec::new());
        // What a state table says that lacks columns was not taken up either.
        if state::stands(&open.connection, &schema).map_err(Error::destination)? {
            let there = state::read(&open.connection, &self.tenant_id);
            cursors = there.map_err(Error::destination)?;
            if !self.shared {
                let there = state::other_tenants(&open.connection, &self.tenant_id);
                others = there.map_err(Error::destination)?;
            }
        }
        let joined = others != self.other_tenants;
        if self.to_make {
            state::make(&open.connection).map_err(Error::destination)?;
        }
        let now = identities(open, &self.mappings)?;
        let (expected, before) = &self.found;
        let other_table = |(name, identity): (&String, &String)| {
            before.get(name).is_some_and(|before| before != identity)
        };
        if joined || cursors != *expected || now.iter().any(other_table) {
            return Err(Error::Stale);
        }
        let mut begun = Begun {
            identities: before.clone(),
            references: Vec::new(),
            cursors: expected.clone(),
            faults: Vec::new(),
        };
        let mut set = self.set.clone();
        if self.to_make {
            for mapping in &self.mappings {
                self.make_table(open, mapping, &mut begun, &mut set)?;
            }
        }
        let written = state::write(&open.connection, &self.tenant_id, &mut set);
        written.map_err(Error::destination)?;
        begun.cursors.extend(set);
        if let Some((source, identity)) = &self.visit {
            let by = (source.as_str(), identity.as_str());
            let served = state::serve(&open.connection, &self.tenant_id, by, &mut begun.cursors);
            served.map_err(Error::destination)?;
        }
        Ok(begun)
    }

    /// Behind a savepoint, so that one mapping's failing statement leaves the others their turn.
    fn make_table(
        &self,
        open: &mut Open,
        mapping: &ResolvedMapping,
        begun: &mut Begun,
        set: &mut Cursors,
    ) -> Result<(), Error> {
        let name = mapping.name().to_owned();
        open.connection.execute_batch("savepoint mapping").map_err(Error::destination)?;
        let end = match tables::ensure(open, mapping) {
            Ok(identity) => {
                if !begun.identities.contains_key(&name) {
                    tracing::info!(
                        event = "table_created",
                        tenant = self.tenant_id,
                        destination = self.destination,
                        mapping = name,
                        "created {}",
                        mapping.definition.target.table
                    );
                }
                begun.identities.insert(name, identity);
                "release mapping"
            }
            Err(problem) => {
                set.remove(&name);
                open.schema = None;
                begun.faults.push((name, problem.into_fault()?));
                "rollback to mapping; release mapping"
            }
        };
        open.connection.execute_batch(end).map_err(Error::destination)
    }
}
