//! Taking up a Postgres destination: facts only, in one transaction that writes nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use offtake_mapping::ResolvedMapping;

use super::state;
use super::tables::{self, Site};
use super::{Session, Trouble};
use crate::cursors::Identities;
use crate::destinations::{Copied, DestinationSpec, OtherTenant, Standing, TakenUp};
use crate::{Error, Settings, sql};

impl Session {
    pub(in crate::destinations) async fn take_up(
        &self,
        spec: &DestinationSpec,
        mappings: &[Arc<ResolvedMapping>],
        settings: &Settings,
    ) -> Result<TakenUp, Error> {
        self.facts(spec, mappings, settings).await.map_err(|error| self.explain(error))
    }

    async fn facts(
        &self,
        spec: &DestinationSpec,
        mappings: &[Arc<ResolvedMapping>],
        settings: &Settings,
    ) -> Result<TakenUp, Error> {
        let client = &self.connection;
        self.open_transaction(settings).await.map_err(Error::destination)?;
        let found = state::find(client, &self.schema).await.map_err(Error::destination)?;
        self.converts.store(found.converts, Ordering::Relaxed);
        let mut facts = TakenUp {
            cursors: Default::default(),
            identities: Identities::new(),
            incomplete: Vec::new(),
            to_make: !found.table || !found.serving || found.auditable,
            faults: Vec::new(),
            references: Vec::new(),
            other_tenants: Vec::new(),
            served: None,
        };
        if found.table {
            let read = state::read_there(client, &self.schema, &spec.tenant_id);
            facts.cursors = read.await.map_err(Error::destination)?;
            if !spec.shared {
                let others = state::other_tenants(client, &self.schema, &spec.tenant_id);
                facts.other_tenants = others.await.map_err(Error::destination)?;
            }
            let served = state::served(client, &self.schema, &spec.tenant_id);
            facts.served = served.await.map_err(Error::destination)?;
        }
        for mapping in mappings {
            self.examine(spec, mapping, &mut facts).await?;
        }
        facts.references =
            tables::references(client, &self.schema, mappings).await.map_err(Error::destination)?;
        client.batch_execute("commit").await.map_err(Error::destination)?;
        Ok(facts)
    }

    /// Behind a savepoint, so that one mapping's failing statement leaves the others their turn.
    async fn examine(
        &self,
        spec: &DestinationSpec,
        mapping: &ResolvedMapping,
        facts: &mut TakenUp,
    ) -> Result<(), Error> {
        let client = &self.connection;
        let site = Site { spec, schema: &self.schema, user: &self.user };
        // Sent together, the savepoint first.
        let (saved, examined) = tokio::join!(
            biased;
            client.batch_execute("savepoint mapping"),
            tables::examine(client, &site, mapping)
        );
        saved.map_err(Error::destination)?;
        let end = match examined {
            Ok(examined) => {
                if examined.incomplete {
                    facts.incomplete.push(mapping.name().to_owned());
                }
                facts.to_make |= !examined.ready;
                let name = mapping.name().to_owned();
                facts.identities.extend(examined.identity.map(|identity| (name, identity)));
                "release savepoint mapping"
            }
            Err(problem) => {
                facts.faults.push((mapping.name().to_owned(), problem.into_fault()?));
                "rollback to savepoint mapping"
            }
        };
        client.batch_execute(end).await.map_err(Error::destination)
    }

    pub(in crate::destinations) async fn others(
        &self,
        tenant_id: &str,
        mappings: &[Arc<ResolvedMapping>],
        after: Option<&(String, String)>,
        settings: &Settings,
    ) -> Result<Vec<OtherTenant>, Error> {
        let client = &self.connection;
        let read = async {
            self.open_transaction(settings).await?;
            let found = state::find(client, &self.schema).await?;
            let others = if found.table {
                state::others(client, &self.schema, tenant_id, mappings, after).await?
            } else {
                Vec::new()
            };
            client.batch_execute("commit").await?;
            Ok(others)
        };
        read.await.map_err(|error: tokio_postgres::Error| self.explain(Error::destination(error)))
    }

    pub(in crate::destinations) async fn table_of(
        &self,
        mapping: &ResolvedMapping,
    ) -> Result<Copied, Trouble> {
        let table = format!("{}.{}", self.schema.sql(), mapping.definition.target.table.sql());
        let rows = self.connection.query(sql::DESCRIBE_COPY, &[&table]).await?;
        let Some(row) = rows.first() else {
            return Ok(Copied { standing: Standing::Absent, columns: Vec::new() });
        };
        let ours = row.try_get::<_, Option<&str>>("mark")? == Some(&tables::mark(mapping));
        let (names, types): (Vec<String>, Vec<String>) =
            (row.try_get("columns")?, row.try_get("types")?);
        Ok(Copied {
            standing: if ours { Standing::Ours } else { Standing::Foreign },
            columns: names.into_iter().zip(types).collect(),
        })
    }
}
