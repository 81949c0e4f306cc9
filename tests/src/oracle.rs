//! Computes the correct content of destinations. It uses none of Offtake's own code except the
//! parser of mapping files. It compares each mapping's query, restricted to the tenant, with the
//! destination's table, as multisets of text rows.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use offtake_mapping::{Mapping, Tenant as Rule, literal};

use crate::{Database, Tenant, World, until};

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
            let difference =
                compare(&world.source, &tenant.id, &mapping, &tenant.destination, &tenant.schema)
                    .await;
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
    let session = source.session().await;
    let prepared =
        session.prepare(&mapping.query).await.unwrap_or_else(|e| panic!("{}: {e:?}", mapping.name));
    let keep_tenant = mapping.target.keep_tenant;
    let names = prepared.columns().iter().map(|column| column.name());
    let columns: Vec<_> = names
        .filter(|name| keep_tenant || *name != "tenant_id")
        .map(|name| format!("\"{name}\"::text"))
        .collect();
    let columns = columns.join(", ");
    let of_tenant = format!("tenant_id::text = {}", literal(tenant_id));
    let everyones = mapping.source.tenant == Rule::Everyone;
    let own = if everyones { "true".to_owned() } else { format!("q.{of_tenant}") };
    let wanted = source
        .copy_out(&format!("select {columns} from ({}\n) q where {own}", mapping.query))
        .await;
    let table = format!("\"{schema}\".{}", mapping.target.table.sql());
    let restriction = if keep_tenant { format!(" where {of_tenant}") } else { String::new() };
    let found = destination.copy_out(&format!("select {columns} from {table}{restriction}")).await;
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
