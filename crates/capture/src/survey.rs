//! What is installed, compared with what the mappings need.

use std::collections::{BTreeMap, BTreeSet};

use offtake_mapping::{Identifier, MappingSet, TableName};
use tokio_postgres::{Client, GenericClient, Row};

use crate::function::{Function, Records};
use crate::note::Note;
use crate::trigger::Event;
use crate::{Drift, DriftKind, Error, sql};

/// One relation through which a captured table can be written: the table, or a partition of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) oid: u32,
    pub(crate) name: TableName,
    foreign: bool,
    /// What it is a partition of, and which transaction attached it; empty for the table itself.
    /// This field and those below are only compared with earlier values.
    pub(crate) attached: String,
    pub(crate) triggers: String,
    pub(crate) columns: String,
    pub(crate) file: u32,
    /// The number of each column by its name, as JSON; empty for partitions.
    pub(crate) numbers: String,
    /// The note in the comment of the table's function, read in the same snapshot.
    pub(crate) comment: Option<String>,
}

/// The relations of every captured table, root first. If empty, each table is assumed to have no
/// partitions.
#[derive(Debug, Clone, Default)]
pub struct Relations(BTreeMap<TableName, Vec<Relation>>);

impl Relations {
    /// The captured tables of a set and their partitions, as they are now.
    pub async fn read(client: &Client, set: &MappingSet) -> Result<Self, Error> {
        let tables: Vec<&TableName> = set.captures().map(|c| &c.table).collect();
        Ok(Self::read_of(client, &tables).await?)
    }

    /// Like [`Self::read`], for the given tables.
    pub(crate) async fn read_of(
        client: &impl GenericClient,
        tables: &[&TableName],
    ) -> Result<Self, tokio_postgres::Error> {
        let schemas: Vec<&str> = tables.iter().map(|t| t.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|t| t.name.as_str()).collect();
        let functions: Vec<String> = tables.iter().map(|t| Function::name_for(t)).collect();
        let mut relations: BTreeMap<TableName, Vec<Relation>> = BTreeMap::new();
        for row in client.query(sql::READ_RELATIONS, &[&schemas, &names, &functions]).await? {
            let position: i32 = row.get("position");
            let table = usize::try_from(position - 1).ok().and_then(|at| tables.get(at));
            if let (Some(table), Some(name)) = (table, table_name(&row)) {
                let foreign = row.get::<_, &str>("kind") == "f";
                relations.entry((*table).clone()).or_default().push(Relation {
                    oid: row.get("oid"),
                    name,
                    foreign,
                    attached: row.get::<_, Option<String>>("attached").unwrap_or_default(),
                    triggers: row.get::<_, Option<String>>("triggers").unwrap_or_default(),
                    columns: row.get::<_, Option<String>>("columns").unwrap_or_default(),
                    file: row.get("file"),
                    numbers: row.get::<_, Option<String>>("numbers").unwrap_or_default(),
                    comment: row.get("comment"),
                });
            }
        }
        Ok(Self(relations))
    }

    pub(crate) fn of(&self, table: &TableName) -> &[Relation] {
        self.0.get(table).map(Vec::as_slice).unwrap_or_default()
    }

    /// The names of the table's relations; only the table itself if nothing was read about it.
    pub(crate) fn names(&self, table: &TableName) -> Vec<TableName> {
        match self.of(table) {
            [] => vec![table.clone()],
            relations => relations.iter().map(|r| r.name.clone()).collect(),
        }
    }
}

/// A trigger that runs a capture function.
#[derive(Debug)]
struct InstalledTrigger {
    relation: u32,
    table: TableName,
    name: Identifier,
    function: String,
    enabled: String,
    firing: i32,
    old_rows: Option<String>,
    new_rows: Option<String>,
    conditional: bool,
}

#[derive(Debug)]
struct InstalledFunction {
    body: String,
    security_definer: bool,
    settings: Vec<String>,
    owner: String,
    /// Whether it has a comment.
    notes: bool,
}

