//! Computes the correct content of destinations. It uses none of Offtake's own code except the
//! parser of mapping files. It compares each mapping's query, restricted to the tenant, with the
//! destination's table, as multisets of text rows.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt as _;
use offtake_mapping::{Mapping, Tenant as Rule, literal};
use tokio_postgres::types::Type;

use crate::database::{copy_out, explain, run};
use crate::{Database, SqliteFile, Tenant, World, until};

/// The rows in which a destination's table differs from its query, in COPY's text format.
#[derive(Debug)]
pub struct Difference {
    pub tenant: String,
    pub mapping: String,
    /// Rows in the query's result that the table does not have.
    pub missing: Vec<String>,
    /// Rows in the table that the query's result does not have.
    pub surplus: Vec<String>,
}

/// Panics with the differing rows unless every destination equals its queries. First wait until no
/// request is left.
pub async fn assert_equal(world: &World) {
    assert_equal_after(world, "destinations differ from their queries:").await;
}

/// [`assert_equal`] with what happened before, which the message says.
pub async fn assert_equal_after(world: &World, what: &str) {
    let differences = differences(world, world.tenants()).await;
    assert!(differences.is_empty(), "{what}\n{}", show(&differences));
}

/// Waits until every destination equals its queries, whatever is still owed.
pub async fn wait_equal(world: &World, timeout: Duration) {
    until("every copy equals its query", timeout, async || {
        let differences = differences(world, world.tenants()).await;
        if differences.is_empty() { Ok(()) } else { Err(show(&differences)) }
    })
    .await;
}

/// [`assert_equal`] for some tenants only.
pub async fn assert_tenants_equal(world: &World, names: &[&str]) {
    let tenants: Vec<_> = names.iter().map(|name| world.tenant(name)).collect();
    let differences = differences(world, tenants).await;
    assert!(
        differences.is_empty(),
        "destinations differ from their queries:\n{}",
        show(&differences)
    );
}

/// All differences at this moment.
pub async fn differences<'a>(
    world: &World,
    tenants: impl IntoIterator<Item = &'a Tenant>,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    for tenant in tenants {
        for mapping in world.mappings() {
            let difference = match &tenant.file {
                Some(file) => compare_file(&world.source, &tenant.id, &mapping, file).await,
                None => {
                    let (there, schema) = (&tenant.destination, &tenant.schema);
                    compare(&world.source, &tenant.id, &mapping, there, schema).await
                }
            };
            let difference = Difference { tenant: tenant.name.clone(), ..difference };
            if !difference.missing.is_empty() || !difference.surplus.is_empty() {
                differences.push(difference);
            }
        }
    }
    differences
}

/// Compares one mapping of one tenant.
pub async fn compare(
    source: &Database,
    tenant_id: &str,
    mapping: &Mapping,
    destination: &Database,
    schema: &str,
) -> Difference {
    let copied = Copied::of(source, tenant_id, mapping).await;
    let columns = copied.texts(|name, _| format!("\"{name}\"::text"));
    let wanted = source.copy_out(&copied.wanted(&columns)).await;
    let table = format!("\"{schema}\".{}", mapping.target.table.sql());
    let restriction = copied.restriction();
    let found = destination.copy_out(&format!("select {columns} from {table}{restriction}")).await;
    difference(tenant_id, mapping, (&wanted, &found))
}

