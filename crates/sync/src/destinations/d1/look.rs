//! Taking up a database, and other looks at what is there: facts only.

use std::collections::HashMap;
use std::sync::Arc;

use offtake_mapping::{Identifier, Mapping, ResolvedMapping, foreign};
use offtake_postgres::Fault;
use rusqlite::types::Value;

use super::call::{Done, Statement};
use super::sqlite::schema::{Schema, Table};
use super::sqlite::tables::{self, Problem, Shape};
use super::sqlite::{Cells as _, sql as shared, state};
use super::{Session, Trouble, sql, sqlite, told};
use crate::Error;
use crate::cursors::Identities;
use crate::destinations::{
    Copied, DestinationSpec, OTHERS_PAGE, OrphanTable, OtherTenant, STATE_TABLE, Standing, TakenUp,
};
use crate::ownership::{SILENT_AFTER_RARE_VISITS, Served};

/// What a result of a D1 query, and so a table, has at most.
const COLUMNS_MAX: usize = 100;

/// The tables there.
pub(super) struct Looked {
    pub(super) schema: Schema,
    /// Those of the mappings that were looked for, by their names in lower case.
    shapes: HashMap<String, Shape>,
    /// The tables that foreign keys refer to, in lower case, and the table that has each key.
    referred: HashMap<String, String>,
    /// The state table is there with all of its columns, and so are the tables beside it.
    pub(super) state_stands: bool,
    /// Columns that the state table lacks.
    pub(super) state_lacks: Vec<String>,
}

/// Which source serves the tenant, as a row of the state table says.
pub(super) fn served_by(row: &Vec<Value>) -> Option<Served> {
    state::served_by(row, SILENT_AFTER_RARE_VISITS)
}

impl Session {
    /// Looks at the schema, and at the tables of the mappings; one request.
    pub(super) async fn look(&self, mappings: &[Arc<ResolvedMapping>]) -> Result<Looked, Trouble> {
        Ok(self.look_and(mappings, Vec::new()).await?.0)
    }

    /// The same, and what other statements of the request return.
    async fn look_and(
        &self,
        mappings: &[Arc<ResolvedMapping>],
        others: Vec<Statement>,
    ) -> Result<(Looked, Vec<Done>), Trouble> {
        let name = |m: &ResolvedMapping| m.definition.target.table.as_str().to_owned();
        let columns = Statement::returning(shared::LIST_COLUMNS, 5).with(STATE_TABLE);
        let mut batch = vec![
            Statement::returning(shared::LIST_OBJECTS, 4),
            columns,
            Statement::returning(sql::LIST_REFERENCES, 2),
        ];
        for mapping in mappings {
            for (statement, columns) in shared::DESCRIBE_TABLE.iter().zip([5, 3, 1]) {
                batch.push(Statement::returning(statement, columns).with(name(mapping)));
            }
        }
        let own = batch.len();
        batch.extend(others);
        let mut done = self.ask(&batch).await?;
        let others = done.split_off(own);
        let schema = Schema::of(&objects(&done[0].rows));
        let columns: Vec<String> = done[1].rows.iter().map(|row| row.text(0)).collect();
        let refers = |row: &Vec<Value>| (row.text(1).to_ascii_lowercase(), row.text(0));
        let referred = done[2].rows.iter().map(refers).filter(|(to, from)| to != from).collect();
        let shape = |(mapping, done): (&Arc<ResolvedMapping>, &[Done])| {
            let shape = Shape::of(&done[0].rows, &done[1].rows, &done[2].rows);
            (name(mapping).to_ascii_lowercase(), shape)
        };
        let shapes = mappings.iter().zip(done[3..].chunks(3)).map(shape).collect();
        let there = |name: &str| schema.table(name).is_some_and(|table| !table.view);
        let beside = there("_offtake_guard") && there("_offtake_refused");
        let state_lacks = if there(STATE_TABLE) { state::lacking(&columns) } else { Vec::new() };
        let state_stands = there(STATE_TABLE) && beside && state_lacks.is_empty();
        Ok((Looked { schema, shapes, referred, state_stands, state_lacks }, others))
    }