/// One captured table: its function, its relations, and their differences from what is needed.
#[derive(Debug)]
pub(crate) struct SurveyedTable {
    pub(crate) table: TableName,
    pub(crate) function: Function,
    pub(crate) relations: Vec<Relation>,
    /// What the function's comment should be.
    pub(crate) note: Note,
    /// Whether the function has no comment yet.
    pub(crate) unnoted: bool,
    /// What the installed function captures, if it was written for other mappings.
    pub(crate) of_others: Option<Records>,
    pub(crate) drifts: Vec<Drift>,
}

/// A trigger that no mapping needs.
#[derive(Debug)]
pub(crate) struct StaleTrigger {
    pub(crate) relation: u32,
    pub(crate) table: TableName,
    pub(crate) name: Identifier,
}

/// The state of capture at one moment.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) migrated: bool,
    /// Whether the functions' role may append to captured_change. If not, the application's writes
    /// fail.
    pub(crate) granted: bool,
    pub(crate) tables: Vec<SurveyedTable>,
    pub(crate) stale_triggers: Vec<StaleTrigger>,
    pub(crate) stale_functions: Vec<String>,
}

/// The owner of the functions.
pub(crate) const ROLE: &str = "offtake_capture";

impl Survey {
    pub(crate) async fn take(client: &Client, set: &MappingSet) -> Result<Self, Error> {
        let rights = client.query_one(sql::READ_RIGHTS, &[]).await?;
        let relations = Relations::read(client, set).await?;
        let triggers: Vec<_> = client
            .query(sql::READ_TRIGGERS, &[])
            .await?
            .iter()
            .filter_map(InstalledTrigger::read)
            .collect();
        let functions: BTreeMap<_, _> = client
            .query(sql::READ_FUNCTIONS, &[])
            .await?
            .iter()
            .map(InstalledFunction::read)
            .collect();
        let mut tables = Vec::new();
        for capture in set.captures() {
            let function = Function::of(capture, set);
            let relations = relations.of(&capture.table).to_vec();
            let installed = functions.get(&function.name);
            let mut drifts = drifts(&capture.table, &function, &relations, installed, &triggers);
            let note = Note::of(&relations);
            let comment = relations.first().and_then(|root| root.comment.as_ref());
            let mut since = comment.and_then(|comment| note.since(comment));
            if drifts.iter().any(|d| d.kind.event().is_some()) {
                // The drift of the triggers already reports the gap, and repairing them writes the
                // note.
                since = since.filter(|kind| *kind == DriftKind::PartitionsChanged);
            }
            let table = capture.table.to_string();
            drifts.extend(since.map(|kind| Drift {
                source_table: table.clone(),
                relation: table,
                kind,
            }));
            let unnoted = comment.is_none();
            let of_others = installed.and_then(|installed| function.of_others(&installed.body));
            tables.push(SurveyedTable {
                table: capture.table.clone(),
                function,
                relations,
                note,
                unnoted,
                of_others,
                drifts,
            });
        }
        let needed: BTreeSet<u32> =
            tables.iter().flat_map(|t| t.relations.iter().map(|r| r.oid)).collect();
        let names: BTreeSet<&str> = Event::ALL.iter().map(|e| e.trigger()).collect();
        let stale_triggers = triggers
            .into_iter()
            .filter(|t| !needed.contains(&t.relation) || !names.contains(t.name.as_str()))
            .map(|t| StaleTrigger { relation: t.relation, table: t.table, name: t.name })
            .collect();
        let wanted: BTreeSet<&str> = tables.iter().map(|t| t.function.name.as_str()).collect();
        let stale_functions =
            functions.into_keys().filter(|name| !wanted.contains(name.as_str())).collect();
        Ok(Self {
            migrated: rights.get("migrated"),
            granted: rights.get("granted"),
            tables,
            stale_triggers,
            stale_functions,
        })
    }