/// The same for a SQLite file. A session of the source reads the file's values as values of the
/// query's types, and prints them. SQLite has no -0, so it is 0 on both sides.
pub async fn compare_file(
    source: &Database,
    tenant_id: &str,
    mapping: &Mapping,
    file: &SqliteFile,
) -> Difference {
    let copied = Copied::of(source, tenant_id, mapping).await;
    let texts = copied.texts(|name, of| match [Type::FLOAT4, Type::FLOAT8].contains(of) {
        true => format!("(\"{name}\" + 0)::text"),
        false => format!("\"{name}\"::text"),
    });
    let wanted = source.copy_out(&copied.wanted(&texts)).await;
    let names = copied.texts(|name, _| format!("\"{name}\""));
    let (table, restriction) = (mapping.target.table.sql(), copied.restriction());
    let restriction = restriction.replace("tenant_id::text", "tenant_id");
    let there = file.try_rows(&format!("select {names} from {table}{restriction}"));
    let there = there.unwrap_or_else(|error| panic!("{}: {error}", mapping.name));
    let mut session = source.connect().await;
    let empty = format!(
        "create temporary table found as select {names} from ({}\n) q with no data",
        mapping.query
    );
    // The database may have other settings, under which a text reads as another value.
    run(&session, READING).await;
    run(&session, &empty).await;
    let sink = session.copy_in("copy found from stdin").await.expect("rows can be copied");
    let mut sink = std::pin::pin!(sink);
    for row in there {
        let field = |value: Option<String>| match value {
            None => "\\N".to_owned(),
            Some(text) => text
                .replace('\\', "\\\\")
                .replace('\t', "\\t")
                .replace('\n', "\\n")
                .replace('\r', "\\r"),
        };
        let line = row.into_iter().map(field).collect::<Vec<_>>().join("\t") + "\n";
        sink.send(Bytes::from(line)).await.expect("a row can be sent");
    }
    sink.finish().await.unwrap_or_else(|error| panic!("{}: {}", mapping.name, explain(&error)));
    let found = copy_out(&mut session, &format!("select {texts} from found")).await;
    difference(tenant_id, mapping, (&wanted, &found))
}

/// Under which a session reads what another one printed.
const READING: &str = "set datestyle = 'ISO'; set intervalstyle = 'postgres'; set timezone = 'UTC'; \
                       set array_nulls = on; set xmloption = content";

/// What of a mapping a destination has.
struct Copied<'a> {
    mapping: &'a Mapping,
    of_tenant: String,
    columns: Vec<(String, Type)>,
}

impl<'a> Copied<'a> {
    async fn of(source: &Database, tenant_id: &str, mapping: &'a Mapping) -> Self {
        let session = source.session().await;
        let prepared = session
            .prepare(&mapping.query)
            .await
            .unwrap_or_else(|e| panic!("{}: {e:?}", mapping.name));
        let columns = prepared.columns().iter();
        let columns = columns.map(|column| (column.name().to_owned(), column.type_().clone()));
        let kept = |name: &str| mapping.target.keep_tenant || name != "tenant_id";
        let of_tenant = format!("tenant_id::text = {}", literal(tenant_id));
        Self { mapping, of_tenant, columns: columns.filter(|(name, _)| kept(name)).collect() }
    }

    fn texts(&self, text: impl Fn(&str, &Type) -> String) -> String {
        self.columns.iter().map(|(name, of)| text(name, of)).collect::<Vec<_>>().join(", ")
    }

    fn wanted(&self, columns: &str) -> String {
        let everyones = self.mapping.source.tenant == Rule::Everyone;
        let own = if everyones { "true".to_owned() } else { format!("q.{}", self.of_tenant) };
        format!("select {columns} from ({}\n) q where {own}", self.mapping.query)
    }

    fn restriction(&self) -> String {
        match self.mapping.target.keep_tenant {
            true => format!(" where {}", self.of_tenant),
            false => String::new(),
        }
    }
}

fn difference(
    tenant_id: &str,
    mapping: &Mapping,
    (wanted, found): (&[String], &[String]),
) -> Difference {
    let mut balance: BTreeMap<&str, i64> = BTreeMap::new();
    wanted.iter().for_each(|row| *balance.entry(row).or_default() += 1);
    found.iter().for_each(|row| *balance.entry(row).or_default() -= 1);
    let rows = |sign: i64| {
        let of_sign = balance.iter().filter(move |(_, count)| **count * sign > 0);
        of_sign
            .flat_map(|(row, count)| {
                std::iter::repeat_n((*row).to_owned(), count.unsigned_abs() as usize)
            })
            .collect()
    };
    Difference {
        tenant: tenant_id.to_owned(),
        mapping: mapping.name.clone(),
        missing: rows(1),
        surplus: rows(-1),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 10;
        writeln!(
            f,
            "{}/{}: {} rows missing, {} surplus",
            self.tenant,
            self.mapping,
            self.missing.len(),
            self.surplus.len()
        )?;
        let missing = self.missing.iter().take(SHOWN).map(|row| ("- wanted", row));
        let surplus = self.surplus.iter().take(SHOWN).map(|row| ("+ found ", row));
        missing.chain(surplus).try_for_each(|(what, row)| writeln!(f, "  {what} {row}"))
    }
}

/// The differences as readable text.
pub fn show(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect()
}
