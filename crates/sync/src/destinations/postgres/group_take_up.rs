//! Taking up many tenants of a place that they share, and beginning their copies. What concerns the
//! place is looked at once for all of them; nothing is made there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use offtake_mapping::ResolvedMapping;

use super::tables::{self, Site};
use super::{Session, state, states};
use crate::cursors::{Cursors, Identities};
use crate::destinations::DestinationSpec;
use crate::ownership::{Served, Visit};
use crate::{Error, Settings};

/// What many tenants have in a place.
pub(crate) struct GroupTakenUp {
    /// What the mappings' tables are.
    pub(crate) identities: Identities,
    /// For each tenant: the cursors, and the source that serves it.
    pub(crate) members: Vec<(Cursors, Option<Served>)>,
}

/// What is to be begun for one of many tenants.
pub(crate) struct GroupBeginning<'a> {
    pub(crate) tenant_id: &'a str,
    /// The cursors that are there.
    pub(crate) found: &'a Cursors,
    /// Whatever is there, all its copies begin.
    pub(crate) begins: bool,
    /// The source that serves the tenant from now on; None: the destination names it already.
    pub(crate) visit: Option<&'a Visit>,
}

impl Session {
    /// None: something is to be made there first, or a table is not one that many tenants can be
    /// written to at once; a turn of one tenant does or tells that.
    pub(in crate::destinations) async fn take_up_group(
        &self,
        specs: &[&DestinationSpec],
        mappings: &[Arc<ResolvedMapping>],
        settings: &Settings,
    ) -> Result<Option<GroupTakenUp>, Error> {
        let taken_up = self.group_facts(specs, mappings, settings).await;
        taken_up.map_err(|error| self.explain(error))
    }

    async fn group_facts(
        &self,
        specs: &[&DestinationSpec],
        mappings: &[Arc<ResolvedMapping>],
        settings: &Settings,
    ) -> Result<Option<GroupTakenUp>, Error> {
        let (client, schema) = (&self.connection, &self.schema);
        self.open_transaction(settings).await.map_err(Error::destination)?;
        let facts = async {
            let found = state::find(client, schema).await?;
            self.converts.store(found.converts, Ordering::Relaxed);
            if !found.table || !found.serving || found.auditable {
                return Ok(None);
            }
            let mut identities = Identities::new();
            for mapping in mappings {
                let site = Site { spec: specs[0], schema, user: &self.user };
                let Ok(examined) = tables::examine(client, &site, mapping).await else {
                    return Ok(None);
                };
                match examined.identity.filter(|_| examined.ready && !examined.incomplete) {
                    Some(identity) => identities.insert(mapping.name().to_owned(), identity),
                    None => return Ok(None),
                };
            }
            if !tables::references(client, schema, mappings).await?.is_empty() {
                return Ok(None);
            }
            let tenants: Vec<&str> = specs.iter().map(|spec| spec.tenant_id.as_str()).collect();
            let mut cursors = states::read(client, schema, &tenants).await?;
            let mut served = states::served(client, schema, &tenants).await?;
            let member = |tenant: &&str| {
                (cursors.remove(*tenant).unwrap_or_default(), served.remove(*tenant))
            };
            Ok(Some(GroupTakenUp { identities, members: tenants.iter().map(member).collect() }))
        };
        let facts =
            facts.await.map_err(|error: tokio_postgres::Error| Error::destination(error))?;
        client.batch_execute("rollback").await.map_err(Error::destination)?;
        Ok(facts)
    }

    /// Sets the first cursors of those whose copies begin, and names the source that serves them. Returns the cursors of each as they stand then; None: it is left out, because its
    /// cursors are others by now, or another worker holds them.
    pub(in crate::destinations) async fn begin_group(
        &mut self,
        beginnings: &[GroupBeginning<'_>],
        (mappings, first): (&[Arc<ResolvedMapping>], &Cursors),
        settings: &Settings,
    ) -> Result<Vec<Option<Cursors>>, Error> {
        let (client, schema) = (&self.connection, &self.schema);
        let begun = async {
            self.open_transaction(settings).await?;
            let fresh = beginnings.iter().filter(|of| of.found.is_empty());
            let fresh: Vec<_> = fresh.map(|of| (of.tenant_id, of.visit)).collect();
            let mut set = states::begin(client, schema, &fresh, first).await?;
            let there: Vec<&str> = beginnings
                .iter()
                .filter(|of| !of.found.is_empty())
                .map(|of| of.tenant_id)
                .collect();
            let mut locked = states::lock(client, &self.frame, schema, &there, mappings).await?;
            let mut stand: Vec<Option<Cursors>> = beginnings
                .iter()
                .map(|of| match of.found.is_empty() {
                    true => set.remove(of.tenant_id),
                    false => locked
                        .remove(of.tenant_id)
                        .map(|locked| locked.cursors)
                        .filter(|cursors| cursors == of.found),
                })
                .collect();
            let again = |(of, stand): &(&GroupBeginning<'_>, &Option<Cursors>)| {
                of.begins && !of.found.is_empty() && stand.is_some()
            };
            let again = beginnings.iter().zip(&stand).filter(again);
            let again: Vec<&str> = again.map(|(of, _)| of.tenant_id).collect();
            let mut reset = states::reset(client, schema, &again, first).await?;
            for (of, stand) in beginnings.iter().zip(&mut stand) {
                if again.contains(&of.tenant_id) {
                    *stand = reset.remove(of.tenant_id);
                }
            }
            let ours = beginnings.iter().zip(&mut stand);
            let mut visits = Vec::new();
            let mut cursors = Vec::new();
            for (of, stands) in ours {
                // Those of whom nothing was there are served already.
                let visit = of.visit.filter(|_| !of.found.is_empty());
                if let (Some(visit), Some(stands)) = (visit, stands.as_mut()) {
                    visits.push((of.tenant_id, visit));
                    cursors.push((of.tenant_id, stands));
                }
            }
            states::serve(client, schema, &visits, &mut cursors).await?;
            client.batch_execute("commit").await?;
            Ok(stand)
        };
        let begun: Result<_, tokio_postgres::Error> = begun.await;
        begun.map_err(|error| self.explain(Error::destination(error)))
    }
}
