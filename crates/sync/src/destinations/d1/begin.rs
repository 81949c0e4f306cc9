//! Beginning copies in a D1 database: what is missing is made, and cursors are set.
//!
//! Tables are made by requests of their own, before the one that sets cursors: so one mapping's
//! failing statement leaves the others their turn. A worker that turns out to be stale has made a
//! table that was missing, and no more.

use std::sync::Arc;

use offtake_mapping::ResolvedMapping;
use offtake_postgres::Fault;

use super::call::{Failed, Statement};
use super::look::{Looked, nonce_of};
use super::sqlite::tables::{self, Problem};
use super::{Session, Trouble, fence, sql, sqlite};
use crate::Error;
use crate::cursors::Cursors;
use crate::destinations::{Beginning, Begun, OTHERS_PAGE, STATE_TABLE};

impl Session {
    pub(in crate::destinations) async fn begin(
        &self,
        beginning: &Beginning<'_>,
    ) -> Result<Begun, Error> {
        let Beginning { spec, mappings, found, cursors, visit } = beginning;
        let mut begun = Begun {
            identities: found.identities.clone(),
            references: Vec::new(),
            cursors: found.cursors.clone(),
            faults: Vec::new(),
        };
        let mut set: Cursors = (*cursors).clone();
        self.prove().await.map_err(Error::Destination)?;
        if found.to_make {
            let looked = self.look(mappings).await.map_err(Error::Destination)?;
            if !looked.state_stands {
                let made = self.make_state(&spec.tenant_id, &looked).await;
                made.map_err(Error::Destination)?;
            }
            self.make_tables(beginning, looked, &mut begun, &mut set).await?;
        }
        let (tenant, id) = (spec.tenant_id.as_str(), sqlite::state::write_id());
        let mut batch = vec![fence::cursors(tenant, &found.cursors, &id)];
        if !spec.shared {
            let others = serde_json::json!(found.other_tenants).to_string();
            let guard = Statement::new(sql::GUARD_TENANTS).with(tenant).with(others);
            batch.push(guard.with(OTHERS_PAGE.to_string()));
        }
        batch.extend(fence::tables(mappings, &begun.identities));
        batch.extend(fence::moves(tenant, &mut set, &id));
        let forget = "delete from \"_offtake_refused\" where tenant_id = ?1 and mapping = ?2";
        batch
            .extend(set.keys().map(|name| Statement::new(forget).with(tenant).with(name.as_str())));
        begun.cursors.extend(set);
        if let Some(visit) = visit {
            let identity = serde_json::json!(visit.identity).to_string();
            let serve = Statement::new(sqlite::sql::WRITE_SERVING).with(tenant);
            batch.push(serve.with(visit.source.as_str()).with(identity).with(id.as_str()));
            begun.cursors.values_mut().for_each(|cursor| cursor.written.clone_from(&id));
        }
        self.run(&batch).await?;
        Ok(begun)
    }

    /// The state table and the two beside it. What a state table says that lacks columns was not
    /// taken up, so it goes.
    async fn make_state(&self, tenant_id: &str, looked: &Looked) -> Result<(), Trouble> {
        let add = |column: &String| {
            Statement::new(format!("alter table \"{STATE_TABLE}\" add column {column}"))
        };
        let tables = [sqlite::sql::CREATE_STATE_TABLE, sql::CREATE_GUARD, sql::CREATE_REFUSED];
        let mut batch: Vec<_> = tables.into_iter().map(Statement::new).collect();
        batch.extend(looked.state_lacks.iter().map(add));
        if !looked.state_lacks.is_empty() {
            let forget = sqlite::state::forget_tenant(tenant_id);
            batch.push(Statement::new(forget));
        }
        match self.run(&batch).await {
            Err(failed) if !is_made_already(&failed) => Err(failed.into_trouble()),
            _ => Ok(()),
        }
    }

    /// Makes the tables that are missing, and the columns that tables lack.
    async fn make_tables(
        &self,
        beginning: &Beginning<'_>,
        looked: Looked,
        begun: &mut Begun,
        set: &mut Cursors,
    ) -> Result<(), Error> {
        let mappings = beginning.mappings;
        let mut failed = Vec::new();
        let mut made = false;
        for mapping in mappings {
            match self.make_table(mapping, &looked).await {
                Ok(something) => made |= something,
                Err(problem) => failed.push((mapping.name().to_owned(), problem)),
            }
        }
        let looked = match made {
            true => self.look(mappings).await.map_err(Error::Destination)?,
            false => looked,
        };
        for mapping in mappings {
            let name = mapping.name();
            let failure = failed.iter().position(|(failed, _)| failed == name);
            let examined = match failure {
                Some(at) => Err(failed.swap_remove(at).1),
                None => looked.examine(mapping),
            };
            let nonce = examined.map(|found| found.and_then(|(table, _)| nonce_of(table, mapping)));
            match nonce {
                // Dropped again meanwhile.
                Ok(None) => return Err(Error::Stale),
                Ok(Some(nonce)) => match begun.identities.get(name) {
                    Some(before) if *before != nonce => return Err(Error::Stale),
                    Some(_) => {}
                    None => {
                        tracing::info!(
                            event = "table_created",
                            tenant = beginning.spec.tenant_id,
                            destination = beginning.spec.name,
                            mapping = name,
                            "created {}",
                            mapping.definition.target.table
                        );
                        begun.identities.insert(name.to_owned(), nonce);
                    }
                },
                Err(problem) => {
                    set.remove(name);
                    begun.identities.remove(name);
                    begun.faults.push((name.to_owned(), problem.into_fault()?));
                }
            }
        }
        Ok(())
    }

    /// Whether something was made.
    async fn make_table(
        &self,
        mapping: &Arc<ResolvedMapping>,
        looked: &Looked,
    ) -> Result<bool, Problem> {
        let statements = match looked.examine(mapping)? {
            None => tables::making(mapping).to_vec(),
            Some(_) => {
                let shape = looked.shape(mapping);
                shape.map_or_else(Vec::new, |shape| tables::widen(mapping, shape))
            }
        };
        if statements.is_empty() {
            return Ok(false);
        }
        let batch: Vec<_> = statements.into_iter().map(Statement::new).collect();
        match self.run(&batch).await {
            Ok(_) => Ok(true),
            // The next look tells.
            Err(failed) if is_made_already(&failed) => Ok(true),
            Err(failed) => Err(Problem::Statement(failed.into_trouble())),
        }
    }
}

/// Another worker, or the request itself that came twice, has made it.
fn is_made_already(failed: &Failed) -> bool {
    let Failed::Trouble(trouble) = failed else { return false };
    let says = |text: &&str| trouble.message.contains(*text);
    trouble.fault == Fault::Schema && ["already exists", "duplicate column"].iter().any(says)
}
