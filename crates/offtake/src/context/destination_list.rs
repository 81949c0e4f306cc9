//! Which destinations there are: those of the configuration file and those of the destinations
//! query.
//!
//! A row of the query that cannot be used blocks only the destination that it names. A query that
//! fails is an error; the daemon then keeps the destinations that it had.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use offtake_mapping::{Identifier, foreign_within};
use offtake_postgres::{ConnectionString, SourcePool};
use offtake_sync::destinations::{DestinationSpec, Place, Places};
use serde::Deserialize;

use crate::configuration::{
    Destinations, StaticDestination, defaults, unusable_name, unusable_tenant,
};

/// Of an id that is too long, so much is kept to recognise it by.
const SHOWN_CHARS_MAX: usize = 64;

/// The destinations that configuration file and destinations query name at one moment.
#[derive(Debug, Default)]
pub struct DestinationList {
    pub usable: Vec<DestinationSpec>,
    pub refused: Vec<RefusedDestination>,
    /// Destinations that the query names several times, differently.
    pub contested: Vec<ContestedDestination>,
    /// Tenant and name of the destinations that the query names and the file too. They are taken
    /// from the file.
    pub of_both: Vec<(String, String)>,
    /// How many rows of the query have no tenant. They are ignored.
    pub without_tenant: usize,
}

/// A destination that the query names in a way that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedDestination {
    pub tenant_id: String,
    pub name: String,
    pub why: String,
}

/// A destination for which the query has several rows that differ. The list cannot tell which of
/// them is meant; the registry knows which one is served.
#[derive(Debug, Clone)]
pub struct ContestedDestination {
    pub tenant_id: String,
    pub name: String,
    /// The rows that could be used by themselves.
    pub candidates: Vec<DestinationSpec>,
}

