//! One write for many tenants of a place that they share: one transaction that compares, applies
//! and moves the cursors of all of them.
//!
//! It does what is simple, and only as a whole: the rows of changed keys, in tables that take them.
//! Where anything else is met, nothing is written, and the caller writes for fewer tenants, in the
//! end for each alone.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use offtake_loops::failpoint;
use offtake_mapping::compose::postgres::Apply;
use offtake_reading::{Chunk, Part, Rows};

use super::Session;
use super::apply::{self, Checks, Manner};
use super::copies::Staging;
use super::state::Locked;
use super::states;
use super::write::{after_a_mapping, unknown};
use crate::cursors::Cursors;
use crate::destinations::{Applied, TenantWrite};
use crate::ownership::Visit;
use crate::{Error, Settings};

/// What became of a group's write.
pub(crate) struct GroupWritten {
    /// The cursors that stand there now, one per member; None: this member was left out.
    pub(crate) members: Vec<Option<Cursors>>,
    /// Of all members and mappings together.
    pub(crate) applied: Applied,
    /// False: no tenants can be written for together here. Nothing was written.
    pub(crate) fit: bool,
}

/// Who can be written for.
enum Held {
    /// One for each member: its cursors are locked, and as its batch was read for.
    Members(Vec<bool>),
    /// A table alters what is written to it, so that rows must be looked at one by one. Or a pooler
    /// is in between: what this transaction prepares would stay in another session's process.
    Unfit,
}

