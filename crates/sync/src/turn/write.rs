//! A batch's write: the destination's transaction, and the rows that it leaves out.

use std::sync::Arc;

use offtake_loops::failpoint;
use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::Apply;

use super::{Faults, Outcomes, Turn, row_key};
use crate::apply::{self, Applied, RefusedRow};
use crate::destinations::Link;
use crate::read::Batch;
use crate::requests::{self, Refusal};
use crate::state::{self, Cursors};
use crate::{Error, prepare};

impl Turn<'_> {
    /// The destination's transaction. `next` keeps the old cursor of a mapping that fails.
    pub(super) async fn apply(
        &self,
        link: &mut Link,
        batch: &Batch,
        cursors: &Cursors,
        next: &mut Cursors,
    ) -> Result<(Outcomes, Faults), Error> {
        let spec = self.registered.spec.clone();
        let client = &link.connection;
        let begin = prepare::begin(client, &spec, &self.context.settings);
        let (begun, found) = tokio::join!(begin, state::lock(client, &spec, &self.mappings));
        begun.map_err(Error::destination)?;
        let found = found.map_err(Error::destination)?;
        let pooled = found.backend != Some(client.server_process());
        let replaced = |m: &Arc<ResolvedMapping>| {
            found.identities.get(m.name()) != link.identities.get(m.name())
        };
        if found.cursors != *cursors || self.mappings.iter().any(replaced) {
            client.batch_execute("rollback").await.map_err(Error::destination)?;
            return Err(Error::Stale);
        }
        failpoint("sync.after_begin").await.map_err(Error::Destination)?;
        let mut outcomes = Vec::with_capacity(batch.parts.len());
        let (mut faults, mut made) = (Vec::new(), Vec::new());
        for part in &batch.parts {
            self.set_rows_aside(&part.mapping, &part.refused).await?;
            if part.changed.is_empty() && part.chunk.is_none() {
                outcomes.push(Some(Applied::default()));
                continue;
            }
            let version = &part.mapping.version;
            let statements = Apply::new(&part.mapping, &spec.schema, &spec.tenant_id);
            let work = apply::part(client, &statements, part, link.staged.get(version));
            // Sent together, the savepoint first.
            let (saved, mut applied) =
                tokio::join!(biased; client.batch_execute("savepoint mapping"), work);
            saved.map_err(Error::destination)?;
            if applied.as_ref().is_ok_and(|(applied, _)| !applied.refused.is_empty())
                && link.staged.remove(version).is_some()
            {
                // The staging table refuses what the target did when it was made: a new one tells
                // whether it still does.
                client
                    .batch_execute("rollback to savepoint mapping")
                    .await
                    .map_err(Error::destination)?;
                applied = apply::part(client, &statements, part, None).await;
            }
            match applied {
                Ok((applied, staging)) => {
                    self.set_rows_aside(&part.mapping, &applied.refused).await?;
                    made.push((version.clone(), staging));
                    outcomes.push(Some(applied));
                }
                Err(Error::Mapping { mapping, fault }) => {
                    client
                        .batch_execute("rollback to savepoint mapping")
                        .await
                        .map_err(Error::destination)?;
                    next.insert(mapping.clone(), cursors[&mapping].clone());
                    faults.push((mapping, fault));
                    outcomes.push(None);
                }
                Err(error) => return Err(error),
            }
            failpoint("sync.mid_batch").await.map_err(Error::Destination)?;
        }
        failpoint("sync.before_cursor").await.map_err(Error::Destination)?;
        let ours = self
            .mappings
            .iter()
            .filter_map(|m| Some((m.name().to_owned(), next.get(m.name())?.clone())))
            .collect();
        state::write(client, &spec.schema, &spec.tenant_id, &ours)
            .await
            .map_err(Error::destination)?;
        failpoint("sync.before_commit").await.map_err(Error::Destination)?;
        if pooled {
            // The next transaction may be in another server process; a statement that stayed in
            // this one would be in the way of another daemon's of the same name.
            made.clear();
        }
        client.batch_execute("commit").await.map_err(Error::destination)?;
        failpoint("sync.after_commit").await.map_err(Error::Destination)?;
        link.staged.extend(made);
        Ok((outcomes, faults))
    }

    /// Refused rows go into quarantine before the commit that leaves them out.
    async fn set_rows_aside(
        &self,
        mapping: &ResolvedMapping,
        refused: &[RefusedRow],
    ) -> Result<(), Error> {
        if refused.is_empty() {
            return Ok(());
        }
        let spec = &self.registered.spec;
        tracing::warn!(
            event = "rows_quarantined",
            tenant = spec.tenant_id,
            destination = spec.name,
            mapping = mapping.name(),
            rows = refused.len(),
            sqlstate = refused[0].sqlstate,
            "{} rows of mapping {} do not arrive at {}; see `offtake quarantine list`",
            refused.len(),
            mapping.name(),
            spec.label()
        );
        let rows: Vec<Refusal> = refused
            .iter()
            .map(|row| Refusal {
                row_key: row_key(mapping, &row.key),
                sqlstate: row.sqlstate.clone(),
                error: row.error.clone(),
            })
            .collect();
        requests::quarantine(&self.context.pool, self.claim.destination_id, mapping.name(), &rows)
            .await
    }
}