impl ContestedDestination {
    /// Why none of its rows is used.
    pub fn refuse(self) -> RefusedDestination {
        let Self { tenant_id, name, .. } = self;
        let why = "the destinations query names it twice, differently".to_owned();
        RefusedDestination { tenant_id, name, why }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the destinations query failed at the source")]
    Query(#[from] tokio_postgres::Error),
    #[error("the source cannot be reached")]
    Source(#[from] offtake_postgres::Error),
    #[error("the tenants' ids cannot be brought into the source's spelling")]
    Spelling(#[source] tokio_postgres::Error),
}

impl From<&StaticDestination> for DestinationSpec {
    fn from(destination: &StaticDestination) -> Self {
        Self {
            tenant_id: destination.tenant.clone(),
            tenant_at_source: destination.tenant.clone(),
            name: destination.name.clone(),
            place: destination.place.clone(),
            mappings: destination.mappings.clone(),
            shared: destination.shared,
        }
    }
}

/// Lists the destinations of the file and of the query. The query runs in a READ ONLY transaction
/// under `statement_timeout`.
pub async fn list(
    destinations: &Destinations,
    pool: &SourcePool,
    statement_timeout: Duration,
) -> Result<DestinationList, Error> {
    let mut list = DestinationList {
        usable: destinations.static_.iter().map(DestinationSpec::from).collect(),
        ..DestinationList::default()
    };
    let Some(query) = &destinations.query else { return Ok(list) };
    let mut connection = pool.get().await?;
    let transaction = connection.build_transaction().read_only(true).start().await?;
    transaction
        .batch_execute(&format!("set local statement_timeout = {}", statement_timeout.as_millis()))
        .await?;
    let rows = transaction.query(&statement(query), &[]).await?;
    drop(transaction);
    let of_file = of_file(destinations);
    let mut places = Places::with(&destinations.allow_files, &destinations.d1);
    list.add_rows(&of_file, rows.iter().map(|row| row.get(0)), &mut places);
    Ok(list)
}

/// Tenant and name of the destinations that the configuration file names.
pub(crate) fn of_file(destinations: &Destinations) -> HashSet<(String, String)> {
    destinations.static_.iter().map(|d| (d.tenant.clone(), d.name.clone())).collect()
}

/// The statement that returns the query's rows as JSON: so columns may have any type, and optional
/// ones may be absent. The line break after the query ends a comment on its last line.
pub(crate) fn statement(query: &str) -> String {
    format!("select to_jsonb(q) from (\n{}\n) q", query.trim_end().trim_end_matches(';'))
}

/// The columns of a row besides `tenant_id` and `name`, which say which destination it is.
#[derive(Deserialize)]
struct QueryRow {
    url: Option<String>,
    schema: Option<String>,
    mappings: Option<Vec<String>>,
    shared: Option<bool>,
    mode: Option<String>,
    token: Option<String>,
}

impl DestinationList {
    /// Adds the rows of the query. A destination that the file names too is taken from the file;
    /// one that the query names several times with different values is contested.
    pub(crate) fn add_rows(
        &mut self,
        of_file: &HashSet<(String, String)>,
        rows: impl Iterator<Item = serde_json::Value>,
        places: &mut Places,
    ) {
        let mut named: BTreeMap<(String, String), Vec<serde_json::Value>> = BTreeMap::new();
        for row in rows {
            let Some(tenant_id) = text_of(&row, "tenant_id") else {
                self.without_tenant += 1;
                continue;
            };
            let name =
                text_of(&row, "name").unwrap_or_else(|| defaults::DESTINATION_NAME.to_owned());
            if let Some(why) = unusable_tenant(&tenant_id).or_else(|| unusable_name(&name)) {
                // Under names that the registry can keep and a terminal can show.
                let shown = |text: &str| foreign_within(text, SHOWN_CHARS_MAX).into_owned();
                let (tenant_id, name) = (shown(&tenant_id), shown(&name));
                self.refused.push(RefusedDestination { tenant_id, name, why });
                continue;
            }
            let rows = named.entry((tenant_id, name)).or_default();
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        for ((tenant_id, name), rows) in named {
            if of_file.contains(&(tenant_id.clone(), name.clone())) {
                self.of_both.push((tenant_id, name));
            } else {
                self.add_destination((tenant_id, name), rows, places);
            }
        }
        self.refused.dedup_by(|a, b| a.tenant_id == b.tenant_id && a.name == b.name);
    }

    /// Adds one destination by the rows that name it, all of them different.
    fn add_destination(
        &mut self,
        (tenant_id, name): (String, String),
        rows: Vec<serde_json::Value>,
        places: &mut Places,
    ) {
        let several = rows.len() > 1;
        let mut read = rows.into_iter().map(|row| read(row, (&tenant_id, &name), places));
        if several {
            let candidates = read.flatten().collect();
            self.contested.push(ContestedDestination { tenant_id, name, candidates });
            return;
        }
        match read.next() {
            Some(Ok(spec)) => self.usable.push(spec),
            Some(Err(why)) => self.refused.push(RefusedDestination { tenant_id, name, why }),
            None => {}
        }
    }

    /// Refuses what is contested, where nothing tells which row is served.
    pub(crate) fn refuse_contested(&mut self) {
        let contested = std::mem::take(&mut self.contested);
        self.refused.extend(contested.into_iter().map(ContestedDestination::refuse));
    }
}

/// A column that is a text or a number; None where it is absent, empty or of another type.
fn text_of(row: &serde_json::Value, column: &str) -> Option<String> {
    match &row[column] {
        serde_json::Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn read(
    row: serde_json::Value,
    (tenant_id, name): (&str, &str),
    places: &mut Places,
) -> Result<DestinationSpec, String> {
    let row: QueryRow = serde_json::from_value(row).map_err(|_| {
        "the destinations query returns a column of another type than url, schema: text, \
             mappings: text[], shared: boolean, mode: text, token: text"
    })?;
    let url = row
        .url
        .filter(|url| !url.is_empty())
        .ok_or("the destinations query returns no url for it")?;
    let beside = (row.mode.as_deref(), row.token.as_deref());
    let place = match places.beside_postgres(&url, row.schema.as_deref(), beside) {
        Some(file) => file.map_err(|e| format!("{}; {}", e.why, e.remedy))?,
        None => Place::Postgres {
            url: ConnectionString::destination(&url, None).map_err(|error| error.to_string())?,
            schema: Identifier::new(row.schema.unwrap_or_else(|| defaults::SCHEMA_NAME.to_owned()))
                .map_err(|error| error.to_string())?,
        },
    };
    Ok(DestinationSpec {
        tenant_id: tenant_id.to_owned(),
        tenant_at_source: tenant_id.to_owned(),
        name: name.to_owned(),
        place: places.shared(place),
        mappings: row.mappings,
        shared: row.shared.unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn add(list: &mut DestinationList, rows: &[serde_json::Value]) {
        let usable = list.usable.iter();
        let of_file = usable.map(|s| (s.tenant_id.clone(), s.name.clone())).collect();
        list.add_rows(&of_file, rows.iter().cloned(), &mut Places::default());
    }

    fn check(rows: &[serde_json::Value], usable: &[&str], refused: &[(&str, &str)]) {
        let mut list = DestinationList::default();
        add(&mut list, rows);
        list.refuse_contested();
        assert_eq!(list.usable.iter().map(DestinationSpec::label).collect::<Vec<_>>(), usable);
        assert_eq!(list.refused.len(), refused.len(), "{:?}", list.refused);
        for (found, (label, why)) in list.refused.iter().zip(refused) {
            assert_eq!(format!("{}/{}", found.tenant_id, found.name), *label);
            assert!(found.why.contains(why), "{found:?}");
        }
    }

    #[test]
    fn ids_that_are_too_long_block_their_own_entry() {
        let url = "postgres://u:p@db.example.com/x";
        let good = json!({ "tenant_id": "a", "url": url });
        let long = json!({ "tenant_id": "x".repeat(100_000), "url": url });
        let shown = format!("{}…/main", "x".repeat(SHOWN_CHARS_MAX));
        check(&[good.clone(), long], &["a/main"], &[(&shown, "at most 400 characters")]);
        let named = json!({ "tenant_id": "b", "name": "m\u{1b}[2J", "url": url });
        check(&[good.clone(), named], &["a/main"], &[("b/m\\u{1b}[2J", "a terminal hides")]);
        let name = json!({ "tenant_id": "b", "name": "y".repeat(201), "url": url });
        let shown = format!("b/{}…", "y".repeat(SHOWN_CHARS_MAX));
        check(&[good, name], &["a/main"], &[(&shown, "at most 200 characters")]);
    }

    #[test]
    fn what_the_file_names_is_taken_from_the_file_whatever_the_query_says_of_it() {
        let url = |database: &str| format!("postgres://u:p@db.example.com/{database}");
        let row =
            |tenant: &str, database: &str| json!({ "tenant_id": tenant, "url": url(database) });
        let of_file = read(row("a", "file"), ("a", "main"), &mut Places::default()).unwrap();
        let listed = |rows: &[serde_json::Value]| {
            let usable = vec![of_file.clone()];
            let mut list = DestinationList { usable, ..DestinationList::default() };
            add(&mut list, rows);
            assert_eq!(list.usable[0].place.fingerprint(), of_file.place.fingerprint());
            assert_eq!(list.of_both, [("a".to_owned(), "main".to_owned())]);
            assert!(list.refused.is_empty(), "{:?}", list.refused);
            list
        };
        // Also where the query contradicts itself.
        listed(&[row("a", "one"), row("a", "two"), row("a", "two")]);
        let there = listed(&[row("a", "one"), row("b", "x")]);
        assert_eq!(there.usable.len(), 2);
    }

    #[test]
    fn a_bad_row_blocks_only_its_own_destination() {
        let url = "postgres://u:p@db.example.com/x";
        let good = json!({ "tenant_id": "a", "name": "main", "url": url });
        check(
            &[
                good.clone(),
                json!({ "tenant_id": 7, "url": url, "schema": "s", "mappings": ["users"], "shared": true }),
            ],
            &["7/main", "a/main"],
            &[],
        );
        let mut without_tenant = DestinationList::default();
        let rows = [json!({ "url": url }), json!({ "tenant_id": "", "url": url })];
        add(&mut without_tenant, &rows);
        assert_eq!(without_tenant.without_tenant, 2);
        check(
            &[json!({ "tenant_id": "b", "url": "nonsense" }), good.clone()],
            &["a/main"],
            &[("b/main", "URL")],
        );
        check(
            &[good.clone(), json!({ "tenant_id": "b", "url": null })],
            &["a/main"],
            &[("b/main", "no url")],
        );
        check(
            &[good.clone(), json!({ "tenant_id": "b", "url": url, "shared": "perhaps" })],
            &["a/main"],
            &[("b/main", "another type")],
        );
        check(&[good.clone(), json!({ "tenant_id": null, "url": url })], &["a/main"], &[]);
        check(&[good.clone(), good.clone()], &["a/main"], &[]);
        check(
            &[good.clone(), json!({ "tenant_id": "a", "url": url, "schema": "s" })],
            &[],
            &[("a/main", "twice")],
        );
    }
}
