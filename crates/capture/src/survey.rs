//! What is installed, compared with what the mappings need.

use std::collections::{BTreeMap, BTreeSet};

use offtake_mapping::{Capture, Identifier, MappingSet, TableName};
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
    /// It has partitions, and no rows of its own.
    partitioned: bool,
    /// Its rows are also written by statements that name no relation of the captured table.
    through_others: bool,
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
pub struct Relations {
    tables: BTreeMap<TableName, Vec<Relation>>,
    /// The role that owns the capture functions; empty if it was not read.
    role: String,
}

impl Relations {
    /// The captured tables of a set and their partitions, as they are now.
    pub async fn read(client: &Client, set: &MappingSet) -> Result<Self, Error> {
        let tables: Vec<&TableName> = set.captures().map(|c| &c.table).collect();
        let mut relations = Self::read_of(client, &tables).await?;
        relations.role = client.query_one(sql::READ_RIGHTS, &[]).await?.get("role");
        Ok(relations)
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
                let kind: &str = row.get("kind");
                let (foreign, partitioned) = (kind == "f", kind == "p");
                relations.entry((*table).clone()).or_default().push(Relation {
                    oid: row.get("oid"),
                    name,
                    foreign,
                    partitioned,
                    through_others: row.get("through_others"),
                    attached: row.get::<_, Option<String>>("attached").unwrap_or_default(),
                    triggers: row.get::<_, Option<String>>("triggers").unwrap_or_default(),
                    columns: row.get::<_, Option<String>>("columns").unwrap_or_default(),
                    file: row.get("file"),
                    numbers: row.get::<_, Option<String>>("numbers").unwrap_or_default(),
                    comment: row.get("comment"),
                });
            }
        }
        Ok(Self { tables: relations, role: String::new() })
    }

    pub(crate) fn of(&self, table: &TableName) -> &[Relation] {
        self.tables.get(table).map(Vec::as_slice).unwrap_or_default()
    }

    /// The role that owns the capture functions.
    pub(crate) fn role(&self) -> &str {
        match self.role.as_str() {
            "" => "offtake_capture_of_this_database",
            role => role,
        }
    }

    /// The names of the table's relations, each with whether the table has the plain names there
    /// and with the events that its triggers fire on; only the table itself if nothing was read
    /// about it.
    pub(crate) fn events(&self, table: &TableName) -> Vec<(TableName, bool, &'static [Event])> {
        let relations = self.of(table);
        let by_rows = by_rows(relations);
        let events =
            |r: &Relation| (r.name.clone(), self.has_plain_names(table, r), r.events(by_rows));
        match relations {
            [] => vec![(table.clone(), true, &Event::OF_STATEMENTS)],
            _ => relations.iter().map(events).collect(),
        }
    }

    /// Whether the triggers of `table` have the plain names on this relation of it: where it is the
    /// table itself, or no captured table, and `table` the first of those that cover it.
    fn has_plain_names(&self, table: &TableName, relation: &Relation) -> bool {
        let covers = |relations: &[Relation]| relations.iter().any(|r| r.oid == relation.oid);
        let first = || self.tables.iter().find(|(_, relations)| covers(relations));
        match self.tables.contains_key(&relation.name) {
            true => relation.name == *table,
            false => first().is_none_or(|(first, _)| first == table),
        }
    }
}

impl Relation {
    /// What its triggers fire on. Triggers for rows are put on the relations that hold rows: on a
    /// partitioned table, Postgres would put copies of them on every partition.
    fn events(&self, by_rows: bool) -> &'static [Event] {
        match (by_rows, self.partitioned) {
            (false, _) => &Event::OF_STATEMENTS,
            (true, false) => &Event::OF_ROWS,
            (true, true) => &[Event::Truncate],
        }
    }
}

/// Whether a captured table is captured row by row. If rows of one of its relations are written
/// through others, then so are, or may be, those of all.
pub(crate) fn by_rows(relations: &[Relation]) -> bool {
    relations.iter().any(|relation| relation.through_others)
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
    /// Whether it is captured row by row.
    pub(crate) by_rows: bool,
    /// The relations on which its triggers have the plain names.
    pub(crate) plain: BTreeSet<u32>,
    /// What the installed function captures, if it was written for other mappings.
    pub(crate) of_others: Option<Records>,
    pub(crate) drifts: Vec<Drift>,
}