    pub(in crate::destinations) async fn take_up(
        &self,
        spec: &DestinationSpec,
        mappings: &[Arc<ResolvedMapping>],
    ) -> Result<TakenUp, Error> {
        let (looked, states) =
            self.look_at_all(spec, mappings).await.map_err(Error::Destination)?;
        let mut facts = TakenUp {
            cursors: Default::default(),
            identities: Identities::new(),
            incomplete: Vec::new(),
            to_make: !looked.state_stands,
            faults: Vec::new(),
            references: Vec::new(),
            other_tenants: Vec::new(),
            served: None,
        };
        if let (true, [cursors, served, others, refused]) = (looked.state_stands, &states[..]) {
            facts.cursors = cursors.rows.iter().map(state::cursor).collect();
            facts.served = served.rows.first().and_then(served_by);
            if !spec.shared {
                facts.other_tenants = others.rows.iter().map(|row| row.text(0)).collect();
            }
            for row in &refused.rows {
                // A worker left rows out and died before it told the source which. The cursor says
                // nothing about them, so the next turn copies the mapping again.
                if let Some(cursor) = facts.cursors.get_mut(&row.text(0)) {
                    cursor.version.clear();
                }
            }
        }
        for mapping in mappings {
            let name = mapping.name().to_owned();
            match looked.examine(mapping) {
                Ok(found) => {
                    if found.as_ref().is_none_or(|(_, incomplete)| *incomplete) {
                        facts.to_make = true;
                        facts.incomplete.push(name.clone());
                    }
                    let nonce = found.and_then(|(table, _)| nonce_of(table, mapping));
                    facts.identities.extend(nonce.map(|nonce| (name, nonce)));
                }
                Err(problem) => facts.faults.push((name, problem.into_fault()?)),
            }
        }
        Ok(facts)
    }

    /// Tables and states in one request; where the tables of the states are not there, which is so
    /// before the first copy, in two.
    async fn look_at_all(
        &self,
        spec: &DestinationSpec,
        mappings: &[Arc<ResolvedMapping>],
    ) -> Result<(Looked, Vec<Done>), Trouble> {
        let tenant = spec.tenant_id.as_str();
        let refused = "select distinct mapping from \"_offtake_refused\" where tenant_id = ?1";
        let page = OTHERS_PAGE.to_string();
        let states = vec![
            Statement::returning(shared::READ_STATES, 7).with(tenant),
            Statement::returning(shared::READ_SERVING, 5).with(tenant),
            Statement::returning(shared::LIST_TENANTS, 1).with(tenant).with(page),
            Statement::returning(refused, 1).with(tenant),
        ];
        match self.look_and(mappings, states).await {
            Err(trouble) if is_missing(&trouble) => self.look_and(mappings, Vec::new()).await,
            looked => looked,
        }
    }

    pub(in crate::destinations) async fn others(
        &self,
        tenant_id: &str,
        mappings: &[Arc<ResolvedMapping>],
        after: Option<&(String, String)>,
    ) -> Result<Vec<OtherTenant>, Error> {
        let (tenant, mapping) = after.cloned().unzip();
        let page = OTHERS_PAGE.to_string();
        let list = Statement::returning(shared::LIST_OTHER_TENANTS, 4).with_all([
            Some(tenant_id.to_owned()),
            tenant,
            mapping,
            Some(page),
        ]);
        let objects = Statement::returning(shared::LIST_OBJECTS, 4);
        let done = match self.ask(&[list, objects]).await {
            Err(trouble) if is_missing(&trouble) => return Ok(Vec::new()),
            done => done.map_err(Error::Destination)?,
        };
        let schema = Schema::of(&self::objects(&done[1].rows));
        let mark = |mapping: &str| {
            let ours = mappings.iter().find(|ours| ours.name() == mapping)?;
            let table = schema.table(ours.definition.target.table.as_str())?;
            Some(table.mark.as_ref()?.nonce.clone())
        };
        let other = |row: &Vec<Value>| {
            let mapping = row.text(1);
            OtherTenant {
                tenant_id: row.text(0),
                sequence_id: row.number(2),
                oid: mark(&mapping),
                mapping,
                lately: row.number(3) != 0,
            }
        };
        Ok(done[0].rows.iter().map(other).collect())
    }

    pub(in crate::destinations) async fn table_of(
        &self,
        mapping: &ResolvedMapping,
    ) -> Result<Copied, Trouble> {
        let looked = self.look(&[Arc::new(mapping.clone())]).await?;
        let name = mapping.definition.target.table.as_str();
        let Some(table) = looked.schema.table(name) else {
            return Ok(Copied { standing: Standing::Absent, columns: Vec::new() });
        };
        let ours = table.mark_of(mapping.name()).is_some();
        let columns = looked.shapes.into_values().flat_map(|shape| shape.columns);
        Ok(Copied {
            standing: if ours { Standing::Ours } else { Standing::Foreign },
            columns: columns.map(|column| (column.name, column.declared)).collect(),
        })
    }

    /// What copies of the mappings would run into here, one by one; None if nothing. A table that is
    /// not there is tried in a database in memory, as for a file; that the token may write, by a batch
    /// that is rolled back.
    pub(in crate::destinations) async fn try_tables(
        &self,
        mappings: &[Arc<ResolvedMapping>],
    ) -> Result<Vec<Option<String>>, Trouble> {
        let looked = self.look(mappings).await?;
        self.prove().await?;
        let tried = |mapping: &Arc<ResolvedMapping>| {
            let tried = match looked.examine(mapping) {
                Ok(Some((_, false))) => Ok(()),
                Ok(_) => sqlite::try_in_memory(mapping),
                Err(problem) => Err(problem),
            };
            match tried.map_err(Problem::into_fault) {
                Ok(()) => Ok(None),
                Err(Ok(fault)) => Ok(Some(fault.message)),
                Err(Err(error)) => Err(told(error)),
            }
        };
        mappings.iter().map(tried).collect()
    }

