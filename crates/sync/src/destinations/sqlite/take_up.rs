//! Taking up a file: facts only, in one transaction that writes nothing.

use std::sync::Arc;

use offtake_mapping::ResolvedMapping;
use rusqlite::params;

use super::connection::{Handle, Open};
use super::file::device_of;
use super::{READ_LIMIT, Session, Trouble, sql, state, tables};
use crate::cursors::Identities;
use crate::destinations::{
    Copied, DestinationSpec, OTHERS_PAGE, OtherTenant, STATE_TABLE, Standing, TakenUp,
};
use crate::{Error, Settings};

impl Session {
    pub(in crate::destinations) async fn take_up(
        &self,
        spec: &DestinationSpec,
        mappings: &[Arc<ResolvedMapping>],
        settings: &Settings,
    ) -> Result<TakenUp, Error> {
        let (tenant_id, shared) = (spec.tenant_id.clone(), spec.shared);
        let mappings = mappings.to_vec();
        let facts = move |handle: &mut Handle| {
            let Some(open) = handle.opened()? else { return Ok(nothing(&mappings)) };
            read_only(open, |open| facts(open, (&tenant_id, shared), &mappings))
        };
        self.caller.run(settings.statement_timeout, None, facts).await
    }

    pub(in crate::destinations) async fn others(
        &self,
        tenant_id: &str,
        mappings: &[Arc<ResolvedMapping>],
        after: Option<&(String, String)>,
        settings: &Settings,
    ) -> Result<Vec<OtherTenant>, Error> {
        let (tenant_id, after) = (tenant_id.to_owned(), after.cloned());
        let mappings = mappings.to_vec();
        let read = move |handle: &mut Handle| {
            let Some(open) = handle.opened()? else { return Ok(Vec::new()) };
            read_only(open, |open| others(open, &tenant_id, &mappings, after))
        };
        self.caller.run(settings.statement_timeout, None, read).await
    }

    /// Why the file must not be made, although it is not there: it was on another device than the
    /// one that is at its place now. `told`: what the tables were when the source was last told.
    pub(in crate::destinations) async fn not_mounted<'t>(
        &self,
        told: impl Iterator<Item = &'t str>,
    ) -> Result<Option<String>, Error> {
        let devices: Vec<u64> = told.filter_map(device_of).collect();
        let file = self.file.clone();
        let look = move |_: &mut Handle| {
            let there = file.look().map_err(Error::Destination)?.is_some();
            let device = file.device();
            let other =
                !there && !devices.is_empty() && !devices.iter().any(|d| Some(*d) == device);
            Ok(other.then(|| {
                format!(
                    "{} is not there, and the file system that held it is not mounted; mount it, or, \
                     where the file is gone for good, run `offtake forget` for this destination: then \
                     it is made anew",
                    offtake_mapping::foreign(file.as_str())
                )
            }))
        };
        self.caller.run(READ_LIMIT, None, look).await
    }

    pub(in crate::destinations) async fn table_of(
        &self,
        mapping: &ResolvedMapping,
    ) -> Result<Copied, Trouble> {
        let (name, table) =
            (mapping.name().to_owned(), mapping.definition.target.table.as_str().to_owned());
        let look = move |handle: &mut Handle| {
            let absent = Copied { standing: Standing::Absent, columns: Vec::new() };
            let Some(open) = handle.opened()? else { return Ok(absent) };
            let schema = open.schema().map_err(Error::destination)?;
            let Some(table) = schema.table(&table) else { return Ok(absent) };
            let ours = table.identity(&name, open.file).is_some();
            let columns = tables::columns(&open.connection, &table.name);
            let columns = columns.map_err(Error::destination)?.into_iter();
            Ok(Copied {
                standing: if ours { Standing::Ours } else { Standing::Foreign },
                columns: columns.map(|column| (column.name, column.declared)).collect(),
            })
        };
        self.told(self.caller.run(READ_LIMIT, None, look).await)
    }
}

