//! Beginning copies in a Postgres destination: what is missing is made, and cursors are set.

use offtake_mapping::ResolvedMapping;

use super::Session;
use super::state;
use super::tables::{self, Site};
use crate::cursors::Cursors;
use crate::destinations::{Beginning, Begun, DestinationSpec};
use crate::{Error, Settings};

impl Session {
    pub(in crate::destinations) async fn begin(
        &mut self,
        beginning: &Beginning<'_>,
        settings: &Settings,
    ) -> Result<Begun, Error> {
        let begun = self.make_and_set(beginning, settings).await;
        if let Err(Error::Stale | Error::Making) = &begun {
            // The destination did not fail, so the session is used again.
            self.connection.batch_execute("rollback").await.map_err(Error::destination)?;
        }
        begun.map_err(|error| self.explain(error))
    }

    async fn make_and_set(
        &self,
        beginning: &Beginning<'_>,
        settings: &Settings,
    ) -> Result<Begun, Error> {
        let Beginning { spec, mappings, found, .. } = beginning;
        let client = &self.connection;
        self.open_transaction(settings).await.map_err(Error::destination)?;
        if found.to_make || !spec.shared {
            state::lock_making(client, &self.schema).await?;
        }
        if found.to_make {
            state::make(client, &self.schema).await.map_err(Error::destination)?;
        }
        let locked =
            state::lock(client, &self.frame, &self.schema, &spec.tenant_id, mappings).await;
        let locked = locked.map_err(Error::destination)?;
        let other_table = |(name, identity): (&String, &String)| {
            found.identities.get(name).is_some_and(|taken_up| taken_up != identity)
        };
        let mut joined = false;
        if !spec.shared {
            let others = state::other_tenants(client, &self.schema, &spec.tenant_id).await;
            joined = others.map_err(Error::destination)? != found.other_tenants;
        }
        if joined || locked.cursors != found.cursors || locked.identities.iter().any(other_table) {
            return Err(Error::Stale);
        }
        let mut begun = Begun {
            identities: found.identities.clone(),
            references: found.references.clone(),
            cursors: found.cursors.clone(),
            faults: Vec::new(),
        };
        let mut set = beginning.cursors.clone();
        if found.to_make {
            for mapping in *mappings {
                self.make_table(spec, mapping, &mut begun, &mut set).await?;
            }
            self.make_rest(beginning, &mut begun, &mut set).await?;
            begun.references = tables::references(client, &self.schema, mappings)
                .await
                .map_err(Error::destination)?;
        }
        if !set.is_empty() {
            let converts = self.converts();
            let written = state::write(
                client,
                &self.frame,
                &self.schema,
                &spec.tenant_id,
                (&mut set, converts),
                None,
            );
            written.await.map_err(Error::destination)?;
            begun.cursors.extend(set);
        }
        if let Some(visit) = beginning.visit {
            let tenant_id = &spec.tenant_id;
            let served = state::serve(client, &self.schema, tenant_id, visit, &mut begun.cursors);
            served.await.map_err(Error::destination)?;
        }
        client.batch_execute("commit").await.map_err(Error::destination)?;
        Ok(begun)
    }

    /// Tries again what could not be made, for as long as that makes some of it: a table may refer
    /// to one that was made after it.
    async fn make_rest(
        &self,
        beginning: &Beginning<'_>,
        begun: &mut Begun,
        set: &mut Cursors,
    ) -> Result<(), Error> {
        let mut before = usize::MAX;
        while (1..before).contains(&begun.faults.len()) {
            before = begun.faults.len();
            for (name, _) in std::mem::take(&mut begun.faults) {
                if let Some(cursor) = beginning.cursors.get(&name) {
                    set.insert(name.clone(), cursor.clone());
                }
                for mapping in beginning.mappings.iter().filter(|mapping| mapping.name() == name) {
                    self.make_table(beginning.spec, mapping, begun, set).await?;
                }
            }
        }
        Ok(())
    }

    async fn make_table(
        &self,
        spec: &DestinationSpec,
        mapping: &ResolvedMapping,
        begun: &mut Begun,
        set: &mut Cursors,
    ) -> Result<(), Error> {
        let client = &self.connection;
        let site = Site { spec, schema: &self.schema, user: &self.user };
        client.batch_execute("savepoint mapping").await.map_err(Error::destination)?;
        let end = match tables::ensure(client, &site, mapping).await {
            Ok(identity) => {
                begun.identities.insert(mapping.name().to_owned(), identity);
                "release savepoint mapping"
            }
            Err(problem) => {
                begun.faults.push((mapping.name().to_owned(), problem.into_fault()?));
                set.remove(mapping.name());
                "rollback to savepoint mapping"
            }
        };
        client.batch_execute(end).await.map_err(Error::destination)
    }
}