    pub(in crate::destinations) async fn orphans(
        &self,
        received: &[&Mapping],
    ) -> Result<Vec<OrphanTable>, Trouble> {
        let objects = self.ask(&[Statement::returning(shared::LIST_OBJECTS, 4)]).await?;
        let schema = Schema::of(&self::objects(&objects[0].rows));
        let table = |mapping: &&Mapping| mapping.target.table.as_str().to_ascii_lowercase();
        let gone: Vec<_> = schema
            .marked()
            .filter(|(there, _)| {
                !received.iter().any(|m| table(m) == there.name.to_ascii_lowercase())
            })
            .filter_map(|(table, mark)| Some((Identifier::new(table.name.clone()).ok()?, mark)))
            .collect();
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let count = |(table, _): &(Identifier, _)| {
            Statement::returning(&format!("select count(*) from {}", table.sql()), 1)
        };
        let counts = self.ask(&gone.iter().map(count).collect::<Vec<_>>()).await?;
        let orphan = |((table, mark), counted): ((Identifier, &sqlite::schema::Mark), _)| {
            let counted: &Done = counted;
            OrphanTable {
                table,
                mapping: mark.mapping.clone(),
                rows: counted.rows.first().map_or(0, |row| row.number(0)),
                mapping_lives: received.iter().any(|mapping| mapping.name == mark.mapping),
            }
        };
        Ok(gone.into_iter().zip(&counts).map(orphan).collect())
    }

    /// Drops all of these tables or none, with the cursors of mappings that are gone.
    pub(in crate::destinations) async fn drop_orphans(
        &self,
        orphans: &[OrphanTable],
    ) -> Result<(), Trouble> {
        let drop = |o: &OrphanTable| Statement::new(format!("drop table {}", o.table.sql()));
        let mut batch: Vec<_> = orphans.iter().map(drop).collect();
        let forget = format!("delete from \"{STATE_TABLE}\" where mapping = ?1");
        let gone = orphans.iter().filter(|orphan| !orphan.mapping_lives);
        batch.extend(gone.map(|o| Statement::new(forget.as_str()).with(o.mapping.as_str())));
        match batch.is_empty() {
            true => Ok(()),
            false => self.ask(&batch).await.map(|_| ()),
        }
    }
}

/// A table or a column that a statement names is not there.
pub(super) fn is_missing(trouble: &Trouble) -> bool {
    trouble.fault == Fault::Schema && trouble.code.is_some()
}

/// Without the tables that D1 keeps for itself.
fn objects(rows: &[Vec<Value>]) -> Vec<Vec<Value>> {
    rows.iter().filter(|row| !row.text(2).starts_with("_cf_")).cloned().collect()
}

/// What the table is, if it is this mapping's.
pub(super) fn nonce_of(table: &Table, mapping: &ResolvedMapping) -> Option<String> {
    Some(table.mark_of(mapping.name())?.nonce.clone())
}

impl Looked {
    pub(super) fn shape(&self, mapping: &ResolvedMapping) -> Option<&Shape> {
        self.shapes.get(&mapping.definition.target.table.as_str().to_ascii_lowercase())
    }

    /// The mapping's table, and whether it lacks columns; None: it is not there.
    pub(super) fn examine(
        &self,
        mapping: &ResolvedMapping,
    ) -> Result<Option<(&Table, bool)>, Problem> {
        let name = mapping.definition.target.table.as_str();
        if name.to_ascii_lowercase().starts_with("_cf_") {
            return Err(Problem::fault(format!(
                "D1 keeps the name {name} for itself; set another target.table"
            )));
        }
        let columns = mapping.columns.len();
        if columns > COLUMNS_MAX {
            return Err(Problem::fault(format!(
                "D1 takes tables of {COLUMNS_MAX} columns, and the query has {columns}; leave some out, \
                 or put several into one as jsonb"
            )));
        }
        let found = tables::stands(&self.schema, mapping, |_| {
            let gone = || Problem::fault(format!("the table {name} is gone again"));
            self.shape(mapping).ok_or_else(gone)
        })?;
        if let (Some(_), Some(from)) = (&found, self.referred.get(&name.to_ascii_lowercase())) {
            let from = foreign(from);
            return Err(Problem::fault(format!(
                "a foreign key of {from} refers to {name}, and D1 would refuse or spread what is \
                 deleted here; make {from} again without it"
            )));
        }
        Ok(found)
    }
}
