//! One change that concerns very many rows (H13).

use std::time::Duration;

use offtake_tests::{World, oracle};

use crate::start;

const CHILDREN: usize = 100_000;

const TABLES: &str = "
    create table parent (tenant text not null, id int not null, name text, active boolean not null default true, primary key (tenant, id));
    create table child (tenant text not null, id int not null, parent int not null, primary key (tenant, id));
    create index on child (tenant, parent, id)";

const MAPPINGS: [(&str, &str); 2] = [
    (
        "children",
        "
source: { table: public.child, tenant: tenant }
depends_on: [{ table: public.parent, match: { tenant: tenant, parent: id } }]
query: |
  select c.tenant as tenant_id, c.id, p.name from child c join parent p on p.tenant = c.tenant and p.id = c.parent where p.active
target: { table: children }",
    ),
    (
        "parents",
        "source: { table: public.parent, tenant: tenant }\nquery: select tenant as tenant_id, id, name from parent\ntarget: { table: parents }",
    ),
];

/// When a destination was last written to, by the clock of the one server that both are on.
const NOTE_TIMES: &str = "
    create table written (at timestamptz not null default clock_timestamp());
    create function note() returns trigger language plpgsql as $$ begin insert into public.written default values; return null; end $$;
    create trigger note after insert or update or delete on children for each statement execute function note()";

/// A parent's change reaches 100 000 children, in bounded pages: while they are on their way, another tenant's change is
/// numbered between two pages and arrives before they all have.
#[tokio::test]
async fn a_parent_with_100_000_children_leaves_and_reenters_and_delays_nobody() {
    let world = World::with_tenants(["acme", "globex"]).mappings(&MAPPINGS).without_init().await;
    let daemon = start(&world, TABLES).await;
    let (acme, globex) = (world.id("acme"), world.id("globex"));
    world
        .source
        .execute(&format!(
            "insert into parent values ('{acme}', 1, 'big'), ('{globex}', 1, 'small');
             insert into child select '{acme}', n, 1 from generate_series(1, {CHILDREN}) n; insert into child values ('{globex}', 1, 1); analyze"
        ))
        .await;
    world.wait_in_step().await;
    for tenant in world.tenants() {
        tenant.destination.execute(NOTE_TIMES).await;
    }
    let last_written = async |tenant: &str| world.tenant(tenant).destination.query_text("select max(at) from written").await;
    let children = async || world.tenant("acme").destination.query_text("select count(*), min(name) from children").await;
    let changes = [("set active = false", "0|".to_owned()), ("set active = true, name = 'back'", format!("{CHILDREN}|back"))];
    for (round, (change, expected)) in (2..).zip(changes) {
        let last = world.source.query_text("select max(sequence_id) from offtake.change_log").await;
        world.source.execute(&format!("update parent {change} where tenant = '{acme}'")).await;
        world.source.execute(&format!("update child set id = id + 1 where tenant = '{globex}'")).await;
        world.wait_in_step_within(Duration::from_secs(60)).await;
        assert_eq!(children().await, expected);
        assert_eq!(world.tenant("globex").destination.query_text("select max(id) from children").await, round.to_string());
        let (small, all) = (last_written("globex").await, last_written("acme").await);
        let order = format!("select timestamptz '{small}' < timestamptz '{all}'");
        assert_eq!(world.source.query_text(&order).await, "t", "at {small} the other tenant's row, all {CHILDREN} at {all}");
        let between = format!(
            "select count(*) > 0 from offtake.change_log where source_table = 'public.child' and tenant_id = '{acme}' and sequence_id >
               (select max(sequence_id) from offtake.change_log where source_table = 'public.child' and tenant_id = '{globex}')"
        );
        assert_eq!(world.source.query_text(&between).await, "t", "numbered behind all {CHILDREN}");
        let woken = format!(
            "select count(*), count(distinct row_key) from offtake.change_log where source_table = 'public.child' and tenant_id = '{acme}' and sequence_id > {last}"
        );
        assert_eq!(world.source.query_text(&woken).await, format!("{CHILDREN}|{CHILDREN}"));
    }
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