    /// Every difference, in the order of the tables' names.
    pub(crate) fn drifts(&self) -> Vec<Drift> {
        let mut drifts = Vec::new();
        if !self.granted {
            drifts.push(Drift {
                source_table: String::new(),
                relation: String::new(),
                kind: DriftKind::RoleLacksRights,
            });
        }
        drifts.extend(self.tables.iter().flat_map(|t| t.drifts.iter().cloned()));
        let mut stale: Vec<String> =
            self.stale_triggers.iter().map(|t| t.table.to_string()).collect();
        stale.dedup();
        drifts.extend(stale.into_iter().map(|relation| Drift {
            source_table: relation.clone(),
            relation,
            kind: DriftKind::NotNeeded,
        }));
        drifts
    }
}

fn drifts(
    table: &TableName,
    function: &Function,
    relations: &[Relation],
    installed: Option<&InstalledFunction>,
    triggers: &[InstalledTrigger],
) -> Vec<Drift> {
    let drift = |relation: &TableName, kind| Drift {
        source_table: table.to_string(),
        relation: relation.to_string(),
        kind,
    };
    if relations.is_empty() {
        return vec![drift(table, DriftKind::NoTable)];
    }
    let mut drifts = Vec::new();
    if !installed.is_some_and(|installed| installed.equals(function)) {
        drifts.push(drift(table, DriftKind::FunctionDiffers));
    }
    for relation in relations {
        if relation.foreign {
            drifts.push(drift(&relation.name, DriftKind::ForeignPartition));
            continue;
        }
        let on_relation: Vec<_> = triggers.iter().filter(|t| t.relation == relation.oid).collect();
        for event in Event::ALL {
            let kind = match on_relation.iter().find(|t| t.name.as_str() == event.trigger()) {
                None => Some(DriftKind::TriggerMissing(event)),
                Some(t) if t.enabled == "D" => Some(DriftKind::TriggerDisabled(event)),
                Some(t) if t.enabled != "A" => Some(DriftKind::TriggerNotAlways(event)),
                Some(t) if !t.fits(event, function) => Some(DriftKind::TriggerDiffers(event)),
                Some(_) => None,
            };
            drifts.extend(kind.map(|kind| drift(&relation.name, kind)));
        }
    }
    drifts
}

impl InstalledTrigger {
    fn read(row: &Row) -> Option<Self> {
        Some(Self {
            relation: row.get("relation"),
            table: table_name(row)?,
            name: Identifier::new(row.get::<_, String>("name")).ok()?,
            function: row.get("function"),
            enabled: row.get("enabled"),
            firing: row.get("firing"),
            old_rows: row.get("old_rows"),
            new_rows: row.get("new_rows"),
            conditional: row.get("conditional"),
        })
    }

    fn fits(&self, event: Event, function: &Function) -> bool {
        self.function == function.name
            && self.firing == event.firing()
            && self.old_rows.as_deref() == event.old_rows()
            && self.new_rows.as_deref() == event.new_rows()
            && !self.conditional
    }
}

impl InstalledFunction {
    fn read(row: &Row) -> (String, Self) {
        let function = Self {
            body: row.get("body"),
            security_definer: row.get("security_definer"),
            settings: row.get("settings"),
            owner: row.get("owner"),
            notes: row.get("notes"),
        };
        (row.get("name"), function)
    }

    fn equals(&self, function: &Function) -> bool {
        let mut settings = self.settings.clone();
        let mut wanted = function.configuration();
        settings.sort();
        wanted.sort();
        self.body == function.body
            && self.security_definer
            && settings == wanted
            && self.owner == ROLE
            && self.notes
    }
}

fn table_name(row: &Row) -> Option<TableName> {
    let schema = Identifier::new(row.get::<_, String>("schema_name")).ok()?;
    let name = Identifier::new(row.get::<_, String>("table_name")).ok()?;
    Some(TableName { schema, name })
}