/// Runs `read` in one snapshot of the file.
pub(super) fn read_only<T>(
    open: &mut Open,
    read: impl FnOnce(&mut Open) -> Result<T, Error>,
) -> Result<T, Error> {
    open.connection.execute_batch("begin").map_err(Error::destination)?;
    let done = read(open);
    if !open.connection.is_autocommit() {
        open.connection.execute_batch("rollback").map_err(Error::destination)?;
    }
    done
}

/// What there is where there is no file.
fn nothing(mappings: &[Arc<ResolvedMapping>]) -> TakenUp {
    TakenUp {
        cursors: Default::default(),
        identities: Identities::new(),
        incomplete: mappings.iter().map(|mapping| mapping.name().to_owned()).collect(),
        to_make: true,
        faults: Vec::new(),
        references: Vec::new(),
        other_tenants: Vec::new(),
        served: None,
    }
}

fn facts(
    open: &mut Open,
    (tenant_id, shared): (&str, bool),
    mappings: &[Arc<ResolvedMapping>],
) -> Result<TakenUp, Error> {
    let mut facts = TakenUp { incomplete: Vec::new(), to_make: false, ..nothing(&[]) };
    let schema = open.schema().map_err(Error::destination)?;
    let connection = &open.connection;
    if state::stands(connection, &schema).map_err(Error::destination)? {
        facts.cursors = state::read(connection, tenant_id).map_err(Error::destination)?;
        facts.served = state::served(connection, tenant_id).map_err(Error::destination)?;
        if !shared {
            let others = state::other_tenants(connection, tenant_id);
            facts.other_tenants = others.map_err(Error::destination)?;
        }
    } else {
        facts.to_make = true;
    }
    for mapping in mappings {
        let name = mapping.name().to_owned();
        match tables::examine(open, mapping) {
            Ok(examined) => {
                if examined.incomplete {
                    facts.to_make = true;
                    facts.incomplete.push(name.clone());
                }
                facts.identities.extend(examined.identity.map(|identity| (name, identity)));
            }
            Err(problem) => facts.faults.push((name, problem.into_fault()?)),
        }
    }
    Ok(facts)
}

fn others(
    open: &mut Open,
    tenant_id: &str,
    mappings: &[Arc<ResolvedMapping>],
    after: Option<(String, String)>,
) -> Result<Vec<OtherTenant>, Error> {
    let schema = open.schema().map_err(Error::destination)?;
    if schema.table(STATE_TABLE).is_none() {
        return Ok(Vec::new());
    }
    let mark = |mapping: &str| {
        let ours = mappings.iter().find(|ours| ours.name() == mapping)?;
        let table = schema.table(ours.definition.target.table.as_str())?;
        Some(table.mark.as_ref()?.nonce.clone())
    };
    let (tenant, mapping) = after.unzip();
    let read = || {
        let mut statement = open.connection.prepare_cached(sql::LIST_OTHER_TENANTS)?;
        let page = OTHERS_PAGE as i64;
        let rows = statement.query_map(params![tenant_id, tenant, mapping, page], |row| {
            let mapping: String = row.get(1)?;
            Ok(OtherTenant {
                tenant_id: row.get(0)?,
                sequence_id: row.get(2)?,
                oid: mark(&mapping),
                mapping,
                lately: row.get(3)?,
            })
        })?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    };
    read().map_err(Error::destination)
}

/// What a tenant's tables are, as the fence compares them.
pub(super) fn identities(
    open: &mut Open,
    mappings: &[Arc<ResolvedMapping>],
) -> Result<Identities, Error> {
    let schema = open.schema().map_err(Error::destination)?;
    let identity = |mapping: &Arc<ResolvedMapping>| {
        let table = schema.table(mapping.definition.target.table.as_str())?;
        Some((mapping.name().to_owned(), table.identity(mapping.name(), open.file)?))
    };
    Ok(mappings.iter().filter_map(identity).collect())
}