impl Session {
    pub(in crate::destinations) async fn write_group(
        &mut self,
        writes: &[TenantWrite<'_>],
        visits: &[Option<&Visit>],
        settings: &Settings,
    ) -> Result<GroupWritten, Error> {
        self.group(writes, visits, settings).await.map_err(|error| self.explain(error))
    }

    async fn group(
        &mut self,
        writes: &[TenantWrite<'_>],
        visits: &[Option<&Visit>],
        settings: &Settings,
    ) -> Result<GroupWritten, Error> {
        let found = self.hold(writes, settings).await?;
        let fit = matches!(found, Held::Members(_));
        let held = match found {
            Held::Members(held) => held,
            Held::Unfit => vec![false; writes.len()],
        };
        let Some(first) = writes.iter().zip(&held).find_map(|(of, held)| held.then_some(of)) else {
            self.connection.batch_execute("rollback").await.map_err(Error::destination)?;
            let members = writes.iter().map(|_| None).collect();
            return Ok(GroupWritten { members, applied: Applied::default(), fit });
        };
        failpoint("sync.after_begin").await.map_err(Error::destination)?;
        let ours: Vec<&TenantWrite<'_>> =
            writes.iter().zip(&held).filter_map(|(of, held)| held.then_some(of)).collect();
        let tenants: Vec<&str> = ours.iter().map(|of| of.tenant_at_source).collect();
        let (mut applied, mut made, mut end) = (Applied::default(), Vec::new(), String::new());
        for (at, mapping) in first.mappings.iter().enumerate() {
            let Some(part) = combined(&ours, at) else { continue };
            let statements = Apply::of_tenants(mapping, &self.schema, &tenants);
            let statements = statements.converting(self.converts());
            let staging: Option<&Staging> = self.staged.get(&mapping.version);
            let manner = Manner { checks: Checks::AtOnce, alters: false, staging, divides: false };
            let done = apply::part(&self.connection, &statements, &part, manner).await?;
            applied.upserted += done.applied.upserted;
            applied.deleted += done.applied.deleted;
            made.push((mapping.version.clone(), done.staging));
            end.push_str(&done.end);
            after_a_mapping().await?;
        }
        failpoint("sync.before_cursor").await.map_err(Error::destination)?;
        failpoint("sync.before_commit").await.map_err(Error::destination)?;
        let ours_of = |of: &&TenantWrite<'_>| -> Cursors {
            let cursor = |name: &str| Some((name.to_owned(), of.next.get(name)?.clone()));
            of.mappings.iter().filter_map(|m| cursor(m.name())).collect()
        };
        let mut next: Vec<Cursors> = ours.iter().map(ours_of).collect();
        let mut moved: Vec<(&str, &mut Cursors)> =
            ours.iter().map(|of| of.tenant_id).zip(&mut next).collect();
        let visits = visits.iter().zip(&held).filter_map(|(of, held)| held.then_some(*of));
        let visits: Vec<Option<&Visit>> = visits.collect();
        // Sent together, as for a single tenant.
        let (ended, moved) = tokio::join!(
            biased;
            self.connection.batch_execute(&end),
            states::write(
                &self.connection,
                &self.frame,
                &self.schema,
                (&mut moved, &visits),
                "commit"
            )
        );
        ended.and(moved).map_err(|error| Error::Destination(unknown(error)))?;
        failpoint("sync.after_commit").await.map_err(Error::destination)?;
        self.staged.extend(made);
        // What is there of mappings that the tenant no longer has stays as it is.
        let stand = ours.iter().zip(next).map(|(of, moved)| {
            let mut all = of.next.clone();
            all.extend(moved);
            all
        });
        let mut stand = stand.collect::<Vec<_>>().into_iter();
        let members = held.iter().map(|held| held.then(|| stand.next()).flatten()).collect();
        Ok(GroupWritten { members, applied, fit })
    }

    /// Opens the transaction and locks the members' cursors. Says of each member whether they are
    /// those that its batch was read for.
    async fn hold(
        &mut self,
        writes: &[TenantWrite<'_>],
        settings: &Settings,
    ) -> Result<Held, Error> {
        let Some(first) = writes.first() else { return Ok(Held::Members(Vec::new())) };
        let tenants: Vec<&str> = writes.iter().map(|of| of.tenant_id).collect();
        let lock =
            states::lock(&self.connection, &self.frame, &self.schema, &tenants, first.mappings);
        // Sent together, the opening first.
        let (opened, found) = tokio::join!(biased; self.open_transaction(settings), lock);
        opened.map_err(Error::destination)?;
        let found: HashMap<String, Locked> = found.map_err(Error::destination)?;
        let Some(any) = found.values().next() else {
            return Ok(Held::Members(vec![false; writes.len()]));
        };
        self.converts.store(any.converts, Ordering::Relaxed);
        let direct = any.backend == Some(self.connection.server_process());
        let alters = found.values().any(|locked| !locked.altering.is_empty());
        self.frame.found(direct && !alters);
        if alters || !direct {
            return Ok(Held::Unfit);
        }
        let as_read = |of: &TenantWrite<'_>| {
            found.get(of.tenant_id).is_some_and(|locked| {
                let same = |name: &str| locked.identities.get(name) == of.identities.get(name);
                locked.cursors == *of.expected && of.mappings.iter().all(|m| same(m.name()))
            })
        };
        Ok(Held::Members(writes.iter().map(as_read).collect()))
    }
}

/// The parts of all members for one mapping, as one: their changed rows, or all their rows. None:
/// there is nothing to write.
fn combined(writes: &[&TenantWrite<'_>], mapping: usize) -> Option<Part> {
    let parts = || writes.iter().map(|of| &of.parts[mapping]);
    let lines = |rows: &mut dyn Iterator<Item = &Rows>| {
        let mut lines = BytesMut::new();
        rows.for_each(|rows| lines.extend_from_slice(&rows.slice(0..rows.len())));
        lines.freeze()
    };
    let first = parts().next()?.clone();
    if parts().any(|part| part.chunk.is_some()) {
        let rows = lines(&mut parts().filter_map(|part| Some(&part.chunk.as_ref()?.rows)));
        // Also where no member has a row: what is there of theirs is deleted.
        let chunk = Chunk { rows: Rows::present_only(rows), after: None, up_to: None };
        return Some(Part { changed: Rows::default(), chunk: Some(chunk), ..first });
    }
    let changed = lines(&mut parts().map(|part| &part.changed));
    (!changed.is_empty()).then(|| Part { changed: Rows::new(changed), ..first })
}