impl SurveyedTable {
    /// Each relation with the events that its triggers for this table fire on.
    pub(crate) fn events(&self) -> impl Iterator<Item = (&Relation, &'static [Event])> {
        self.relations.iter().map(|relation| (relation, relation.events(self.by_rows)))
    }

    fn needed_triggers(&self) -> impl Iterator<Item = (u32, String)> {
        self.events().flat_map(move |(relation, events)| {
            let plain = self.plain.contains(&relation.oid);
            events.iter().map(move |event| (relation.oid, event.trigger(&self.function, plain)))
        })
    }

    fn needed_functions(&self) -> impl Iterator<Item = String> {
        let for_rows = self.by_rows.then(|| self.function.rows_name());
        std::iter::once(self.function.name.clone()).chain(for_rows)
    }
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
    /// The owner of the functions.
    pub(crate) role: String,
    /// Whether the role that older versions shared between databases still has rights here.
    pub(crate) shared_role: bool,
    pub(crate) tables: Vec<SurveyedTable>,
    pub(crate) stale_triggers: Vec<StaleTrigger>,
    pub(crate) stale_functions: Vec<String>,
}

impl Survey {
    pub(crate) async fn take(client: &Client, set: &MappingSet) -> Result<Self, Error> {
        let rights = client.query_one(sql::READ_RIGHTS, &[]).await?;
        let tables: Vec<&TableName> = set.captures().map(|c| &c.table).collect();
        let relations = Relations::read_of(client, &tables).await?;
        let installed = Installed::read(client, rights.get("role")).await?;
        let tables: Vec<_> =
            set.captures().map(|capture| installed.survey(capture, set, &relations)).collect();
        let Installed { role, triggers, functions } = installed;
        let needed: BTreeSet<(u32, String)> =
            tables.iter().flat_map(SurveyedTable::needed_triggers).collect();
        let stale_triggers = triggers
            .into_iter()
            .filter(|t| !needed.contains(&(t.relation, t.name.as_str().to_owned())))
            .map(|t| StaleTrigger { relation: t.relation, table: t.table, name: t.name })
            .collect();
        let wanted: BTreeSet<String> =
            tables.iter().flat_map(SurveyedTable::needed_functions).collect();
        let stale_functions = functions.into_keys().filter(|name| !wanted.contains(name)).collect();
        Ok(Self {
            migrated: rights.get("migrated"),
            granted: rights.get("granted"),
            role,
            shared_role: rights.get("shared"),
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
                relation: self.role.clone(),
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

/// What is installed, whatever it serves.
struct Installed {
    /// The owner of the functions.
    role: String,
    triggers: Vec<InstalledTrigger>,
    functions: BTreeMap<String, InstalledFunction>,
}

impl Installed {
    async fn read(client: &Client, role: String) -> Result<Self, Error> {
        let triggers = client.query(sql::READ_TRIGGERS, &[]).await?;
        let functions = client.query(sql::READ_FUNCTIONS, &[]).await?;
        Ok(Self {
            role,
            triggers: triggers.iter().filter_map(InstalledTrigger::read).collect(),
            functions: functions.iter().map(InstalledFunction::read).collect(),
        })
    }

    fn survey(&self, capture: &Capture, set: &MappingSet, relations: &Relations) -> SurveyedTable {
        let (table, function) = (&capture.table, Function::of(capture, set));
        let plain: BTreeSet<u32> = relations
            .of(table)
            .iter()
            .filter(|relation| relations.has_plain_names(table, relation))
            .map(|relation| relation.oid)
            .collect();
        let relations = relations.of(table).to_vec();
        let by_rows = by_rows(&relations);
        let (installed, for_rows) =
            (self.functions.get(&function.name), self.functions.get(&function.rows_name()));
        let written = installed.is_some_and(|i| i.equals(&function, &self.role))
            && (!by_rows || for_rows.is_some_and(|i| i.equals_for_rows(&function, &self.role)));
        let mut drifts = drifts(table, &function, &relations, (written, &plain), &self.triggers);
        let note = Note::of(&relations);
        let comment = relations.first().and_then(|root| root.comment.as_ref());
        let mut since = comment.and_then(|comment| note.since(comment));
        if drifts.iter().any(Drift::loses_changes) {
            // The drift of the triggers already reports the gap, and repairing them writes the
            // note.
            since = since.filter(|kind| *kind == DriftKind::PartitionsChanged);
        }
        drifts.extend(since.map(|kind| Drift {
            source_table: table.to_string(),
            relation: table.to_string(),
            kind,
        }));
        let unnoted = comment.is_none();
        let of_others = installed.and_then(|installed| function.of_others(&installed.body));
        SurveyedTable {
            table: table.clone(),
            function,
            relations,
            note,
            unnoted,
            by_rows,
            plain,
            of_others,
            drifts,
        }
    }
}

fn drifts(
    table: &TableName,
    function: &Function,
    relations: &[Relation],
    (written, plain): (bool, &BTreeSet<u32>),
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
    if !written {
        drifts.push(drift(table, DriftKind::FunctionDiffers));
    }
    // Then nothing is lost where a partitioned table has no triggers: its rows are its partitions'.
    let mut holders = relations.iter().filter(|r| !r.partitioned).peekable();
    let rows_captured = holders.peek().is_some()
        && holders.all(|r| {
            triggers.iter().any(|t| t.relation == r.oid && t.serves(Event::Row, function))
        });
    for relation in relations {
        if relation.foreign {
            drifts.push(drift(&relation.name, DriftKind::ForeignPartition));
            continue;
        }
        let on_relation: Vec<_> = triggers.iter().filter(|t| t.relation == relation.oid).collect();
        let plain = plain.contains(&relation.oid);
        for event in relation.events(by_rows(relations)) {
            let named = event.trigger(function, plain);
            let kind = match on_relation.iter().find(|t| t.name.as_str() == named) {
                Some(t) if t.serves(*event, function) => continue,
                _ if on_relation.iter().any(|t| t.stands_in(*event, function))
                    || (relation.partitioned && *event != Event::Truncate && rows_captured) =>
                {
                    DriftKind::TriggerSuperseded(*event)
                }
                None => DriftKind::TriggerMissing(*event),
                Some(t) if t.enabled == "D" => DriftKind::TriggerDisabled(*event),
                Some(t) if t.enabled != "A" => DriftKind::TriggerNotAlways(*event),
                Some(_) => DriftKind::TriggerDiffers(*event),
            };
            drifts.push(drift(&relation.name, kind));
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

    /// Whether it captures this event for the table of `function`, in every session.
    fn serves(&self, event: Event, function: &Function) -> bool {
        self.enabled == "A" && self.fits(event, function)
    }

    /// Whether it captures at least this event for that table, whatever its name is.
    fn stands_in(&self, event: Event, function: &Function) -> bool {
        [event, Event::Row]
            .iter()
            .any(|fired| event.is_part_of(*fired) && self.serves(*fired, function))
    }

    fn fits(&self, event: Event, function: &Function) -> bool {
        let runs = match event {
            Event::Row => function.rows_name(),
            _ => function.name.clone(),
        };
        self.function == runs
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

    fn equals(&self, function: &Function, role: &str) -> bool {
        self.runs(&function.body, function.configuration(), role) && self.notes
    }

    fn equals_for_rows(&self, function: &Function, role: &str) -> bool {
        self.runs(&function.rows_body, function.rows_configuration(), role)
    }

    fn runs(&self, body: &str, mut wanted: Vec<String>, role: &str) -> bool {
        let mut settings = self.settings.clone();
        settings.sort();
        wanted.sort();
        self.body == body && self.security_definer && settings == wanted && self.owner == role
    }
}

fn table_name(row: &Row) -> Option<TableName> {
    let schema = Identifier::new(row.get::<_, String>("schema_name")).ok()?;
    let name = Identifier::new(row.get::<_, String>("table_name")).ok()?;
    Some(TableName { schema, name })
}
